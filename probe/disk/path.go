package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Item is one certificate that a path led to.
type Item struct {
	Target string           // the file, or the lineage's folder
	Source certmedic.Source // to read it again
	Content
}

// ReadPath reads what a person named: a file in PEM or DER (its certificates are one
// chain, and a private key in it is its key), the folder of a lineage (live/NAME), any
// folder with certbot's four names in it, or a whole certbot tree. What is wrong with
// the certificates is among their findings; the error says that the path leads to
// nothing that can be read.
func ReadPath(path string, now time.Time) ([]Item, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, reason(err))
	}
	if !info.IsDir() {
		item, err := readPEMFile(path, now)
		return []Item{item}, err
	}
	if isDir(filepath.Join(path, "renewal")) {
		return readTree(path, now)
	}
	src, err := folderSource(path)
	if err != nil {
		return nil, err
	}
	return []Item{{Target: path, Source: src, Content: Reader{}.Read(src, now)}}, nil
}

func readPEMFile(path string, now time.Time) (Item, error) {
	data, err := readFile(path, maxPEMSize)
	if err != nil {
		return Item{}, fmt.Errorf("reading %q: %w", path, reason(err))
	}
	if kind := keystoreKind(data); kind != "" {
		return Item{}, fmt.Errorf("reading %q: %s is not supported yet", path, kind)
	}
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: path}
	if certs, _ := parseCertificates(data); len(certs) > 0 {
		if _, err := parseKey(data); err == nil {
			src.Key = path
		}
	}
	clear(data)
	return Item{Target: path, Source: src, Content: Reader{}.Read(src, now)}, nil
}

// readTree reads every lineage, and every folder in live/ that certbot forgot.
func readTree(configDir string, now time.Time) ([]Item, error) {
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
		items = append(items, Item{Target: target, Source: src, Content: Reader{}.Read(src, now)})
	}
	return items, nil
}

// folderSource says what a folder is: a lineage's where a certbot tree is around it,
// else plain files under certbot's names.
func folderSource(path string) (certmedic.Source, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return certmedic.Source{}, fmt.Errorf("reading %q: %w", path, err)
	}
	configDir := filepath.Dir(filepath.Dir(full))
	if filepath.Base(filepath.Dir(full)) == "live" && isDir(filepath.Join(configDir, "renewal")) {
		return certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: configDir, Lineage: filepath.Base(full)}, nil
	}
	in := func(name string) string {
		if file := filepath.Join(path, name); isThere(file) {
			return file
		}
		return ""
	}
	src := certmedic.Source{Kind: certmedic.SourceFiles, Cert: in("fullchain.pem"), Key: in("privkey.pem")}
	if src.Cert == "" {
		src.Cert, src.Chain = in("cert.pem"), in("chain.pem")
	}
	if src.Cert == "" {
		return src, fmt.Errorf("reading %q: neither a certbot tree nor a folder with fullchain.pem or cert.pem", path)
	}
	return src, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
