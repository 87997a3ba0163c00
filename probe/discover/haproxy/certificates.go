package haproxy

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// addCertificates appends the servers of one `crt`: a file, a folder of them, or the base
// name of a bundle with one file for each kind of key.
func (p *parser) addCertificates(out []conf.Server, b bind, path string, names []string) []conf.Server {
	switch {
	case path == "":
		return out
	case p.files.IsDir(path):
		return p.addFolder(out, b, path)
	case p.files.Exists(path):
		return p.add(out, b, names, p.pair(path))
	}
	var bundle []conf.Pair
	for _, kind := range []string{".rsa", ".ecdsa", ".dsa"} {
		if p.files.Exists(path + kind) {
			bundle = append(bundle, p.pair(path+kind))
		}
	}
	if len(bundle) == 0 { // a file that is missing is told where the certificate is read
		bundle = []conf.Pair{{Cert: path, Key: path}}
	}
	return p.add(out, b, names, bundle...)
}

func (p *parser) add(out []conf.Server, b bind, names []string, pairs ...conf.Pair) []conf.Server {
	if p.count++; p.count > maxCertificates {
		if p.count == maxCertificates+1 {
			p.problems.Limit(b.file, b.line, "not read on: there are more than %d certificates", maxCertificates)
		}
		return out
	}
	return append(out, conf.Server{Names: names, ByCertificate: len(names) == 0, Certificates: pairs, File: b.file, Line: b.line})
}

// pair returns a certificate with its key, which is in a file of its own or in the same.
func (p *parser) pair(path string) conf.Pair {
	if p.files.Exists(path + ".key") {
		return conf.Pair{Cert: path, Key: path + ".key"}
	}
	if base, ok := strings.CutSuffix(path, filepath.Ext(path)); ok && filepath.Ext(path) == ".crt" && p.files.Exists(base+".key") {
		return conf.Pair{Cert: path, Key: base + ".key"} // ssl-load-extra-del-ext
	}
	return conf.Pair{Cert: path, Key: path}
}

// addFolder appends every file of a folder, without those that belong to a certificate.
// Files of a bundle are one server.
func (p *parser) addFolder(out []conf.Server, b bind, dir string) []conf.Server {
	paths, err := p.files.List(dir)
	if err != nil {
		p.problems.At(b.file, b.line, "crt: %w", err)
		return out
	}
	last := ""
	for _, path := range paths {
		name, kind := filepath.Base(path), filepath.Ext(path)
		if strings.HasPrefix(name, ".") || slices.Contains([]string{".key", ".ocsp", ".sctl", ".issuer", ".dhparam"}, kind) || p.files.IsDir(path) {
			continue
		}
		if !slices.Contains([]string{".rsa", ".ecdsa", ".dsa"}, kind) {
			out = p.add(out, b, nil, p.pair(path))
			continue
		}
		base := strings.TrimSuffix(path, kind)
		if base == last && p.count <= maxCertificates {
			end := &out[len(out)-1]
			end.Certificates = append(end.Certificates, p.pair(path))
			continue
		}
		out, last = p.add(out, b, nil, p.pair(path)), base
	}
	return out
}

// addList appends the certificates of a crt-list, whose lines are
// `CRT [\[PARAMETER...\]] [[!]NAME...]`.
func (p *parser) addList(out []conf.Server, b bind, path string) []conf.Server {
	text, err := p.files.Read(path)
	if err != nil {
		p.problems.At(b.file, b.line, "crt-list: %w", err)
		return out
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		crt, filters := cutEntry(line)
		out = p.addCertificates(out, b, p.absolute(crt), filters)
	}
	return out
}

// cutEntry splits a line of a crt-list into the certificate and the names it is for. Names
// with "!" are those that it is not for.
func cutEntry(line string) (crt string, names []string) {
	crt, rest := line, ""
	if end := strings.IndexAny(line, " \t["); end >= 0 {
		crt, rest = line[:end], strings.TrimSpace(line[end:])
	}
	if strings.HasPrefix(rest, "[") {
		_, rest, _ = strings.Cut(rest, "]")
	}
	for name := range strings.FieldsSeq(rest) {
		if strings.HasPrefix(name, "#") {
			break
		}
		if !strings.HasPrefix(name, "!") && name != "*" {
			names = append(names, name)
		}
	}
	return crt, names
}
