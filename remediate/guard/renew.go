package guard

import (
	"time"

	"github.com/certmedic/certmedic"
)

// Renewal is what a decision about a renewal depends on besides.
type Renewal struct {
	Asked  bool      // what asks for it speaks of the version that is stored now
	Rests  time.Time // before that no rule asks the CA again, because of what came of it last
	Failed int       // renewals in a row that stored nothing new

	Early bool // certmedic itself would order it, and much of the stored version's life is left
	Ours  bool // the source is certmedic's own: nothing but certmedic renews it
	First bool // nothing was ever stored there
}

// renewNeed says whether a renewal would be to the point. Drift never causes one: while a
// newer valid version is stored, the remedy is to have that served.
func renewNeed(c Case) Decision {
	switch {
	case !c.ByHand && c.Certificate.Mode == certmedic.ModeObserve:
		return refuse(ModeObserve, "mode is observe")
	case !c.ByHand && !c.Certificate.Allows(c.Kind):
		return refuse(NotAllowed, "%s is not allowed for %q", c.Kind, c.Certificate.Name)
	case !pinned(c).Allowed():
		return pinned(c)
	case len(c.Stored.Chain) == 0 && !c.Renewal.First:
		return refuse(NothingStored, "the source of %q holds no version that can be read", c.Certificate.Name)
	case !c.Bound && !c.ByHand && !c.Renewal.Ours:
		return refuse(NotBound, "no address of %q ever served a version of it, and none is declared owned", c.Certificate.Name)
	case c.Needed && !c.Force && storedGood(c).Allowed():
		return refuse(NewerStored, "a valid version that is stored is not served everywhere; a redeploy is the remedy")
	case c.ByHand && !c.Force && c.Renewal.Early && !c.ServedDire && storedGood(c).Allowed():
		return refuse(NoNeed, "the stored version is good until %s, and not due for renewal; --force orders another one all the same", c.Stored.Chain[0].NotAfter.UTC().Format(time.RFC3339))
	case !c.ByHand && c.ServedNewer && !c.ServedDire:
		return refuse(ServedNewer, "what is served was issued after the stored version, and is valid: there is no need for a third")
	case !c.ByHand && !c.Renewal.Asked:
		return refuse(NoNeed, "another version is stored than the one that a rule asked to have renewed")
	}
	return Decision{}
}

// renewPatience keeps rules from asking the CA again too soon.
func renewPatience(c Case) Decision {
	if c.ByHand || !c.Renewal.Rests.After(c.Now) {
		return Decision{}
	}
	until := c.Renewal.Rests.UTC().Format(time.RFC3339)
	d := refuse(Backoff, "the CA issued a version a short time ago; no rule has it renewed before %s", until)
	if n := c.Renewal.Failed; n > 0 {
		d = refuse(Backoff, "%d renewals in a row left nothing new, the next one is at %s", n, until)
	}
	d.Retry = c.Renewal.Rests
	return d
}
