package native

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/acme"
)

// Result is how a request ended, as its last line of output says.
type Result struct {
	Directory string                `json:"directory"` // of the CA that was asked
	Account   string                `json:"account"`   // see [Account]
	Version   certmedic.Fingerprint `json:"version,omitempty"`
	Replaced  bool                  `json:"replaced,omitempty"`

	Kind   acme.Kind `json:"kind,omitempty"`   // of the error; empty where there was none, or one of certmedic's own
	Failed []string  `json:"failed,omitempty"` // names that could not be validated
	Until  time.Time `json:"until,omitzero"`   // when the CA may be asked again
	Lines  []string  `json:"lines,omitempty"`  // why
}

// mark begins the line of a result.
const mark = "certmedic-result: "

// maxLines and maxLineBytes bound what a result says about an error.
const (
	maxLines     = 20
	maxLineBytes = 500
)

func report(out io.Writer, r Request, issued acme.Issued, err error) error {
	result := Result{Directory: r.Order.Directory, Account: Account(r.Order), Version: issued.Version, Replaced: issued.Replaced}
	if err != nil {
		result.explain(err)
	}
	line, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("telling the result: %w", err)
	}
	_, err = fmt.Fprintf(out, "\n%s%s\n", mark, line)
	return err
}

func (r *Result) explain(err error) {
	var told *acme.Error
	if !errors.As(err, &told) {
		r.Lines = []string{bounded(err.Error())}
		return
	}
	r.Kind, r.Until = told.Kind, told.Until
	if told.Kind == acme.KindChallenge {
		for _, f := range told.Failures {
			r.Failed = append(r.Failed, f.Name)
		}
	}
	for _, line := range told.Lines()[:min(maxLines, len(told.Lines()))] {
		r.Lines = append(r.Lines, bounded(line))
	}
}

func bounded(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	if len(line) > maxLineBytes {
		line = strings.ToValidUTF8(line[:maxLineBytes], "") + " ..."
	}
	return line
}

// ParseResult finds the result in what a request wrote: its last line alone counts, because
// others may quote what anybody wrote. ok is false where it did not come to its end.
func ParseResult(output string) (r Result, ok bool) {
	output = strings.TrimRight(output, "\n")
	last, found := strings.CutPrefix(output[strings.LastIndexByte(output, '\n')+1:], mark)
	if !found || json.Unmarshal([]byte(last), &r) != nil {
		return Result{}, false
	}
	return r, true
}
