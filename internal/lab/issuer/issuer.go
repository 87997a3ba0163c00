// Package issuer stands in for certbot where there is none: an ACME client that works
// in a certbot tree as certbot does. It holds certbot's locks while it works, answers
// http-01 by itself, saves a new version, moves the links and runs the deploy hooks;
// and like certbot it calls a renewal whose hook failed a success.
//
// The certlab command and Go tests use it. End-to-end tests use the real certbot.
package issuer

import (
	"context"
	"crypto/md5"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/lab/tree"
)

// httpHost is where the answers to http-01 are served.
const httpHost = "127.0.0.1"

// ErrRenewals is returned when at least one lineage could not be renewed; what it was
// is on Out and in the log.
var ErrRenewals = errors.New("some renewals failed")

// Issuer issues and renews in one tree.
type Issuer struct {
	Tree   tree.Tree
	Client *http.Client // trusts the ACME service
	Out    io.Writer    // what certbot says on its terminal
	Env    []string     // NAME=value pairs that hooks inherit, as os.Environ returns them
}

// Request says what to issue.
type Request struct {
	Server     string   // URL of the ACME directory
	Names      []string // DNS names; the first names the lineage
	HTTPPort   int      // where the authority fetches http-01 answers, on 127.0.0.1
	DeployHook string   // kept in the renewal configuration as renew_hook; may be empty
}

// run is one invocation, with its log open and its locks held.
type run struct {
	Issuer
	log *tree.Log
}

// Issue obtains a certificate for new names, as `certbot certonly --standalone` does.
// A lineage of that name gets a further version.
func (i Issuer) Issue(ctx context.Context, request Request) error {
	if len(request.Names) == 0 {
		return errors.New("issuing: no names")
	}
	return i.locked(func(r run) error {
		lineage := strings.TrimPrefix(request.Names[0], "*.")
		version, err := i.obtain(ctx, request.Server, hostPort(request.HTTPPort), request.Names)
		if err != nil {
			return fmt.Errorf("issuing %q: %w", lineage, err)
		}
		if err := r.save(lineage, version, request); err != nil {
			return err
		}
		r.notify("Successfully received certificate.\nCertificate is saved at: %s\nKey is saved at:         %s",
			filepath.Join(i.Tree.Live(lineage), "fullchain.pem"), filepath.Join(i.Tree.Live(lineage), "privkey.pem"))
		return nil
	})
}

// Renew renews the lineages that are due, those with less than a third of their life
// left, or all with force. It returns [ErrRenewals] when one failed; a hook that failed
// is no failure.
func (i Issuer) Renew(ctx context.Context, force bool) error {
	return i.locked(func(r run) error {
		lineages, err := i.Tree.Lineages()
		if err != nil {
			return err
		}
		var renewed, failed []string
		for _, lineage := range lineages {
			path := filepath.Join(i.Tree.Live(lineage), "fullchain.pem")
			done, err := r.renew(ctx, lineage, force)
			if err != nil {
				r.warn("ERROR", "certbot._internal.renewal", "Failed to renew certificate %s with error: %v", lineage, err)
				failed = append(failed, path)
				continue
			}
			if done {
				renewed = append(renewed, path)
			}
		}
		return r.summary(renewed, failed)
	})
}

// locked runs work with the tree prepared, its locks held and a log of its own.
func (i Issuer) locked(work func(run) error) (err error) {
	if err := i.Tree.Prepare(); err != nil {
		return err
	}
	locks, err := i.Tree.Lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, locks.Release()) }()
	log, err := i.Tree.OpenLog()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	log.Printf("DEBUG", "certbot._internal.main", "certbot version: 2.1.0")
	return work(run{Issuer: i, log: log})
}

func (r run) renew(ctx context.Context, lineage string, force bool) (done bool, err error) {
	leaf, err := r.leaf(lineage)
	if err != nil {
		return false, err
	}
	if !force && !due(leaf, time.Now()) {
		r.notify("Certificate not yet due for renewal")
		return false, nil
	}
	params, err := r.Tree.ReadConf(lineage)
	if err != nil {
		return false, err
	}
	request := Request{
		Server: tree.Value(params, "server"), Names: namesOf(leaf), DeployHook: tree.Value(params, "renew_hook"),
	}
	if _, err := fmt.Sscanf(tree.Value(params, "http01_port"), "%d", &request.HTTPPort); err != nil {
		return false, fmt.Errorf("reading http01_port of %q: %w", lineage, err)
	}
	r.notify("Renewing an existing certificate for %s", strings.Join(request.Names, " and "))
	version, err := r.obtain(ctx, request.Server, hostPort(request.HTTPPort), request.Names)
	if err != nil {
		return false, err
	}
	return true, r.save(lineage, version, request)
}

