package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// trouble says what is wrong with the way, from versions and times alone.
type trouble string

const (
	fine        trouble = ""
	deploying   trouble = "deploying"   // the client or a hook is at work
	locked      trouble = "locked"      // it has been for too long
	alone       trouble = "alone"       // nothing is known of where it is kept
	notIssued   trouble = "not issued"  // there is no newer version, though there should be
	notStored   trouble = "not stored"  // a newer version is served than the source holds
	notServed   trouble = "not served"  // an address serves another version
	unreachable trouble = "unreachable" // an address serves nothing
	bad         trouble = "bad"         // the stored version is served, and is refused by clients
	blind       trouble = "blind"       // nothing is known that serves it
)

// way is how far the newest version got.
type way struct {
	c       *Case
	stage   certmedic.Stage // the last stage that it reached; issued where nothing newer was issued
	trouble trouble
}

// walk finds out where the newest version stopped, and what is wrong there.
func walk(c *Case) way {
	w := way{c: c, trouble: troubleOf(c)}
	switch w.trouble {
	case deploying:
		w.stage = certmedic.StageDeploying
	case notIssued, notStored:
		w.stage = certmedic.StageIssued
	case fine, bad:
		w.stage = certmedic.StageServed
	case alone:
		w.stage = servedAlone(c)
	default:
		w.stage = stopped(c)
	}
	return w
}

// WantsRenewal reports whether what is wrong is that no newer version was issued: then it is worth
// to try what a CA would meet.
func WantsRenewal(c Case) bool { return troubleOf(&c) == notIssued }

func troubleOf(c *Case) trouble {
	leaf, stored := c.leaf()
	stale := c.stale()
	switch {
	case c.acting():
		return deploying
	case c.Stored.Lock.State == certmedic.LockHeld:
		if age, known := c.lockAge(); known && age >= patience {
			return locked
		}
		return deploying
	case c.Certificate.Source.Kind == certmedic.SourceNone:
		return alone
	case !stored:
		return notIssued
	case len(stale) > 0 && !c.valid(leaf), len(stale) == 0 && renewalWrong(c):
		return notIssued
	case len(stale) > 0 && len(stale) == len(servedNewer(c)):
		return notStored
	case len(stale) > 0:
		return notServed
	case len(c.unreached()) > 0:
		return unreachable
	case len(badAnswers(c)) > 0:
		return bad
	case len(c.answers()) == 0:
		return blind
	default:
		return fine
	}
}

// servedAlone is the stage of something of which only what is served is known.
func servedAlone(c *Case) certmedic.Stage {
	if len(c.answers()) == 0 {
		return certmedic.StageUnknown
	}
	return certmedic.StageServed
}

// acting reports whether certmedic itself is at work on the certificate.
func (c *Case) acting() bool {
	return len(c.Actions) > 0 && c.Actions[0].Outcome.Kind == certmedic.OutcomeRunning && !c.unseen(PartJournal)
}

// renewalWrong reports whether the version should have been replaced, or the last attempt to do
// so failed, or the next one will find the lineage broken.
func renewalWrong(c *Case) bool {
	_, failed := c.failure()
	return failed || c.overdue() || c.broken()
}

// broken reports whether the source is not as its client needs it.
func (c *Case) broken() bool {
	return certmedic.HasFinding(c.Stored.Findings, certmedic.LineageBroken) || certmedic.HasFinding(c.Stored.Findings, certmedic.KeyMismatch)
}

// servedNewer returns the answers that are newer than what the source holds.
func servedNewer(c *Case) []answer {
	leaf, _ := c.leaf()
	return slices.DeleteFunc(c.stale(), func(a answer) bool {
		served := leafOf(a.AddressObservation)
		shared := slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return covers(served, name) })
		return !served.NotBefore.After(leaf.NotBefore) || !shared && len(leaf.DNSNames) > 0 // somebody else's
	})
}

// badAnswers returns the addresses whose answer clients refuse.
func badAnswers(c *Case) []answer {
	return slices.DeleteFunc(c.answers(), func(a answer) bool {
		return !slices.ContainsFunc(a.Findings, func(f certmedic.Finding) bool {
			return f.Severity == certmedic.SeverityCritical && f.Code != certmedic.Expiring
		})
	})
}

