package apparmor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	maxBytes    = 4 << 20 // of one file with all that it includes
	maxProfiles = 2000    // files of the folder
	maxIncludes = 500     // files that one profile includes
	maxDepth    = 20      // of files that include files, and of blocks
)

// block is a profile, or what stands between braces in one.
type block struct {
	name      string
	place     string // file:line
	rules     []rule
	children  []*block
	variables map[string][]string
	open      bool     // what no rule says is allowed
	unclear   []string // places that were not understood
}

// rule is one about files.
type rule struct {
	deny, owner bool
	pattern     string
	perms       string
	place       string
}

// find returns a profile, and inside it the child that its name has behind "//".
func find(dir, profile string) (*block, error) {
	names := strings.Split(profile, "//")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries[:min(len(entries), maxProfiles)] {
		if !e.Type().IsRegular() || strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), "~") || strings.Contains(e.Name(), ".dpkg-") {
			continue
		}
		r := newReader(dir)
		text, err := r.text(filepath.Join(dir, e.Name()))
		if err != nil || !mentions(text, names[0]) {
			continue
		}
		r.parse(r.top, filepath.Join(dir, e.Name()), text, 0)
		if b := r.top.named(names); b != nil {
			b.variables = r.top.variables
			b.variables["@{profile_name}"] = names[:1]
			b.unclear = append(b.unclear, r.top.unclear...)
			return b, nil
		}
	}
	return nil, fs.ErrNotExist
}

// mentions reports whether a file may have a profile: a name with variables is told by what
// they stand for.
func mentions(text, name string) bool {
	return strings.Contains(text, name) || strings.Contains(text, "@{") && strings.Contains(text, filepath.Base(name))
}

// named returns the block below this one that names lead to.
func (b *block) named(names []string) *block {
	for _, child := range b.children {
		if child.name != names[0] && !slices.Contains(b.spelled(child.name), names[0]) {
			continue
		}
		if len(names) == 1 {
			return child
		}
		return child.named(names[1:])
	}
	return nil
}

// spelled returns a name with one variable for each of its values.
func (b *block) spelled(name string) []string {
	at := variable.FindStringIndex(name)
	if at == nil {
		return nil
	}
	var out []string
	for _, value := range b.variables[name[at[0]:at[1]]] {
		out = append(out, name[:at[0]]+value+name[at[1]:])
	}
	return out
}

var (
	variable   = regexp.MustCompile(`@\{[A-Za-z0-9_]+\}`)
	assignment = regexp.MustCompile(`^(@\{[A-Za-z0-9_]+\})\s*(\+?=)\s*(.*)$`)
)

// reader reads a file of profiles with all that it includes.
type reader struct {
	dir      string
	top      *block
	included map[inclusion]bool
	bytes    int
}

func newReader(dir string) *reader {
	return &reader{dir: dir, top: &block{variables: map[string][]string{}}, included: map[inclusion]bool{}}
}

// inclusion is a file in a block. What is included there again says nothing new.
type inclusion struct {
	into *block
	path string
}

func (r *reader) text(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if r.bytes += len(data); err == nil && r.bytes > maxBytes {
		err = fmt.Errorf("%q and what it belongs to are larger than %d bytes", path, maxBytes)
	}
	return string(data), err
}

// parse adds what a file says to a block. Statements end with a comma; includes and assignments
// with the line.
func (r *reader) parse(into *block, path, text string, depth int) {
	inside := []*block{into}
	var words []token
	for _, t := range lex(text) {
		here := inside[len(inside)-1]
		switch {
		case !t.mark:
			words = append(words, t)
			continue
		case t.text == "\n":
			if !endsWithLine(words) {
				continue
			}
			r.line(here, path, words, depth)
		case t.text == ",":
			if endsWithLine(words) {
				continue // a comma among the values of a variable belongs to no rule
			}
			here.statement(path, words)
		case t.text == "{":
			child := newBlock(path, words)
			if here.children = append(here.children, child); len(inside) < maxDepth {
				inside = append(inside, child)
			}
			if child.name == "" {
				here.unclear = append(here.unclear, child.place)
			}
		case t.text == "}" && len(inside) > 1:
			here.unfinished(path, words)
			inside = inside[:len(inside)-1]
		}
		words = nil
	}
	inside[len(inside)-1].unfinished(path, words)
}

// unfinished notes a statement that its end is missing of, which has swallowed what follows it.
func (b *block) unfinished(path string, words []token) {
	if len(words) > 0 {
		b.unclear = append(b.unclear, fmt.Sprintf("%s:%d", path, words[0].line))
	}
}

func endsWithLine(words []token) bool {
	if len(words) == 0 {
		return true
	}
	first := words[0].text
	return first == "include" || first == "#include" || strings.HasPrefix(first, "$") || assignment.MatchString(joined(words))
}

func joined(words []token) string {
	var out []string
	for _, w := range words {
		out = append(out, w.text)
	}
	return strings.Join(out, " ")
}

// line takes a statement that ends with its line.
func (r *reader) line(into *block, path string, words []token, depth int) {
	if len(words) == 0 {
		return
	}
	if match := assignment.FindStringSubmatch(joined(words)); match != nil {
		r.assign(match[1], match[2], match[3])
		return
	}
	place := fmt.Sprintf("%s:%d", path, words[0].line)
	if strings.HasPrefix(words[0].text, "$") {
		into.unclear = append(into.unclear, place)
		return
	}
	optional := len(words) == 4 && words[1].text == "if" && words[2].text == "exists"
	target := strings.Trim(words[len(words)-1].text, `<>"`)
	if !filepath.IsAbs(target) {
		target = filepath.Join(r.dir, target)
	}
	err := r.include(into, target, depth+1)
	if err != nil && (!optional || !errors.Is(err, fs.ErrNotExist)) {
		into.unclear = append(into.unclear, place)
	}
}

func (r *reader) assign(name, operator, values string) {
	if operator == "=" {
		r.top.variables[name] = nil
	}
	for _, word := range lex(values) {
		if !word.mark {
			r.top.variables[name] = append(r.top.variables[name], unquote(word.text))
		}
	}
}

// include adds a file, or all files of a folder.
func (r *reader) include(into *block, path string, depth int) error {
	what := inclusion{into, path}
	if r.included[what] {
		return nil
	}
	if r.included[what] = true; len(r.included) > maxIncludes || depth > maxDepth {
		return errors.New("too much is included")
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		text, err := r.text(path)
		if err == nil {
			r.parse(into, path, text, depth)
		}
		return err
	}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			err = errors.Join(err, r.include(into, filepath.Join(path, e.Name()), depth+1))
		}
	}
	return err
}
