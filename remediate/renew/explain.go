package renew

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

// Reason says why a renewal left nothing new, as far as its output tells.
type Reason string

// The reasons. Unknown is that of a client that does not word what it says as certbot does. A
// renewal of certmedic's own may have any kind of [acme.Error] besides.
const (
	Unknown         Reason = ""
	NotDue          Reason = "not_due"          // certbot itself put it off
	ChallengeFailed Reason = "challenge_failed" // the CA could not validate a name
	RateLimited     Reason = "rate_limited"     // the CA refused the order because of its limits
	Paused          Reason = "paused"           // the CA wants a person to lift a pause
)

// Provable reports whether a rehearsal may show what a renewal failed for: what concerns the names
// and how they are validated, never the CA, this host, or where a version is stored.
func Provable(reason string) bool {
	kinds := []acme.Kind{acme.KindChallenge, acme.KindCAA, acme.KindNotShown, acme.KindRefused}
	return slices.Contains(kinds, acme.Kind(reason))
}

// Explanation is what the output of a renewal tells.
type Explanation struct {
	Reason Reason
	Lines  []string  // what was written about the cause, at most one line of each kind
	Until  time.Time // of RateLimited: when the CA may be asked again; zero where it does not tell
	Failed []string  // of ChallengeFailed: the names, as far as they are known

	Version  certmedic.Fingerprint // that the CA issued, stored or not; empty: not known
	Replaced bool                  // the CA took the order as the replacement of the version before (RFC 9773)
}

// maxLine bounds a line that is shown, in bytes.
const maxLine = 500

// Explain finds out why a renewal that has ended left nothing new.
func Explain(run certmedic.Run) Explanation {
	if run.Name == nameACME || run.Name == nameProof {
		return explainACME(run)
	}
	text := run.Stderr + "\n" + run.Stdout
	if line := lineWith(text, "not yet due for renewal", "not due for renewal yet"); line != "" && (run.Succeeded() || run.Result == certmedic.RunCancelled) {
		return Explanation{Reason: NotDue, Lines: []string{line}}
	}
	var e Explanation
	for _, marks := range [][]string{
		{"failed to renew certificate", "another instance of certbot is already running", "the following renewals failed"},
		{"detail:", "too many ", "urn:ietf:params:acme:error:", "an unexpected error occurred"},
	} {
		if line := lineWith(text, marks...); line != "" && !slices.Contains(e.Lines, line) {
			e.Lines = append(e.Lines, line)
		}
	}
	said := withoutDetails(text)
	switch {
	case lineWith(text, "challenges have failed", "failed to authenticate some domains") != "":
		e.Reason = ChallengeFailed
	case lineWith(said, "urn:ietf:params:acme:error:ratelimited", "too many certificates", "too many failed authorizations", "too many new orders") != "":
		e.Reason, e.Until = RateLimited, until(said)
	}
	return e
}

// explainACME takes the result that certmedic's own step ended with.
func explainACME(run certmedic.Run) Explanation {
	result, ok := native.ParseResult(run.Stdout)
	if !ok {
		return Explanation{}
	}
	return Explanation{Reason: Reason(result.Kind), Lines: result.Lines, Until: result.Until, Failed: result.Failed, Version: result.Version, Replaced: result.Replaced}
}

// Ordered returns the last run of commands that had a version issued; one that was not started
// where there is none.
func Ordered(runs []certmedic.Run) certmedic.Run {
	for _, run := range slices.Backward(runs) {
		if run.Name == nameACME || run.Name == nameCertbot || run.Name == nameCommand {
			return run
		}
	}
	return certmedic.Run{Result: certmedic.RunNotStarted}
}

// withoutDetails leaves out the lines in which a CA quotes what it was answered by a server of
// the name: anybody may have written that.
func withoutDetails(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.Contains(strings.ToLower(line), "detail:") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// retryAfter is how Let's Encrypt says when an order may be placed again.
const retryAfter = "retry after "

// until returns when the CA may be asked again, as its error says.
func until(text string) time.Time {
	_, rest, _ := strings.Cut(text, retryAfter)
	at, err := time.Parse("2006-01-02 15:04:05 MST", rest[:min(len(rest), len("2006-01-02 15:04:05 UTC"))])
	if err != nil {
		return time.Time{}
	}
	return at
}

// lineWith returns the first line that holds one of the marks, whatever their case; the marks
// that come first are looked for first.
func lineWith(text string, marks ...string) string {
	for _, mark := range marks {
		for line := range strings.Lines(text) {
			if strings.Contains(strings.ToLower(line), mark) {
				return bounded(strings.TrimSpace(line))
			}
		}
	}
	return ""
}

func bounded(line string) string {
	if len(line) <= maxLine {
		return line
	}
	end := maxLine
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + " ..."
}