// save adds the version, writes the configuration and runs the deploy hooks.
func (r run) save(lineage string, version tree.Version, request Request) error {
	if _, err := r.Tree.Save(lineage, version); err != nil {
		return fmt.Errorf("saving %q: %w", lineage, err)
	}
	if err := r.Tree.WriteConf(lineage, r.params(request)); err != nil {
		return err
	}
	return r.deployHooks(lineage, request)
}

// params returns the renewal parameters that certbot would keep for the request.
func (r run) params(request Request) []tree.Param {
	account := md5.Sum([]byte(request.Server)) // certbot's account names look like this
	kept := []tree.Param{
		{Key: "account", Value: hex.EncodeToString(account[:])},
		{Key: "server", Value: request.Server},
		{Key: "authenticator", Value: "standalone"},
		{Key: "key_type", Value: "ecdsa"},
		{Key: "http01_port", Value: fmt.Sprint(request.HTTPPort)},
		{Key: "http01_address", Value: httpHost},
		{Key: "config_dir", Value: r.Tree.ConfigDir},
		{Key: "work_dir", Value: r.Tree.WorkDir},
		{Key: "logs_dir", Value: r.Tree.LogsDir},
	}
	if request.DeployHook != "" {
		kept = append(kept, tree.Param{Key: "renew_hook", Value: request.DeployHook})
	}
	return kept
}

// summary says how the renewals ended, in certbot's words.
func (r run) summary(renewed, failed []string) error {
	rule := strings.Repeat("- ", 39) + "-"
	var said strings.Builder
	switch {
	case len(failed) > 0 && len(renewed) == 0:
		said.WriteString("All renewals failed. The following certificates could not be renewed:")
	case len(failed) > 0:
		said.WriteString("The following renewals failed:")
	case len(renewed) == 0:
		said.WriteString("No renewals were attempted.")
	default:
		said.WriteString("Congratulations, all renewals succeeded: ")
	}
	paths, word := renewed, "success"
	if len(failed) > 0 {
		paths, word = failed, "failure"
	}
	for _, path := range paths {
		fmt.Fprintf(&said, "\n  %s (%s)", path, word)
	}
	r.notify("\n%s\n%s\n%s", rule, said.String(), rule)
	if len(failed) > 0 {
		return fmt.Errorf("%w: %d of %d", ErrRenewals, len(failed), len(failed)+len(renewed))
	}
	r.log.Printf("DEBUG", "certbot._internal.renewal", "no renewal failures")
	return nil
}

// leaf returns the certificate that live/ points to.
func (r run) leaf(lineage string) (*x509.Certificate, error) {
	content, err := os.ReadFile(filepath.Join(r.Tree.Live(lineage), "cert.pem"))
	if err != nil {
		return nil, fmt.Errorf("reading the certificate of %q: %w", lineage, err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("reading the certificate of %q: no PEM", lineage)
	}
	return x509.ParseCertificate(block.Bytes)
}

// notify says something to the person at the terminal, and to the log.
func (r run) notify(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.log.Printf("DEBUG", "certbot._internal.display.obj", "Notifying user: %s", text)
	_, _ = fmt.Fprintln(r.Out, text) // a closed terminal stops nothing
}

// warn logs a line that certbot shows on the terminal as well.
func (r run) warn(level, logger, format string, args ...any) {
	r.log.Printf(level, logger, format, args...)
	_, _ = fmt.Fprintf(r.Out, format+"\n", args...) // a closed terminal stops nothing
}

func due(leaf *x509.Certificate, now time.Time) bool {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	return leaf.NotAfter.Sub(now) < life/3
}

// namesOf returns the names of a certificate in certbot's order: the common name first.
func namesOf(leaf *x509.Certificate) []string {
	names := []string{}
	if leaf.Subject.CommonName != "" {
		names = append(names, leaf.Subject.CommonName)
	}
	for _, name := range leaf.DNSNames {
		if name != leaf.Subject.CommonName {
			names = append(names, name)
		}
	}
	return names
}

func hostPort(port int) string { return net.JoinHostPort(httpHost, fmt.Sprint(port)) }
