package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk/keystore"
	"github.com/certmedic/certmedic/probe/inspect"
)

// Item is one certificate that a path led to.
type Item struct {
	Target string           // the file, the lineage's folder, or FILE#NAME for one of several in a file
	Source certmedic.Source // to read it again, as far as a source can name it
	Content
}

// ReadPath reads what a person named, without passphrases. See [Reader.ReadPath].
func ReadPath(path string, now time.Time) ([]Item, error) {
	return Reader{}.ReadPath(path, now)
}

// ReadPath reads what a person named, by what it holds and not by how it is called. That
// is one of
//   - a file in PEM or DER: its certificates are one chain, and a private key in it is its key;
//   - a key store (PKCS#12, JKS, JCEKS): each private key with its chain, and each other
//     certificate, is an item PATH#ALIAS;
//   - a kubeconfig: each cluster's CA and each user's certificate is an item
//     PATH#clusters/NAME or PATH#users/NAME;
//   - the folder of a lineage (live/NAME), or one with certbot's four names in it;
//   - a mounted Kubernetes secret (tls.crt, tls.key, ca.crt);
//   - a whole tree of certbot, or its live/; or one of a client that [Tree] knows;
//   - any other folder: each file directly in it that holds certificates;
//   - a pattern as of [filepath.Match], where there is no file of that name: each file that
//     matches and holds certificates.
//
// What is wrong with the certificates is among their findings; the error says that the
// path leads to nothing that can be read.
func (r Reader) ReadPath(path string, now time.Time) ([]Item, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, `*?[`):
		return r.readPattern(path, now)
	case err != nil:
		return nil, fmt.Errorf("reading %q: %w", linked(path), reason(err))
	case !info.IsDir():
		return r.readOne(path, now)
	case isDir(filepath.Join(path, "renewal")):
		return r.readTree(path, now)
	case isLive(path):
		return r.readTree(filepath.Join(path, ".."), now)
	}
	if sources := folderSources(path); len(sources) > 0 {
		return r.readSources(path, sources, now), nil
	}
	if _, found, findings := Tree(path); len(found) > 0 {
		return r.readFound(found, findings, now), nil
	}
	return r.readFolder(path, now)
}

// readOne reads a file. One without certificates is an item that says so.
func (r Reader) readOne(path string, now time.Time) ([]Item, error) {
	data, id, err := readWhole(path, maxPEMSize)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, reason(err))
	}
	defer clear(data)
	at := place{path, id, now}
	switch {
	case keystore.Detect(data) != keystore.None:
		return r.storeItems(at, data), nil
	case isKubeconfig(data):
		return r.kubeconfigItems(at, data), nil
	}
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: path}
	if holdsCertificates(data) && holdsKey(data) {
		src.Key = path
	}
	return []Item{{Target: path, Source: src, Content: r.Read(src, now)}}, nil
}

// maxFiles bounds the files that are looked at for one pattern or folder.
const maxFiles = 20_000

// readPattern reads the files that match a pattern.
func (r Reader) readPattern(pattern string, now time.Time) ([]Item, error) {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", pattern, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("reading %q: no file matches: %w", pattern, fs.ErrNotExist)
	}
	items, err := r.readFiles(paths, now)
	if err == nil && len(items) == 0 {
		err = errors.New("no file that matches holds a certificate")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", pattern, err)
	}
	return items, nil
}

// readFolder reads the files directly in a folder.
func (r Reader) readFolder(path string, now time.Time) ([]Item, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, reason(err))
	}
	var paths []string
	for _, entry := range entries {
		paths = append(paths, filepath.Join(path, entry.Name()))
	}
	items, err := r.readFiles(paths, now)
	if err == nil && len(items) == 0 {
		err = errors.New("neither a certbot tree nor a folder with fullchain.pem or cert.pem, nor any other with certificates")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	return items, nil
}

