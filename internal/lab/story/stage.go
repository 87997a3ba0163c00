package story

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/dnsd"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/internal/lab/tree"
)

const (
	pollInterval = 100 * time.Millisecond
	startTimeout = 20 * time.Second
	// bindTimeout is how long certmedic may take to see the certificate served for the
	// first time.
	bindTimeout = 30 * time.Second
)

// stage is everything that the story is played on.
type stage struct {
	o         Options
	teller    *teller
	folder    *folder
	tree      tree.Tree
	dns       *dnsd.Server
	ca        *ca.CA
	roots     *x509.CertPool
	httpPort  int    // of the http-01 answers
	endpoint  string // host:port of the node, by address
	node      *child
	certmedic *child
	alerts    *http.Server
	web       string // certmedic's URL, without a slash at its end
}

// build sets the stage: the world first, then certmedic, until it has seen the first
// certificate served. The stage that it returns is to be struck even after an error.
func build(ctx context.Context, o Options, teller *teller) (*stage, error) {
	s := &stage{o: o, teller: teller}
	steps := []func(context.Context) error{s.openWorld, s.issue, s.serve, s.installHook, s.startCertmedic, s.bind}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return s, err
		}
	}
	return s, nil
}

// strike ends everything that was started, the last first.
func (s *stage) strike() error {
	err := errors.Join(s.certmedic.stop(), s.node.stop())
	if s.alerts != nil {
		err = errors.Join(err, s.alerts.Close())
	}
	if s.ca != nil {
		s.ca.Stop()
	}
	if s.dns != nil {
		s.dns.Stop()
	}
	if s.folder != nil {
		err = errors.Join(err, s.folder.close())
	}
	return err
}

// healthy returns why the stage cannot be played on, if so.
func (s *stage) healthy() error { return errors.Join(s.certmedic.alive(), s.node.alive()) }

// openWorld starts the DNS server and the authority. They outlive ctx, so that the
// world does not fall apart under certmedic before it is told to stop.
func (s *stage) openWorld(ctx context.Context) (err error) {
	ctx = context.WithoutCancel(ctx)
	if s.folder, err = openFolder(s.o.Dir); err != nil {
		return fmt.Errorf("opening the story's folder: %w", err)
	}
	s.tree = tree.At(s.folder.at("letsencrypt"))
	if err := s.folder.mkdir("logs", 0o755); err != nil {
		return err
	}
	if s.dns, err = dnsd.Start(ctx, ""); err != nil {
		return err
	}
	if err := s.dns.Set(Name, "A 127.0.0.1"); err != nil {
		return err
	}
	if s.httpPort, err = port.Free(ctx, 0); err != nil {
		return err
	}
	if s.ca, err = ca.Start(ctx, ca.Options{HTTPPort: s.httpPort, Resolver: s.dns.Addr()}); err != nil {
		return err
	}
	s.roots = s.ca.Roots()
	if _, err := s.folder.write("root.pem", s.ca.RootPEM(), 0o644); err != nil {
		return err
	}
	if _, err := s.folder.write("acme.pem", s.ca.ServicePEM(), 0o644); err != nil {
		return err
	}
	s.teller.say(fine, "authority", "ACME at %s, DNS at %s", s.ca.Directory(), s.dns.Addr())
	return nil
}

// issue obtains the first certificate.
func (s *stage) issue(ctx context.Context) error {
	_, err := s.runIssuer(ctx, "issue", "--server", s.ca.Directory(), "--http-port", fmt.Sprint(s.httpPort), "-d", Name)
	if err != nil {
		return err
	}
	stored, err := s.stored()
	if err != nil {
		return err
	}
	s.teller.say(fine, "issued", "%s for %s", stored.Short(), Name)
	return nil
}

