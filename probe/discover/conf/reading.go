package conf

import "slices"

// Reading is what a configuration says, as far as it could be read.
type Reading struct {
	Servers    []Server
	Directives []Directive // in the order in which the service takes them
	Files      []string    // every file that was read, the main file first
	Mistakes   []Mistake
}

// Directive is one statement of a configuration, or the one that opens a section. Its
// arguments are without quotes, and with variables replaced as far as they are known.
type Directive struct {
	Name  string // as written
	Args  []string
	In    *Section // where it stands; nil: in none
	Opens *Section // the section that it opens; nil: none
	File  string
	Line  int
}

// Section is a part of a configuration that has an end: a block of nginx, a virtual host of
// apache, a frontend of haproxy, a service of postfix's master.cf.
type Section struct {
	Name  string // as written, such as server
	Args  []string
	File  string
	Line  int
	Outer *Section // nil: it is in none
}

// Within returns the innermost of a section and those around it that has one of the names;
// nil where none has.
func (s *Section) Within(names ...string) *Section {
	for ; s != nil; s = s.Outer {
		if slices.Contains(names, s.Name) {
			return s
		}
	}
	return nil
}

// Mistake is something in a configuration that could not be read.
type Mistake struct {
	File  string // empty where it is of no single file
	Line  int    // 0 where it is of the whole file
	Err   error  // without the place
	Limit bool   // the service may read on: it is a bound of this reader
}

// Mistakes returns what was recorded, in order.
func (p *Problems) Mistakes() []Mistake {
	out := make([]Mistake, 0, len(p.errs))
	for _, err := range p.errs {
		if at, ok := err.(*placed); ok {
			out = append(out, Mistake{File: at.file, Line: at.line, Err: at.err, Limit: at.limit})
			continue
		}
		out = append(out, Mistake{Err: err})
	}
	return out
}