// stopped returns the last stage that a stored version reached.
func stopped(c *Case) certmedic.Stage {
	if len(c.current()) > 0 {
		if len(c.stale()) == 0 && len(c.unreached()) == 0 {
			return certmedic.StageServed // a lock is held, and nothing else is wrong
		}
		return certmedic.StageLoaded
	}
	used := c.used(LeadOwn, LeadCopy)
	leaf, _ := c.leaf()
	behind := func(u Used) bool { return u.Leaf.SHA256 != "" && u.Leaf.SHA256 != leaf.SHA256 }
	if _, mounted := staleMount(c); mounted || len(used) == 0 || slices.ContainsFunc(used, behind) {
		return certmedic.StageStored
	}
	return certmedic.StageDeployed
}

func (w way) healthy() bool {
	return w.trouble == fine || w.trouble == alone && len(badAnswers(w.c)) == 0 && len(w.c.unreached()) == 0 && len(w.c.answers()) > 0 && !w.c.split()
}

// split reports whether the addresses of an endpoint serve different versions.
func (c *Case) split() bool {
	return slices.ContainsFunc(c.Observations, func(o certmedic.Observation) bool { return certmedic.HasFinding(o.Findings, certmedic.SplitServing) })
}

// sureness is the confidence in that nothing is wrong: where nothing is known of where the
// certificate is kept, only what is served could be judged.
func (w way) sureness() float64 {
	if w.trouble == alone {
		return Excluded
	}
	return Certain
}

// fine says that nothing is wrong.
func (w way) fine() string {
	n := count(len(w.c.answers()), "answer")
	if w.trouble == alone {
		return fmt.Sprintf("What is served is in order (%s); nothing is known here of where the certificate is kept.", n)
	}
	return fmt.Sprintf("Version %s is served everywhere (%s), and nothing is wrong.", w.c.Stored.Version, n)
}

// unknown says what could be seen, and what not.
func (w way) unknown() suspect {
	var evidence []certmedic.Evidence
	for _, a := range slices.Concat(w.c.stale(), w.c.unreached()) {
		evidence = append(evidence, a.evidence())
	}
	for _, u := range w.c.Unseen {
		evidence = append(evidence, said(string(u.Part), "could not be seen: %s", u.Why))
	}
	summary := map[trouble]string{
		blind:       "Nothing is known that serves this certificate, so it cannot be compared with what is stored.",
		alone:       "Something is wrong with what is served, and nothing is known here of where the certificate is kept.",
		notStored:   "A newer version is served than the source holds, and nothing says where it is from.",
		notServed:   "The stored version is not served, and what could be seen does not say why.",
		unreachable: "An address does not answer, and what could be seen does not say why.",
		bad:         "The stored version is served, and clients refuse it.",
		notIssued:   "There should be a newer version, and what could be seen does not say why there is none.",
		locked:      "The client's lock has been held for too long, and what could be seen does not say by whom.",
	}[w.trouble]
	fix := ""
	if w.trouble == blind {
		fix = "name the endpoints of this certificate in the configuration: certmedic config init"
	}
	return suspect{certmedic.Suspect{Cause: certmedic.CauseUnknown, Evidence: evidence, Fix: fix}, summary}
}

// evidence says what an address presents.
func (a answer) evidence() certmedic.Evidence {
	leaf, ok := a.Leaf()
	switch {
	case ok:
		return said(a.Address+a.Variant.Note(), "serves version %s, valid from %s until %s", leaf.SHA256.Short(), when(leaf.NotBefore), when(leaf.NotAfter))
	case a.Error != nil:
		return said(a.Address, "%s: %s", a.Error.Reason, a.Error.Detail)
	default:
		return said(a.Address, "presents no certificate")
	}
}

// count says how many there are of something.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func addresses(n int) string {
	if n == 1 {
		return "1 address"
	}
	return fmt.Sprintf("%d addresses", n)
}

// Reach says whether the newest version came to a stage.
type Reach string

// The reaches. Behind the stage at which it stopped, all are ahead.
const (
	Reached Reach = "reached"
	Stopped Reach = "stopped"
	Ahead   Reach = "ahead"
)

