package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/certmedic/certmedic/internal/check"
)

// stdinTarget stands for the targets on standard input.
const stdinTarget = "-"

// targets are what is to be checked, in order.
type targets struct {
	args      []string
	stdin     io.Reader
	fromStdin bool
	err       error // of reading standard input, once all has ended
}

// newTargets refuses arguments that are no targets, before anything is checked. Lines of
// standard input are judged when their turn comes.
func newTargets(args []string, stdin io.Reader) (*targets, error) {
	t := &targets{args: args, stdin: stdin}
	var errs []error
	for _, arg := range args {
		if arg == stdinTarget {
			if t.fromStdin {
				errs = append(errs, errors.New("standard input can be read only once"))
			}
			t.fromStdin = true
			continue
		}
		if _, err := check.ParseTarget(arg); err != nil {
			errs = append(errs, err)
		}
	}
	return t, errors.Join(errs...)
}

// all yields the targets one by one, those of standard input as they are written.
func (t *targets) all() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, arg := range t.args {
			if arg == stdinTarget {
				if !t.lines(yield) {
					return
				}
				continue
			}
			if !yield(arg) {
				return
			}
		}
	}
}

func (t *targets) lines(yield func(string) bool) bool {
	scanner := bufio.NewScanner(t.stdin)
	for scanner.Scan() {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !yield(line) {
			return false
		}
	}
	if err := scanner.Err(); err != nil {
		t.err = fmt.Errorf("reading targets from standard input: %w", err)
	}
	return true
}
