// Package native carries out a renewal of certmedic's own: it has a version issued by an ACME
// CA and stores it in the certificate's source. The command `certmedic step acme` calls it, in
// a process of its own that outlives the watchdog; package renew plans it.
//
// It promises that an interrupted request that is made again finishes what it began: the order
// is the same one, and a source never stays with the key of another version. What it ends with
// is a line that [ParseResult] reads, whatever the CA and its servers wrote before.
package native

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/lineage"
)

// Request is what `certmedic step acme` is asked for.
type Request struct {
	Order  acme.Request `json:"order"`
	Store  Store        `json:"store"`
	Proof  bool         `json:"proof,omitempty"`  // nothing is stored: it is only to be seen that it works
	Finish bool         `json:"finish,omitempty"` // nothing is ordered: a storing that was cut short is finished
	Roots  []string     `json:"roots,omitempty"`  // what a [Judge] judges against

	judge Judge
}

// Judge says why a chain, leaf first, that was issued for a name must not be stored; nil where it may be. Roots
// are the names of sets of roots, each of which has to trust it: system, mozilla, or the path of a file.
type Judge func(roots []string, name string, chain []*x509.Certificate, now time.Time) error

// Store says where a version is stored. Where neither Files nor Lineage is set, Folder itself
// is the source.
type Store struct {
	Folder  string         `json:"folder"` // 0700, of this certificate alone; it remembers what was issued
	Files   *Files         `json:"files,omitempty"`
	Lineage *lineage.Place `json:"lineage,omitempty"`
}

// Files are those of a source of plain files.
type Files struct {
	Cert  string `json:"cert"` // gets the whole chain where Chain is empty
	Key   string `json:"key"`
	Chain string `json:"chain,omitempty"`
}

// Issuance is what is remembered of the version that was stored last.
type Issuance struct {
	Version   certmedic.Fingerprint `json:"version"`
	Directory string                `json:"directory"` // of the CA
	Account   string                `json:"account"`   // see [Account]
	Order     string                `json:"order"`     // its URL at the CA
	Replaced  bool                  `json:"replaced"`  // the CA took it as the replacement of the one before
	Time      time.Time             `json:"time"`
}

// The names in the folder of a certificate.
const (
	issuanceName = "issued.json"
	storingName  = "storing.json" // while a version is being stored
)

// limit bounds the whole, in less time than the step is given.
const limit = 28 * time.Minute

// Run carries out a request, the JSON of a [Request], and tells on out how far it is. Nothing is
// stored that the judge refuses.
func Run(ctx context.Context, request []byte, out io.Writer, judge Judge) error {
	r := Request{judge: judge}
	d := json.NewDecoder(bytes.NewReader(request))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	issued, err := r.run(ctx, acme.Obtain, out)
	return errors.Join(err, report(out, r, issued, err))
}

// obtainer has a version issued, as [acme.Obtain] does.
type obtainer func(ctx context.Context, r acme.Request, out io.Writer) (acme.Issued, error)

func (r Request) run(ctx context.Context, obtain obtainer, out io.Writer) (acme.Issued, error) {
	if !filepath.IsAbs(r.Store.Folder) {
		return acme.Issued{}, fmt.Errorf("the folder %q is not an absolute path", r.Store.Folder)
	}
	if r.Finish {
		return r.finish(ctx, out)
	}
	if err := os.MkdirAll(r.Store.Folder, 0o700); err != nil {
		return acme.Issued{}, fmt.Errorf("making the folder of what is issued: %w", err)
	}
	issued, err := obtain(ctx, r.Order, out)
	if err != nil {
		return issued, err
	}
	if r.Proof {
		fmt.Fprintf(out, "proven: %s would issue a certificate\n", r.Order.Directory)
		return issued, acme.Close(r.Order)
	}
	if err := r.judged(issued, time.Now()); err != nil {
		return issued, err
	}
	return issued, r.keep(ctx, issued, out)
}

// The least that has to be left of what is stored: a day, or a quarter of a life of hours.
const (
	leastLeft  = 24 * time.Hour
	leastShare = 4
)

// refusedShare is the share of its life for which a version that must not be stored is kept: what is
// wrong may be on this host, and another order would bring the same again.
const refusedShare = 12

