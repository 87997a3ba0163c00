package conf

import (
	"errors"
	"fmt"
)

// maxProblems is how many mistakes of one configuration are told.
const maxProblems = 100

// Problems gathers the mistakes of one configuration, so that one does not hide the
// others. The zero value is ready for use.
type Problems struct {
	errs []error
	told map[string]bool
	more int
}

// Add records a mistake, once.
func (p *Problems) Add(err error) {
	text := err.Error()
	switch {
	case p.told[text]:
		return
	case len(p.errs) == maxProblems:
		p.more++
		return
	case p.told == nil:
		p.told = map[string]bool{}
	}
	p.told[text] = true
	p.errs = append(p.errs, err)
}

// At records a mistake at a line of a file; format is that of [fmt.Errorf].
func (p *Problems) At(file string, line int, format string, args ...any) {
	p.Add(&placed{file: file, line: line, err: fmt.Errorf(format, args...)})
}

// Limit records, as [Problems.At] does, that a configuration was not read on at a line because
// of a bound that the service itself need not have.
func (p *Problems) Limit(file string, line int, format string, args ...any) {
	p.Add(&placed{file: file, line: line, err: fmt.Errorf(format, args...), limit: true})
}

// placed is a mistake that is at a line of a file.
type placed struct {
	file  string
	line  int
	err   error
	limit bool
}

func (p *placed) Error() string { return fmt.Sprintf("%s:%d: %v", p.file, p.line, p.err) }

func (p *placed) Unwrap() error { return p.err }

// Err joins the mistakes, one on each line; nil where there are none.
func (p *Problems) Err() error {
	errs := p.errs
	if p.more > 0 {
		errs = append(errs[:len(errs):len(errs)], fmt.Errorf("and %d more mistakes", p.more))
	}
	return errors.Join(errs...)
}
