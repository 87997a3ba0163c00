// Package diagnose finds out why the newest version of a certificate is not served. It walks
// the way of the version (issued, stored, deployed, loaded, served) to where it stopped, and
// asks the suspects of that stage, one small function for each cause.
//
// The command diagnose and the daemon call it, with a [Case] that package gather has made. It
// is pure: the same Case has the same answer. It promises to show for each cause the lines that
// tell it, to name none without them, and to say unknown rather than something wrong.
package diagnose

import (
	"cmp"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
)

// The confidence in a cause: a line of a log or the kernel says it; nothing else is left; it
// is likelier than anything else. What is less likely is unknown.
const (
	Certain  = 0.95
	Excluded = 0.7
	Guessed  = 0.5
)

// Result is a diagnosis with the way that led to it. It is the form of `diagnose --json`.
type Result struct {
	certmedic.Diagnosis
	Way    []Step   `json:"way"`
	Unseen []Unseen `json:"unseen,omitempty"` // what could not be looked at
}

// ExitCode returns how the command ends: 0 where nothing is wrong, 2 where a cause was found,
// 3 where it cannot be told, as while a deployment is under way.
func (r Result) ExitCode() int {
	switch r.Cause {
	case certmedic.CauseNone:
		return 0
	case certmedic.CauseUnknown, certmedic.CauseDeploying:
		return 3
	default:
		return 2
	}
}

// suspect is a cause for which there is evidence, with a sentence for people.
type suspect struct {
	certmedic.Suspect
	summary string
}

// suspicion asks whether a Case has one cause. Suspicions of a stage are asked in a fixed
// order, what lies deeper first: of two that are as sure the first one wins.
type suspicion func(c *Case) (suspect, bool)

// accuse makes a suspect.
func accuse(cause certmedic.Cause, confidence float64, summary, fix string, evidence ...certmedic.Evidence) (suspect, bool) {
	return suspect{certmedic.Suspect{Cause: cause, Evidence: evidence, Fix: fix, Confidence: confidence}, summary}, true
}

// innocent is the answer of a suspicion that finds nothing.
func innocent() (suspect, bool) { return suspect{}, false }

// Decide names the cause.
func Decide(c Case) Result {
	w := walk(&c)
	found := ask(&c, w.suspicions())
	if len(found) > 1 { // that nothing says why is no further suspect
		found = slices.DeleteFunc(found, func(s suspect) bool { return s.Cause == certmedic.CauseRenewalOverdue && s.Confidence < Excluded })
	}
	latent := ask(&c, w.latent())
	r := Result{Way: w.steps(), Unseen: c.Unseen}
	r.Diagnosis = certmedic.Diagnosis{Subject: c.Subject, Stage: w.stage, Time: c.Now.UTC()}
	switch {
	case w.healthy():
		first := suspect{certmedic.Suspect{Cause: certmedic.CauseNone, Confidence: w.sureness()}, w.fine()}
		r.take(first, latent)
	case len(found) == 0:
		r.take(w.unknown(), latent)
	default:
		r.take(found[0], append(found[1:], latent...))
	}
	return r
}

// ask returns the suspects, the likeliest first, each cause once.
func ask(c *Case, suspicions []suspicion) []suspect {
	var found []suspect
	for _, suspicion := range suspicions {
		s, ok := suspicion(c)
		same := func(o suspect) bool { return o.Cause == s.Cause }
		if i := slices.IndexFunc(found, same); ok && i < 0 {
			found = append(found, s)
		} else if ok && s.Confidence > found[i].Confidence {
			found[i] = s
		}
	}
	slices.SortStableFunc(found, func(a, b suspect) int { return cmp.Compare(b.Confidence, a.Confidence) })
	return found
}

// maxAlso bounds the further suspects that are told.
const maxAlso = 5

// take fills in the cause and the further suspects, fit to be shown.
func (r *Result) take(first suspect, further []suspect) {
	r.Cause, r.Confidence = first.Cause, first.Confidence
	r.Summary, r.Fix = tidy(first.summary), redact.Plain(first.Fix)
	r.Evidence = shown(first.Evidence)
	for _, s := range further[:min(len(further), maxAlso)] {
		if s.Cause == first.Cause || slices.ContainsFunc(r.Also, func(o certmedic.Suspect) bool { return o.Cause == s.Cause }) {
			continue
		}
		s.Evidence, s.Fix = shown(s.Evidence), redact.Plain(s.Fix)
		r.Also = append(r.Also, s.Suspect)
	}
}

// Bounds of what is shown.
const (
	maxEvidence = 8
	maxRunes    = 400 // of a line
)

// shown returns evidence without secrets, each line once.
func shown(evidence []certmedic.Evidence) []certmedic.Evidence {
	out := []certmedic.Evidence{}
	for _, e := range evidence {
		e.Source, e.Line = redact.Plain(e.Source), tidy(e.Line)
		if e.Line != "" && !slices.Contains(out, e) && len(out) < maxEvidence {
			out = append(out, e)
		}
	}
	return out
}

// tidy makes one line without secrets of a text from outside.
func tidy(text string) string {
	text = redact.Text(redact.Plain(text))
	return redact.Truncate(strings.Join(strings.Fields(text), " "), maxRunes)
}