// judged refuses a version that must not be stored, because then nothing is left to go back to. After
// a while its order is forgotten, so that the next request orders anew.
func (r Request) judged(issued acme.Issued, now time.Time) error {
	data, err := os.ReadFile(issued.Fullchain)
	if err != nil {
		return err
	}
	chain, err := parseChain(data)
	if err != nil {
		return fmt.Errorf("reading %q: %w", issued.Fullchain, err)
	}
	leaf := chain[0]
	life, left := leaf.NotAfter.Sub(leaf.NotBefore), leaf.NotAfter.Sub(now)
	if least := min(leastLeft, life/leastShare); left < least {
		err = fmt.Errorf("it ends at %s, less than %s from now", leaf.NotAfter.UTC().Format(time.RFC3339), least)
	}
	if err == nil && r.judge != nil {
		err = r.judge(r.Roots, r.Order.Names[0], chain, now)
	}
	if err == nil {
		return nil
	}
	err = &acme.Error{Kind: acme.KindBadVersion, Doing: "checking version " + issued.Version.Short(), Detail: err.Error()}
	if now.Sub(leaf.NotBefore) > life/refusedShare {
		return errors.Join(err, acme.Close(r.Order))
	}
	return err
}

// keep stores a version. What it began is on disk before, for whoever finishes it.
func (r Request) keep(ctx context.Context, issued acme.Issued, out io.Writer) error {
	begun, err := json.Marshal(issued)
	if err != nil {
		return fmt.Errorf("noting what is stored: %w", err)
	}
	marker := filepath.Join(r.Store.Folder, storingName)
	if err := atomicfile.Write(marker, begun, 0o600, -1, -1); err != nil {
		return fmt.Errorf("noting what is stored: %w", err)
	}
	if err := r.Store.store(ctx, issued, out); err != nil {
		return fmt.Errorf("storing version %s: %w", issued.Version.Short(), err)
	}
	if err := r.remember(issued); err != nil {
		return err
	}
	fmt.Fprintf(out, "stored: version %s\n", issued.Version.Short())
	return errors.Join(os.Remove(marker), acme.Close(r.Order))
}

// Storing reports whether a version is being stored in the folder of a certificate, or was when that was
// cut short. In doubt it is.
func Storing(folder string) bool {
	_, err := os.Lstat(filepath.Join(folder, storingName))
	return !errors.Is(err, os.ErrNotExist)
}

// finish stores what was being stored when an earlier request was cut short.
func (r Request) finish(ctx context.Context, out io.Writer) (acme.Issued, error) {
	var issued acme.Issued
	data, err := os.ReadFile(filepath.Join(r.Store.Folder, storingName))
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(out, "nothing was being stored")
		return issued, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &issued)
	}
	if err != nil {
		return issued, fmt.Errorf("reading what was being stored: %w", err)
	}
	if last, err := Last(r.Store.Folder); err == nil && last.Version == issued.Version {
		return issued, errors.Join(os.Remove(filepath.Join(r.Store.Folder, storingName)), acme.Close(r.Order))
	}
	return issued, r.keep(ctx, issued, out)
}

func (r Request) remember(issued acme.Issued) error {
	data, err := json.Marshal(Issuance{
		Version: issued.Version, Directory: r.Order.Directory, Account: Account(r.Order),
		Order: issued.Order, Replaced: issued.Replaced, Time: time.Now().UTC(),
	})
	if err == nil {
		err = atomicfile.Write(filepath.Join(r.Store.Folder, issuanceName), data, 0o600, -1, -1)
	}
	if err != nil {
		return fmt.Errorf("remembering what was issued: %w", err)
	}
	return nil
}

// Last returns what is remembered of the version that was stored last in the folder of a
// certificate; nothing where none was.
func Last(folder string) (Issuance, error) {
	var last Issuance
	data, err := os.ReadFile(filepath.Join(folder, issuanceName))
	if errors.Is(err, os.ErrNotExist) {
		return last, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &last)
	}
	if err != nil {
		return Issuance{}, fmt.Errorf("reading what was issued: %w", err)
	}
	return last, nil
}

// Account names the account of a request, the same for each of its requests at a directory: the
// folder's name of an imported one, else who is written to.
func Account(r acme.Request) string {
	if r.Account.Import != "" {
		return filepath.Base(r.Account.Import)
	}
	if r.Account.Email == "" {
		return "without an email"
	}
	return r.Account.Email
}
