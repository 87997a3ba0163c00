package native

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/lineage"
)

// keepVersions is how many versions stay in a folder of certmedic's own.
const keepVersions = 5

// The names in such a folder.
const (
	versionsName = "versions"
	currentName  = "current"
)

// The patience with locks of certbot that somebody holds.
const (
	lockedFor   = 5 * time.Minute
	lockedEvery = 2 * time.Second
)

// store stores a version. Called again for the same version it finishes what it began.
func (s Store) store(ctx context.Context, issued acme.Issued, out io.Writer) error {
	switch {
	case s.Lineage != nil:
		return s.intoLineage(ctx, issued, out)
	case s.Files != nil:
		return s.intoFiles(issued)
	}
	return s.intoFolder(issued)
}

// intoFolder adds a version to the folder and lets the link lead to it: a reader finds one
// version or the other, whole.
func (s Store) intoFolder(issued acme.Issued) error {
	versions := filepath.Join(s.Folder, versionsName)
	name := issued.Version.Short()
	if err := os.MkdirAll(versions, 0o700); err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(versions, name)); errors.Is(err, fs.ErrNotExist) {
		if err := addVersion(versions, name, issued); err != nil {
			return err
		}
	}
	next, link := filepath.Join(s.Folder, "."+currentName), filepath.Join(s.Folder, currentName)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(filepath.Join(versionsName, name), next); err != nil {
		return err
	}
	if err := os.Rename(next, link); err != nil {
		return err
	}
	return errors.Join(syncFolder(s.Folder), prune(versions, name))
}

// addVersion writes the files of a version beside the others, and gives the folder its name
// when all of them are on disk.
func addVersion(versions, name string, issued acme.Issued) error {
	fresh := filepath.Join(versions, ".new")
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	for _, f := range []struct {
		from, name string
		mode       fs.FileMode
	}{
		{issued.Privkey, "privkey.pem", 0o600},
		{issued.Cert, "cert.pem", 0o644},
		{issued.Chain, "chain.pem", 0o644},
		{issued.Fullchain, "fullchain.pem", 0o644},
	} {
		if f.from == "" {
			continue // there is no chain where a root issued the leaf
		}
		data, err := os.ReadFile(f.from)
		if err == nil {
			err = atomicfile.Create(filepath.Join(fresh, f.name), data, f.mode)
		}
		if err != nil {
			return fmt.Errorf("copying %q: %w", f.from, err)
		}
	}
	if err := syncFolder(fresh); err != nil {
		return err
	}
	if err := os.Rename(fresh, filepath.Join(versions, name)); err != nil {
		return err
	}
	return syncFolder(versions)
}

// prune removes all but the newest versions.
func prune(versions, current string) error {
	entries, err := os.ReadDir(versions)
	if err != nil {
		return err
	}
	type aged struct {
		name string
		at   time.Time
	}
	var others []aged
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && entry.Name() != current {
			others = append(others, aged{entry.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(others, func(a, b aged) int { return b.at.Compare(a.at) })
	var errs []error
	for _, old := range others[min(keepVersions-1, len(others)):] {
		errs = append(errs, os.RemoveAll(filepath.Join(versions, old.name)))
	}
	return errors.Join(errs...)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// intoFiles replaces the files of a source one right after the other, with their modes and
// owners, once all of them are staged. After an error the old ones are back.
func (s Store) intoFiles(issued acme.Issued) error {
	chain, err := fingerprints(issued.Fullchain)
	if err != nil {
		return err
	}
	files := []certmedic.InstalledFile{{From: certmedic.PartPrivkey, To: s.Files.Key}}
	if s.Files.Chain == "" {
		files = append(files, certmedic.InstalledFile{From: certmedic.PartFullchain, To: s.Files.Cert})
	} else {
		files = append(files,
			certmedic.InstalledFile{From: certmedic.PartChain, To: s.Files.Chain},
			certmedic.InstalledFile{From: certmedic.PartCert, To: s.Files.Cert})
	}
	plan, err := deploy.Steps([]certmedic.Destination{{Name: "source", Files: files}}, certmedic.Stored{
		Chain: chain,
		Files: certmedic.StoredFiles{Cert: issued.Cert, Chain: issued.Chain, Fullchain: issued.Fullchain, Privkey: issued.Privkey},
	}, nil, false)
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := deploy.Sweep(f.To); err != nil {
			return err
		}
	}
	backup := filepath.Join(s.Folder, "backup")
	installation, err := deploy.Stage(plan, backup)
	if err != nil {
		return err
	}
	if err := installation.Commit(); err != nil {
		return errors.Join(err, deploy.PutBack(installation.Changes()))
	}
	return os.RemoveAll(backup)
}

// fingerprints tells the certificates of a PEM file apart.
func fingerprints(path string) ([]certmedic.CertFacts, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	certs, err := parseChain(data)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	var chain []certmedic.CertFacts
	for _, cert := range certs {
		sum := sha256.Sum256(cert.Raw)
		chain = append(chain, certmedic.CertFacts{SHA256: certmedic.Fingerprint(hex.EncodeToString(sum[:]))})
	}
	return chain, nil
}

// parseChain reads the certificates of a PEM text, of which there is at least one.
func parseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, errors.New("there is no certificate")
	}
	return chain, nil
}

// intoLineage adds a version to a certbot lineage as certbot itself does. While certbot is at
// work, it waits.
func (s Store) intoLineage(ctx context.Context, issued acme.Issued, out io.Writer) error {
	work := filepath.Join(s.Folder, "lineage-"+issued.Version.Short())
	request, err := json.Marshal(lineage.Request{
		Do: lineage.Append, Place: *s.Lineage, Version: issued.Version, Work: work,
		Files: certmedic.StoredFiles{Cert: issued.Cert, Chain: issued.Chain, Fullchain: issued.Fullchain, Privkey: issued.Privkey},
	})
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(lockedFor); ; {
		err := lineage.Run(ctx, request, out)
		if err == nil {
			return os.RemoveAll(work)
		}
		if !errors.Is(err, lineage.ErrHeld) || time.Now().After(deadline) {
			return err
		}
		fmt.Fprintf(out, "waiting: %v\n", err)
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(lockedEvery):
		}
	}
}
