package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a configuration file. Line and column count from 1; a line of 0
// means the file as a whole.
type Position struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String returns file:line:col, or the file alone where there is no line.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is one thing that is wrong with a configuration, and where.
type Problem struct {
	Position
	Key     string `json:"key,omitempty"` // such as certificates[0].endpoints[1].address
	Message string `json:"message"`
	Cause   error  `json:"-"` // what the operating system said, where it did
}

// String returns "file:line:col: key: message".
func (p Problem) String() string {
	if p.Key == "" {
		return p.Position.String() + ": " + p.Message
	}
	return p.Position.String() + ": " + p.Key + ": " + p.Message
}

// Warning is a problem that does not keep the configuration from being used.
type Warning Problem

// String returns "file:line:col: key: message".
func (w Warning) String() string { return Problem(w).String() }

// Errors is everything that is wrong with a configuration, in the order of its lines.
type Errors struct {
	Problems []Problem
}

// Error returns the problems, one a line.
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems' causes, such as an [fs.ErrNotExist] of the file itself.
func (e *Errors) Unwrap() []error {
	var causes []error
	for _, p := range e.Problems {
		if p.Cause != nil {
			causes = append(causes, p.Cause)
		}
	}
	return causes
}

// report gathers the problems of one configuration while it is read.
type report struct {
	positions positions
	problems  []Problem
	warnings  []Warning
}

// errorf adds a problem of the key; the position is that of the key, or of the nearest
// mapping around it that is there.
func (r *report) errorf(key, format string, args ...any) {
	r.errorAt(r.positions.of(key), key, fmt.Sprintf(format, args...))
}

func (r *report) errorAt(at Position, key, message string) {
	r.problems = append(r.problems, Problem{Position: at, Key: key, Message: message})
}

// fail adds a problem that has a cause, whose text is the message.
func (r *report) fail(key string, cause error) {
	r.problems = append(r.problems, Problem{
		Position: r.positions.of(key), Key: key, Message: cause.Error(), Cause: cause,
	})
}

func (r *report) warnf(key, format string, args ...any) {
	r.warnings = append(r.warnings, Warning{
		Position: r.positions.of(key), Key: key, Message: fmt.Sprintf(format, args...),
	})
}

// result returns the warnings in the order of their lines, and the problems as an error.
func (r *report) result() ([]Warning, error) {
	slices.SortStableFunc(r.warnings, func(a, b Warning) int { return byPlace(Problem(a), Problem(b)) })
	if len(r.problems) == 0 {
		return r.warnings, nil
	}
	slices.SortStableFunc(r.problems, byPlace)
	return r.warnings, &Errors{Problems: r.problems}
}

func byPlace(a, b Problem) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
}

// positions knows where each key of a file stands.
type positions struct {
	file  string
	byKey map[string]Position
}

// of returns the position of a key. Where the key is not in the file, it is that of the
// nearest key around it, and at last the file's beginning.
func (p positions) of(key string) Position {
	for key != "" {
		if at, ok := p.byKey[key]; ok {
			return at
		}
		key = key[:max(strings.LastIndexByte(key, '.'), strings.LastIndexByte(key, '['), 0)]
	}
	return Position{File: p.file, Line: 1, Column: 1}
}

// below returns the positions of keys and of those below them: others are asked for only
// while a configuration is read, and a large one has very many.
func (p positions) below(keys ...string) positions {
	kept := positions{file: p.file, byKey: map[string]Position{}}
	for k, at := range p.byKey {
		if slices.ContainsFunc(keys, func(key string) bool { return k == key || strings.HasPrefix(k, key+".") }) {
			kept.byKey[k] = at
		}
	}
	return kept
}

// Position returns where a key of the rules or of alerting stands in the file, such as
// rules.adjust.NAME; or where the nearest key around it stands. A configuration that was not read from text has no
// lines.
func (c *Config) Position(key string) Position {
	if c.positions.byKey == nil {
		return Position{File: c.positions.file}
	}
	return c.positions.of(key)
}
