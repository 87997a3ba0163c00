package disk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic"
)

// Found is a certificate in the tree of an ACME client other than certbot.
type Found struct {
	Name   string // what the client calls it
	Source certmedic.Source
}

// Tree recognises the tree of acme.sh, lego, Caddy (or whatever else keeps its certificates
// with certmagic) or dehydrated by the files that only it writes, and lists the
// certificates in it, sorted by name. The folder may be the client's own or the one in it
// that holds the certificates. The client is empty for a folder that is of none of them; a
// certificate of which files are missing is a finding.
//
// The layouts are those of acme.sh 3 (_initpath), lego 4 (cmd/certs_storage.go), certmagic
// (KeyBuilder in storage.go) and dehydrated 0.7 (sign_domain).
func Tree(dir string) (client string, found []Found, findings []certmedic.Finding) {
	for _, known := range []struct {
		client string
		find   func(dir string) []Found
		inner  string // where the certificates are in the client's folder
	}{
		{"acme.sh", findAcmeSh, ""},
		{"lego", findLego, "certificates"},
		{"caddy", findCertmagic, "certificates"},
		{"dehydrated", findDehydrated, "certs"},
	} {
		folder := filepath.Join(dir, known.inner)
		if !isDir(folder) {
			folder = dir
		}
		if found := known.find(folder); len(found) > 0 {
			return known.client, found, missingFiles(found)
		}
	}
	return "", nil, nil
}

func missingFiles(found []Found) []certmedic.Finding {
	var findings []certmedic.Finding
	for _, f := range found {
		for _, path := range []string{f.Source.Cert, f.Source.Key} {
			if path != "" && !isThere(path) {
				findings = append(findings, certmedic.NewFinding(certmedic.FileMissing,
					fmt.Sprintf("%s: %s is missing", f.Name, path)))
			}
		}
	}
	return findings
}

// folders lists the folders in a folder, sorted; none where it cannot be read.
func folders(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var out []string
	for _, entry := range entries {
		if path := filepath.Join(dir, entry.Name()); isDir(path) {
			out = append(out, path)
		}
	}
	return out
}

// findAcmeSh looks for DOMAIN/DOMAIN.conf, of which each setting begins with Le_. The folder
// of a certificate with an elliptic key has _ecc at its end, its files have not.
func findAcmeSh(dir string) []Found {
	var found []Found
	for _, folder := range append([]string{dir}, folders(dir)...) {
		base := filepath.Base(folder)
		domain := strings.TrimSuffix(base, "_ecc")
		in := func(name string) string { return filepath.Join(folder, name) }
		conf, err := readFile(in(domain+".conf"), maxConfSize)
		if err != nil || !bytes.Contains(conf, []byte("Le_Domain=")) {
			continue
		}
		found = append(found, Found{base, filesOf(in("fullchain.cer"), in(domain+".key"))})
	}
	return found
}

// findLego looks for NAME.json with the URL of a certificate beside NAME.crt. That holds the
// chain, unless lego was told not to bundle it; then it is in NAME.issuer.crt.
func findLego(dir string) []Found {
	paths, _ := filepath.Glob(filepath.Join(escape(dir), "*.json"))
	var found []Found
	for _, path := range paths {
		meta, err := readFile(path, maxConfSize)
		stem := strings.TrimSuffix(path, ".json")
		if err != nil || !bytes.Contains(meta, []byte(`"certUrl"`)) || !isThere(stem+".crt") {
			continue
		}
		src := filesOf(stem+".crt", stem+".key")
		if !isThere(src.Key) {
			src.Key = "" // lego was given a request, and never had the key
		}
		data, err := readFile(src.Cert, maxPEMSize)
		if err == nil && bytes.Count(data, []byte(pemBegin)) == 1 && isThere(stem+".issuer.crt") {
			src.Chain = stem + ".issuer.crt"
		}
		found = append(found, Found{filepath.Base(stem), src})
	}
	return found
}

// findCertmagic looks for ISSUER/NAME/NAME.json beside NAME.crt, which holds the chain.
func findCertmagic(dir string) []Found {
	var found []Found
	for _, issuer := range folders(dir) {
		for _, folder := range folders(issuer) {
			name := filepath.Base(folder)
			stem := filepath.Join(folder, name)
			if isThere(stem+".json") && isThere(stem+".crt") {
				found = append(found, Found{filepath.Base(issuer) + "/" + name, filesOf(stem+".crt", stem+".key")})
			}
		}
	}
	return found
}

// findDehydrated looks for NAME/fullchain.pem that is a link to fullchain-TIME.pem.
func findDehydrated(dir string) []Found {
	var found []Found
	for _, folder := range folders(dir) {
		full := filepath.Join(folder, "fullchain.pem")
		target, err := os.Readlink(full)
		if err == nil && strings.HasPrefix(filepath.Base(target), "fullchain-") {
			found = append(found, Found{filepath.Base(folder), filesOf(full, filepath.Join(folder, "privkey.pem"))})
		}
	}
	return found
}

func filesOf(cert, key string) certmedic.Source {
	return certmedic.Source{Kind: certmedic.SourceFiles, Cert: cert, Key: key}
}

// escape makes a folder's name stand for itself in a pattern.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}