// serve starts the node with the first certificate.
func (s *stage) serve(ctx context.Context) error {
	nodePort, err := port.Free(ctx, s.o.NodePort)
	if err != nil {
		return err
	}
	s.endpoint = net.JoinHostPort("127.0.0.1", fmt.Sprint(nodePort))
	live := s.tree.Live(Name)
	s.node, err = spawn("the web node", s.folder.at("logs", "node.log"), s.o.Certlab, "serve", "--name", "web",
		"--cert", filepath.Join(live, "fullchain.pem"), "--key", filepath.Join(live, "privkey.pem"),
		"--listen", s.endpoint, "--pid-file", s.folder.at("node.pid"))
	if err != nil {
		return err
	}
	var leaf certmedic.Fingerprint
	err = s.node.await(ctx, startTimeout, func() (err error) {
		leaf, err = s.served(ctx)
		return err
	})
	if err != nil {
		return err
	}
	s.teller.say(fine, "served", "%s at %s (pid %d)", leaf.Short(), s.endpoint, s.node.process.Pid)
	return nil
}

// installHook puts the hook that fails at its first run where certbot's hooks are.
func (s *stage) installHook(context.Context) error {
	script := hookScript(s.hookMarker(), s.folder.at("node.pid"))
	path := filepath.Join(s.tree.HookDir("deploy"), "50-reload-web")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		return fmt.Errorf("installing the deploy hook: %w", err)
	}
	return os.Chmod(path, 0o755)
}

// hookMarker is the file that says that the hook has failed once since the renewal.
func (s *stage) hookMarker() string { return s.folder.at("hook-failed-once") }

// renew runs the issuer, tells what it says, and returns the new version.
func (s *stage) renew(ctx context.Context) (certmedic.Fingerprint, error) {
	if err := os.Remove(s.hookMarker()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	s.teller.say(fine, "renewing", "%s, with a deploy hook that will fail", Name)
	said, err := s.runIssuer(ctx, "renew", "--force-renewal")
	if err != nil {
		return "", err
	}
	stored, err := s.stored()
	if err != nil {
		return "", err
	}
	s.teller.say(fine, "renewed", "%s is stored in %s", stored.Short(), s.tree.Live(Name))
	for _, line := range strings.Split(said, "\n") {
		switch {
		case strings.Contains(line, "reported error code"):
			s.teller.say(bad, "hook", "%s", line)
		case strings.Contains(line, "all renewals succeeded"):
			s.teller.say(warn, "issuer", "says %q and exits 0", strings.Trim(line, " :"))
		}
	}
	return stored, nil
}

// runIssuer runs a command of the issuer in the story's tree and returns what it said.
func (s *stage) runIssuer(ctx context.Context, command string, args ...string) (string, error) {
	argv := append([]string{
		s.o.Certlab, command, "--config-dir", s.tree.ConfigDir, "--work-dir", s.tree.WorkDir,
		"--logs-dir", s.tree.LogsDir, "--ca-file", s.folder.at("acme.pem"),
	}, args...)
	log := s.folder.at("logs", "issuer.log")
	child, err := spawn("the issuer", log, argv...)
	if err != nil {
		return "", err
	}
	select {
	case <-child.ended:
	case <-ctx.Done():
		return "", errors.Join(ctx.Err(), child.stop())
	}
	if child.result != nil {
		return "", fmt.Errorf("certlab %s: %w: %s", command, child.result, tail(log))
	}
	said, err := os.ReadFile(log)
	return string(said), err
}

// stored returns the version that live/ points to.
func (s *stage) stored() (certmedic.Fingerprint, error) {
	live := s.tree.Live(Name)
	pair, err := tls.LoadX509KeyPair(filepath.Join(live, "fullchain.pem"), filepath.Join(live, "privkey.pem"))
	if err != nil {
		return "", fmt.Errorf("reading what is stored: %w", err)
	}
	return fingerprint(pair.Certificate[0]), nil
}

// served makes a verified handshake with the node and returns the version that it
// serves. This is the story's own proof, apart from certmedic's.
func (s *stage) served(ctx context.Context) (certmedic.Fingerprint, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{ServerName: Name, RootCAs: s.roots, MinVersion: tls.VersionTLS12}}
	conn, err := dialer.DialContext(ctx, "tcp", s.endpoint)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // all was read
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return "", errors.New("the connection is not TLS")
	}
	return fingerprint(secured.ConnectionState().PeerCertificates[0].Raw), nil
}

func fingerprint(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}
