package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"github.com/certmedic/certmedic/rules"
)

// maxFile bounds a scenario file, in bytes.
const maxFile = 4 << 20

// Shipped stands among a file's rules for those that certmedic ships.
const Shipped = "shipped"

// defaultInterval is how often endpoints are probed where a file does not say.
const defaultInterval = time.Minute

// File is a scenario file that was read and checked.
type File struct {
	Path string

	rules    placedWords // paths beside the file, or [Shipped]
	start    time.Time
	interval time.Duration
	tests    []test
	demands  struct{ rules, branches float64 }
}

// Load reads a scenario file and checks all that can be checked without its rules. The error
// is a [rules.Problem] with a place, or joins several.
func Load(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading scenarios: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading scenarios: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading scenarios: %q is larger than %d bytes", path, maxFile)
	}
	return Parse(path, data)
}

// Parse reads the scenarios in data as [Load] does; path names them and is what paths of rules
// are relative to.
func Parse(path string, data []byte) (*File, error) {
	var doc document
	if err := read(data, &doc); err != nil {
		return nil, located(path, err)
	}
	file := &File{Path: path, rules: doc.Rules, interval: time.Duration(doc.Interval.value)}
	file.demands.rules, file.demands.branches = float64(doc.Coverage.value.Rules), float64(doc.Coverage.value.Branches)
	file.start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	if doc.Now != nil {
		file.start = doc.Now.from(file.start)
	}
	if doc.Rules != nil && len(doc.Rules) == 0 {
		return nil, located(path, place{1, 1}.problem("rules: [] are no rules; shipped ones are `shipped`"))
	}
	if file.rules == nil {
		file.rules = placedWords{{value: Shipped}}
	}
	if doc.Interval.at == (place{}) {
		file.interval = defaultInterval
	}
	if file.interval < time.Second {
		return nil, located(path, doc.Interval.at.problem("interval %s is shorter than a second", file.interval))
	}
	return file, located(path, file.compile(doc.Tests))
}

// compile makes the tests, and gathers what is wrong with them.
func (f *File) compile(forms []placed[testForm]) error {
	var problems []error
	seen := map[string]bool{}
	for _, form := range forms {
		switch name := form.value.Name; {
		case name == "":
			problems = append(problems, form.at.problem("a test without a name"))
		case seen[name]:
			problems = append(problems, form.at.problem("a second test named %q", name))
		}
		seen[form.value.Name] = true
		t := test{form: form.value, at: form.at}
		problems = append(problems, t.check(f.start)...)
		f.tests = append(f.tests, t)
	}
	if len(forms) == 0 {
		problems = append(problems, place{1, 1}.problem("there are no tests"))
	}
	return errors.Join(problems...)
}

// read reads the only document of a file.
func read(data []byte, doc *document) error {
	if at, bad := notText(data); bad {
		return at.problem("what stands here is not UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) && y.GetToken() != nil {
			at := y.GetToken().Position
			return place{at.Line, at.Column}.problem("%s", y.GetMessage())
		}
		return place{1, 1}.problem("%v", err)
	}
	docs := 0
	for _, d := range parsed.Docs {
		if d.Body == nil {
			continue
		}
		if docs++; docs > 1 {
			return placeOf(d.Body).problem("a second document: one file holds one document")
		}
		if err := errors.Join(blanks(d.Body)...); err != nil {
			return err
		}
		if err := decode(d.Body, doc); err != nil {
			return err
		}
	}
	return nil
}

// notText returns the place of the first byte that belongs to no character.
func notText(data []byte) (place, bool) {
	at := place{1, 1}
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			return at, true
		}
		at.column++
		if r == '\n' {
			at = place{at.line + 1, 1}
		}
		data = data[size:]
	}
	return at, false
}

// located gives problems the name of their file.
func located(path string, err error) error {
	if err == nil {
		return nil
	}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			_ = located(path, e)
		}
		return err
	}
	var p *rules.Problem
	if errors.As(err, &p) {
		p.File = path
		return err
	}
	return &rules.Problem{File: path, Line: 1, Column: 1, Message: err.Error()}
}