// readFiles reads those of the files that hold certificates. A file that cannot be read may
// hold some, so it is an item, too; folders are passed over.
func (r Reader) readFiles(paths []string, now time.Time) ([]Item, error) {
	if len(paths) > maxFiles {
		return nil, fmt.Errorf("%d files, more than %d", len(paths), maxFiles)
	}
	var items []Item
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
			continue
		}
		data, id, err := readWhole(path, maxPEMSize)
		if err == nil && !holdsCertificates(data) {
			continue
		}
		clear(data)
		if err != nil {
			b := r.begin(place{path, id, now})
			b.readFailed(path, err)
			items = append(items, b.item(path))
			continue
		}
		more, err := r.readOne(path, now)
		if err != nil {
			continue // it went away since
		}
		items = append(items, more...)
	}
	return items, nil
}

func (r Reader) readSources(folder string, sources []certmedic.Source, now time.Time) []Item {
	var items []Item
	for i, src := range sources {
		target := folder
		if i > 0 {
			target = src.Cert
		}
		item := Item{Target: target, Source: src, Content: r.Read(src, now)}
		if i > 0 {
			item.Purpose = inspect.PurposeAuthority // ca.crt, see folderSources
		}
		items = append(items, item)
	}
	return items
}

// readFound reads the certificates of another client's tree. What is wrong with the tree
// stands with the first of them.
func (r Reader) readFound(found []Found, findings []certmedic.Finding, now time.Time) []Item {
	var items []Item
	for _, f := range found {
		item := Item{Target: f.Source.Cert, Source: f.Source, Content: r.Read(f.Source, now)}
		item.Stored.Findings = append(item.Stored.Findings, findings...)
		findings = nil
		items = append(items, item)
	}
	return items
}

// readTree reads every lineage, and every folder in live/ that certbot forgot.
func (r Reader) readTree(configDir string, now time.Time) ([]Item, error) {
	names, findings := Lineages(configDir)
	names = append(names, orphans(configDir, names)...)
	if len(names) == 0 {
		why := "there is none in renewal/"
		if len(findings) > 0 {
			why = findings[0].Detail
		}
		return nil, fmt.Errorf("reading the lineages of %q: %s", configDir, why)
	}
	slices.Sort(names)
	var items []Item
	for _, name := range names {
		src := certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: configDir, Lineage: name}
		target := filepath.Join(configDir, "live", name)
		items = append(items, Item{Target: target, Source: src, Content: r.Read(src, now)})
	}
	return items, nil
}

// folderSources says what a folder is: a lineage's where a certbot tree is around it, else
// plain files under certbot's names or under those of a Kubernetes secret, of which the CA
// is a source of its own. There is none for other folders.
func folderSources(path string) []certmedic.Source {
	if full, err := filepath.Abs(path); err == nil {
		configDir := filepath.Dir(filepath.Dir(full))
		if filepath.Base(filepath.Dir(full)) == "live" && isDir(filepath.Join(configDir, "renewal")) {
			return []certmedic.Source{{Kind: certmedic.SourceCertbot, ConfigDir: configDir, Lineage: filepath.Base(full)}}
		}
	}
	in := func(name string) string {
		if file := filepath.Join(path, name); isThere(file) {
			return file
		}
		return ""
	}
	files := func(cert, key, chain string) certmedic.Source {
		return certmedic.Source{Kind: certmedic.SourceFiles, Cert: cert, Key: key, Chain: chain}
	}
	var sources []certmedic.Source
	switch {
	case in("fullchain.pem") != "":
		return []certmedic.Source{files(in("fullchain.pem"), in("privkey.pem"), "")}
	case in("cert.pem") != "":
		return []certmedic.Source{files(in("cert.pem"), in("privkey.pem"), in("chain.pem"))}
	case in("tls.crt") != "":
		sources = append(sources, files(in("tls.crt"), in("tls.key"), ""))
		if ca := in("ca.crt"); ca != "" {
			sources = append(sources, files(ca, "", ""))
		}
	}
	return sources
}

// isLive reports whether a folder is the live/ of a certbot tree.
func isLive(path string) bool {
	full, err := filepath.Abs(path)
	return err == nil && filepath.Base(full) == "live" && isDir(filepath.Join(filepath.Dir(full), "renewal"))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isThere(path string) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil
}
