package service

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

// The bounds of what is told of one service.
const (
	maxProblems = 200
	maxSettings = 20_000
)

// builder gathers what is found of one service.
type builder struct {
	Service
	directives []conf.Directive
	pairs      map[conf.Pair]bool // checked already
}

// take takes what a parser read. Mistakes are sure where the parser follows the service: not
// where it stopped by itself, nor where a file could not be read for another reason than that
// there is none.
func (b *builder) take(r conf.Reading) {
	b.Files, b.Servers, b.directives = r.Files, r.Servers, r.Directives
	for _, m := range r.Mistakes {
		syntax := m.Line > 0 && errors.Unwrap(m.Err) == nil && !m.Limit
		b.problem(Problem{File: m.File, Line: m.Line, Text: m.Err.Error(), Sure: syntax || errors.Is(m.Err, fs.ErrNotExist)})
	}
}

func (b *builder) problem(p Problem) {
	if len(b.Problems) < maxProblems && !slices.Contains(b.Problems, p) {
		b.Problems = append(b.Problems, p)
	}
}

// sure records what the service refuses, at a directive.
func (b *builder) sure(d conf.Directive, format string, args ...any) {
	b.problem(Problem{File: d.File, Line: d.Line, Text: fmt.Sprintf(format, args...), Sure: true})
}

// late records what the service refuses when it starts, or when a client comes.
func (b *builder) late(d conf.Directive, format string, args ...any) {
	b.problem(Problem{File: d.File, Line: d.Line, Text: fmt.Sprintf(format, args...), Sure: true, Late: true})
}

// maybe records what the service may refuse, at a directive.
func (b *builder) maybe(d conf.Directive, format string, args ...any) {
	b.problem(Problem{File: d.File, Line: d.Line, Text: fmt.Sprintf(format, args...)})
}

func (b *builder) setting(s Setting) {
	if len(b.Settings) < maxSettings {
		b.Settings = append(b.Settings, s)
	}
}

// settings takes every directive whose name, in lower case, has one of the beginnings, as one
// of the section that where names.
func (b *builder) settings(where func(conf.Directive) string, beginnings ...string) {
	for _, d := range b.directives {
		name := strings.ToLower(d.Name)
		begins := func(beginning string) bool { return strings.HasPrefix(name, beginning) }
		if d.Opens == nil && slices.ContainsFunc(beginnings, begins) {
			b.setting(Setting{Name: d.Name, Values: d.Args, Where: where(d), File: d.File, Line: d.Line})
		}
	}
}

// told names a section for people: as it is written, with its place where it has no name.
func told(s *conf.Section) string {
	switch {
	case s == nil:
		return ""
	case len(s.Args) == 0:
		return fmt.Sprintf("%s at %s:%d", s.Name, s.File, s.Line)
	default:
		return s.Name + " " + strings.Join(s.Args, " ")
	}
}

// last returns the last value of a directive outside all sections, or in the one of a name.
func (b *builder) last(name, section string) string {
	value := ""
	for _, d := range b.directives {
		within := section == "" && d.In == nil || d.In != nil && d.In.Name == section
		if strings.EqualFold(d.Name, name) && within && len(d.Args) > 0 {
			value = d.Args[0]
		}
	}
	return value
}

// firstThere returns the first path that exists; else none.
func firstThere(paths ...string) string {
	for _, path := range paths {
		if exists(path) {
			return path
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// missing reports whether there is nothing at a path: not that it cannot be told.
func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// absolute returns a path as it is meant from a folder.
func absolute(folder, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(folder, path)
}

// service returns what was gathered, problems that are sure first, each kind in the order of
// the files.
func (b *builder) service() Service {
	rank := func(p Problem) int {
		switch {
		case p.Sure && !p.Late:
			return 0
		case p.Sure:
			return 1
		default:
			return 2
		}
	}
	slices.SortStableFunc(b.Problems, func(x, y Problem) int { return cmp.Compare(rank(x), rank(y)) })
	return b.Service
}