// Step is a stage of the way, with what is known of it.
type Step struct {
	Stage  certmedic.Stage `json:"stage"`
	Reach  Reach           `json:"reach"`
	Detail string          `json:"detail,omitempty"` // versions, for people
	Time   time.Time       `json:"time,omitzero"`    // when it came there
}

// steps draws the way for people: a step is stopped where the version should have come next.
func (w way) steps() []Step {
	order := []certmedic.Stage{certmedic.StageIssued, certmedic.StageStored, certmedic.StageDeployed, certmedic.StageLoaded, certmedic.StageServed}
	steps := make([]Step, len(order))
	stop := w.stop(order)
	for i, stage := range order {
		reach := Reached
		switch {
		case i == stop:
			reach = Stopped
		case i > stop, w.trouble == alone && len(w.c.answers()) == 0: // nothing is known of it, nor was anything seen
			reach = Ahead
		}
		steps[i] = Step{Stage: stage, Reach: reach}
		if reach != Ahead {
			steps[i].Detail, steps[i].Time = w.detail(stage, reach)
		}
	}
	return steps
}

// stop returns the place of the step that was not reached; one behind the last where all were.
func (w way) stop(order []certmedic.Stage) int {
	switch w.trouble {
	case fine:
		return len(order)
	case notIssued:
		return 0
	case bad:
		return len(order) - 1
	case alone:
		if w.healthy() {
			return len(order)
		}
		return len(order) - 1
	case deploying:
		return slices.Index(order, stopped(w.c)) + 1
	}
	return slices.Index(order, w.stage) + 1
}

// detail says what is known of a stage.
func (w way) detail(stage certmedic.Stage, reach Reach) (string, time.Time) {
	c := w.c
	leaf, stored := c.leaf()
	switch {
	case stage == certmedic.StageIssued && w.trouble == notIssued:
		return notIssuedDetail(c), c.Due
	case stage == certmedic.StageServed && w.trouble != notIssued:
		return servedDetail(c), time.Time{}
	case stage == certmedic.StageIssued && w.trouble == notStored:
		newer := leafOf(servedNewer(c)[0].AddressObservation)
		return newer.SHA256.Short(), newer.NotBefore
	case !stored:
		return "", time.Time{}
	case stage == certmedic.StageIssued:
		return leaf.SHA256.Short(), leaf.NotBefore
	case stage == certmedic.StageStored:
		return "version " + c.Stored.Version, c.Stored.Since
	case reach == Stopped:
		return servedDetail(c), time.Time{}
	default:
		return "", time.Time{}
	}
}

func notIssuedDetail(c *Case) string {
	leaf, stored := c.leaf()
	switch {
	case !stored:
		return "nothing is stored"
	case !c.Now.Before(leaf.NotAfter):
		return fmt.Sprintf("version %s ended %s ago", c.Stored.Version, span(c.Now.Sub(leaf.NotAfter)))
	case c.overdue():
		return fmt.Sprintf("version %s was to be replaced", c.Stored.Version)
	default:
		return fmt.Sprintf("version %s has %s left", c.Stored.Version, span(leaf.NotAfter.Sub(c.Now)))
	}
}

// servedDetail says how many addresses serve what.
func servedDetail(c *Case) string {
	var parts []string
	if n := len(c.current()); n > 0 {
		parts = append(parts, "version "+c.Stored.Version+" at "+addresses(n))
	}
	told := map[certmedic.Fingerprint]int{}
	var order []certmedic.Fingerprint
	for _, a := range c.stale() {
		sha := leafOf(a.AddressObservation).SHA256
		if told[sha]++; told[sha] == 1 {
			order = append(order, sha)
		}
	}
	for _, sha := range order {
		parts = append(parts, "version "+c.version(sha)+" at "+addresses(told[sha]))
	}
	if n := len(c.unreached()); n > 0 {
		parts = append(parts, "no answer at "+addresses(n))
	}
	return strings.Join(parts, ", ")
}

// version names a version as the archive does, else by its fingerprint.
func (c *Case) version(sha certmedic.Fingerprint) string {
	for _, v := range c.Versions {
		if v.Leaf.SHA256 == sha {
			return fmt.Sprintf("%d", v.Number)
		}
	}
	return sha.Short()
}
