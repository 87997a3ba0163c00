package config

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const docsPath = "../../docs/configuration.md"

const docsHead = `<!-- Made from the types of internal/config by: go test ./internal/config -run TestDocs -update -->

# Configuration

certmedic reads one YAML file, ` + "`/etc/certmedic/certmedic.yml`" + ` unless ` + "`--config`" + ` names another. Without a file it
discovers what this host's own files show, and observes. ` + "`certmedic config init`" + ` writes a first file, ` + "`config check`" + ` names
everything that is wrong at once, ` + "`config show`" + ` prints the file with its defaults, and ` + "`config schema`" + ` prints a JSON Schema
for editors.

- Unknown keys, keys that are given twice and a second document are errors. So are keys that a later version will know, where
  ignoring them would drop something; where that is harmless they are warnings.
- Durations are numbers with a unit: ` + "`500ms`, `90s`, `10m`, `72h`, `1h30m`, `14d`, `2w`" + `.
- Environment variables are not expanded. Secrets stand in files of their own, which the file names (` + "`*_file`" + `).
- Commands are lists: the program and each of its arguments. No shell is involved.
- The file, secret files, rule files, programs with an absolute path, and all their parent folders may be writable only by
  root and the user that certmedic runs as; others are refused. Others may not read secret files, either.
`

var update = flag.Bool("update", false, "write docs/configuration.md")

func TestDocs(t *testing.T) {
	t.Parallel()
	want := docsText()
	if *update {
		if err := os.WriteFile(docsPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is behind the types; run: go test ./internal/config -run TestDocs -update", docsPath)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	for _, s := range sections("", reflect.TypeFor[Config]()) {
		for _, f := range s.keys.fields {
			if f.key == "" {
				t.Errorf("%s: a field has no yaml key", s.typ)
			}
			if !strings.HasSuffix(f.doc, ".") {
				t.Errorf("%s: the key %q has no doc that ends in a full stop", s.typ, f.key)
			}
		}
		for _, key := range s.keys.oneof {
			if _, ok := s.keys.field(key); !ok {
				t.Errorf("%s: oneof names %q, which is no key", s.typ, key)
			}
		}
	}
}

// section is one mapping of the file, with the path that leads to it.
type section struct {
	path string
	typ  reflect.Type
	keys mapping
}

// sections lists the mapping and those below it, in the order of the keys.
func sections(path string, t reflect.Type) []section {
	m := mappingOf(t)
	all := []section{{path, t, m}}
	for _, f := range m.fields {
		if below, suffix := descend(t.Field(f.index).Type); below.Kind() == reflect.Struct {
			all = append(all, sections(join(path, f.key)+suffix, below)...)
		}
	}
	return all
}

// descend returns the type of a list's or a table's elements, and how a path shows it.
func descend(t reflect.Type) (reflect.Type, string) {
	suffix := ""
	for {
		switch t.Kind() {
		case reflect.Slice:
			suffix += "[]"
		case reflect.Map:
			suffix += ".NAME"
		case reflect.Pointer:
		default:
			return t, suffix
		}
		t = t.Elem()
	}
}

func docsText() []byte {
	var b bytes.Buffer
	b.WriteString(docsHead)
	for _, s := range sections("", reflect.TypeFor[Config]()) {
		writeSection(&b, s)
	}
	return b.Bytes()
}

func writeSection(b *bytes.Buffer, s section) {
	title := "The whole file"
	if s.path != "" {
		title = "`" + s.path + "`"
	}
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if len(s.keys.fields) == 0 {
		b.WriteString("It has no keys: write `{}`.\n")
	} else {
		b.WriteString("| key | value | default | meaning |\n|---|---|---|---|\n")
	}
	for _, f := range s.keys.fields {
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.key, valueText(s.typ.Field(f.index).Type, f), defaultText(s.typ, f), f.doc)
	}
	if len(s.keys.oneof) > 0 {
		fmt.Fprintf(b, "\nExactly one of %s.\n", code(s.keys.oneof))
	}
	for _, f := range s.keys.fields {
		if len(f.later) > 0 {
			fmt.Fprintf(b, "\nKnown values of `%s`, but not supported by this version: %s.\n", f.key, code(f.later))
		}
	}
	if len(s.keys.unsupported) > 0 {
		fmt.Fprintf(b, "\nKnown, but not supported by this version: %s.\n", code(s.keys.unsupported))
	}
	for _, key := range slices.Sorted(maps.Keys(s.keys.ignored)) {
		fmt.Fprintf(b, "\n`%s` is known, but not acted on by this version: %s.\n", key, s.keys.ignored[key])
	}
}

func valueText(t reflect.Type, f field) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "duration"
	case t.Kind() == reflect.Pointer:
		return valueText(t.Elem(), f)
	case t.Kind() == reflect.Slice:
		return "list of: " + valueText(t.Elem(), f)
	case t.Kind() == reflect.Map:
		return "names, each with: " + valueText(t.Elem(), f)
	case t.Kind() == reflect.Struct:
		return "mapping"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int:
		return "whole number"
	case len(f.enum) > 0:
		return code(f.enum)
	case f.form == "path":
		return "absolute path"
	case f.form == "url":
		return "URL"
	default:
		return "string"
	}
}

func defaultText(t reflect.Type, f field) string {
	if f.required {
		return "required"
	}
	value, ok := defaultOf(t, f)
	if !ok {
		return ""
	}
	return fmt.Sprintf("`%v`", value)
}

func code(words []string) string { return "`" + strings.Join(words, "` `") + "`" }
