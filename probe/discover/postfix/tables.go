package postfix

import (
	"fmt"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// maxEntries bounds the names of one table.
const maxEntries = 10_000

// Table is one of tls_server_sni_maps, which says what is presented to clients that ask for a
// name.
type Table struct {
	Kind   string   // such as hash
	Source string   // the file that a person wrote
	Made   string   // what postmap -F makes of it and the service reads; empty where that is the source itself
	Names  []string // the clients' names, as written
	Files  []string // the certificates and keys that it names, each once
	File   string   // where the table is named
	Line   int
}

// Holds reports whether what the service reads has the contents of the files in it, so that a
// new certificate needs a new table.
func (t Table) Holds() bool { return t.Made != "" }

// entry is a line of a table: a name and its chain's files.
type entry struct {
	name  string
	files []string
	line  int
}

// named returns the servers of the names that a service's tables have.
func (p *parser) named(v values, listens []conf.Listen) []conf.Server {
	param, ok := v.params["tls_server_sni_maps"]
	if !ok {
		return nil
	}
	listens = slices.Clone(listens)
	for i := range listens {
		listens[i].Default = false
	}
	var out []conf.Server
	for _, table := range list(v.expand(param.value)) {
		kind, source, ok := strings.Cut(table, ":")
		if !ok {
			kind, source = v.get("default_database_type"), table
		}
		source = p.absolute(source)
		for _, e := range p.table(kind, source, param) {
			out = append(out, conf.Server{
				Names: []string{wildcard(e.name)}, Listen: listens, Certificates: p.chains(e.files), File: source, Line: e.line,
			})
		}
	}
	return out
}

// wildcard turns .example.test, which stands for every name below that, into a wildcard.
func wildcard(name string) string {
	if strings.HasPrefix(name, ".") {
		return "*" + name
	}
	return name
}

// table reads a table's source, and tells of the table once.
func (p *parser) table(kind, source string, at parameter) []entry {
	if p.read[source] {
		return p.entries[source]
	}
	p.read[source] = true
	made, ok := madeOf(kind, source)
	if !ok {
		return nil // a table that is no file, such as one of SQL
	}
	t := Table{Kind: kind, Source: source, Made: made, File: at.file, Line: at.line}
	text, err := p.files.Read(source)
	if err != nil {
		p.problems.At(at.file, at.line, "%s: %w", at.name, err)
	}
	entries := p.readTable(source, text)
	for _, e := range entries {
		t.Names = append(t.Names, e.name)
		for _, file := range e.files {
			if !slices.Contains(t.Files, file) {
				t.Files = append(t.Files, file)
			}
		}
	}
	p.tables = append(p.tables, t)
	if p.entries == nil {
		p.entries = map[string][]entry{}
	}
	p.entries[source] = entries
	return entries
}

// madeOf returns what postmap makes of a source, and whether the kind is one of files.
func madeOf(kind, source string) (string, bool) {
	switch kind {
	case "hash", "btree":
		return source + ".db", true
	case "lmdb", "cdb":
		return source + "." + kind, true
	case "dbm", "sdbm":
		return source + ".pag", true
	case "texthash", "inline", "pcre", "regexp", "cidr":
		return "", kind == "texthash"
	}
	return "", false
}

// readTable reads lines of the form `NAME FILE[, FILE...]`.
func (p *parser) readTable(path, text string) []entry {
	var out []entry
	for _, l := range splitLines(text) {
		words := list(l.text)
		if len(words) < 2 {
			p.problems.At(path, l.number, "expected a name and the files of its chain, not %q", l.text)
			continue
		}
		if len(out) == maxEntries {
			p.problems.Add(fmt.Errorf("%s: not read on: there are more than %d names", path, maxEntries))
			break
		}
		e := entry{name: words[0], line: l.number}
		for _, file := range words[1:] {
			e.files = append(e.files, p.absolute(file))
		}
		out = append(out, e)
	}
	return out
}
