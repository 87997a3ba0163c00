package acme

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"

	"github.com/certmedic/certmedic/internal/redact"
)

// Kind says what stood in the way of a certificate, where programs branch on it.
type Kind string

// The kinds of errors. Those of this host come before anything is asked of the CA.
const (
	KindInvalid      Kind = "invalid_request"      // the request cannot be fulfilled as it is; it has to be changed
	KindPortConflict Kind = "port_conflict"        // somebody else listens where the challenge has to be answered
	KindBusy         Kind = "busy"                 // another process works in the same folder
	KindKey          Kind = "bad_key"              // the key is denied, broken or not accepted by the CA
	KindNotShown     Kind = "answer_not_shown"     // an answer could not be set, or was not seen in time; the order stays
	KindUnreachable  Kind = "ca_unreachable"       // no answer, or one that a CA in trouble gives
	KindRateLimited  Kind = "rate_limited"         // a limit is used up; see Until
	KindPaused       Kind = "paused"               // a person has to unpause the account or a name; see Unpause
	KindChallenge    Kind = "challenge_failed"     // the CA could not validate names; see Failures
	KindCAA          Kind = "caa"                  // CAA records forbid it
	KindAccount      Kind = "unauthorized_account" // the account is unknown, deactivated or not allowed to
	KindEAB          Kind = "eab_required"         // the CA wants an external account binding
	KindRefused      Kind = "refused"              // the CA refused for another reason
	KindBadVersion   Kind = "bad_version"          // what the CA issued must not be installed
	KindElsewhere    Kind = "ordered_elsewhere"    // another member has, or may have, taken the order over; see [Request.Shared]
)

// Failure says why one name was not validated.
type Failure struct {
	Name   string // as it was asked for
	Type   string // the CA's problem type (RFC 8555, section 6.7)
	Detail string // the CA's words; they may quote what anybody's server answered
}

// Error says what stood in the way of a certificate.
type Error struct {
	Kind     Kind
	Doing    string    // what was being done, such as "placing the order"
	Type     string    // the CA's problem type; empty where it did not answer with one
	Detail   string    // what is wrong, in the CA's words where they are its
	Failures []Failure // the names that were not validated, or not accepted
	Until    time.Time // the CA may not be asked again before; zero where it does not say
	Unpause  string    // URL at which a person ends the pause of [KindPaused]

	err error
}

// Error returns everything in one line.
func (e *Error) Error() string { return strings.Join(e.Lines(), "; ") }

// Unwrap returns the error below, where there is one.
func (e *Error) Unwrap() error { return e.err }

// Lines returns the error for people: first what went wrong, without secrets, then where a pause is
// ended, then each name that it is about. Words that may be those of a stranger's server come
// behind "detail:".
func (e *Error) Lines() []string {
	first := string(e.Kind) + ": " + e.Doing
	for _, part := range []string{e.Type, e.Detail} {
		if part != "" {
			first += ": " + shown(part)
		}
	}
	if !e.Until.IsZero() {
		first += fmt.Sprintf(" (not before %s)", e.Until.UTC().Format(time.RFC3339))
	}
	lines := []string{first}
	if e.Unpause != "" {
		lines = append(lines, "to unpause: "+redact.Plain(e.Unpause)) // whole, though it holds a token: a person has to open it
	}
	for _, f := range e.Failures {
		lines = append(lines, fmt.Sprintf("%s: %s, detail: %s", shown(f.Name), shown(f.Type), shown(f.Detail)))
	}
	return lines
}

// shown bounds what others wrote, and takes out what is not fit for a terminal, and what follows
// the path of a URL that ends a pause.
func shown(text string) string {
	const most = 500 // runes
	text = unpauseToken.ReplaceAllString(text, "$1?***")
	return redact.Truncate(strings.Join(strings.Fields(redact.Plain(redact.Text(text))), " "), most)
}

// invalid is an error of the request itself.
func invalid(format string, args ...any) *Error {
	return &Error{Kind: KindInvalid, Doing: "checking the request", Detail: fmt.Sprintf(format, args...)}
}

const problems = "urn:ietf:params:acme:error:"

// problem makes an error of a problem document; nil where the CA gave none.
func problem(err error) *Error {
	var document *acme.ProblemDetails
	if !errors.As(err, &document) {
		return nil
	}
	e := &Error{Kind: kindOf(document), Type: document.Type, Detail: document.Detail, err: err}
	for _, sub := range document.SubProblems {
		e.Failures = append(e.Failures, Failure{Name: sub.Identifier.Value, Type: sub.Type, Detail: sub.Detail})
	}
	if e.Kind == KindPaused {
		e.Unpause = unpauseURL.FindString(document.Detail)
	}
	if e.Kind == KindRateLimited {
		e.Until = untilOf(document.Detail)
	}
	return e
}

// Boulder words a pause as a rate limit; only its text tells.
var (
	pausedWords  = regexp.MustCompile(`(?i)temporarily prevented from requesting|\bpaused\b|unpause`)
	unpauseURL   = regexp.MustCompile(`https?://[^\s"'<>]+`)
	unpauseToken = regexp.MustCompile(`(https?://[^\s"'<>?]*unpause[^\s"'<>?]*)\?[^\s"'<>]+`)
	retryWords   = regexp.MustCompile(`retry after (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC)`)
)

func untilOf(detail string) time.Time {
	match := retryWords.FindStringSubmatch(detail)
	if match == nil {
		return time.Time{}
	}
	at, err := time.Parse("2006-01-02 15:04:05 MST", match[1])
	if err != nil {
		return time.Time{}
	}
	return at
}

func kindOf(document *acme.ProblemDetails) Kind {
	name, _ := strings.CutPrefix(document.Type, problems)
	switch name {
	case "rateLimited":
		if pausedWords.MatchString(document.Detail) {
			return KindPaused
		}
		return KindRateLimited
	case "caa":
		return KindCAA
	case "unauthorized", "accountDoesNotExist", "userActionRequired":
		return KindAccount
	case "externalAccountRequired":
		return KindEAB
	case "badPublicKey", "badSignatureAlgorithm":
		return KindKey
	case "malformed", "rejectedIdentifier", "unsupportedIdentifier", "invalidProfile", "badCSR", "invalidContact", "unsupportedContact":
		return KindInvalid
	case "serverInternal", "badNonce":
		return KindUnreachable
	}
	if document.HTTPStatus >= http.StatusInternalServerError {
		return KindUnreachable
	}
	return KindRefused
}

// retryAfter reads the header of that name; zero where there is none that makes sense.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	wait, err := api.ParseRetryAfter(value)
	if err != nil {
		if at, errDate := http.ParseTime(value); errDate == nil {
			return max(0, time.Until(at))
		}
		return 0
	}
	return max(0, wait)
}

// because makes the error of names that were not validated.
func because(failures []Failure, of int) *Error {
	kind := KindCAA
	for _, f := range failures {
		if f.Type != problems+"caa" {
			kind = KindChallenge
		}
	}
	return &Error{
		Kind: kind, Doing: "validating the names", Failures: failures,
		Detail: fmt.Sprintf("some challenges have failed: %d of %d", len(failures), of),
	}
}

// failureOf names a failure after the CA's problem, where it gave one.
func failureOf(name string, document *acme.ProblemDetails, otherwise string) Failure {
	if document == nil {
		return Failure{Name: name, Type: "no problem told", Detail: otherwise}
	}
	return Failure{Name: name, Type: cmp.Or(document.Type, "about:blank"), Detail: document.Detail}
}
