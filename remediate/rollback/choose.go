package rollback

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Reason is the code of a rejection, from a closed set.
type Reason string

// The reasons to reject a version, in the order in which they are looked for.
const (
	NotWanted         Reason = "not_wanted"         // a person asked for another one
	TheBadOne         Reason = "is_the_bad_one"     // it is what has to be left
	Broken            Reason = "broken"             // it cannot be read, or is not what was kept
	DeniedKey         Reason = "denied_key"         // its key is on the deny list
	Expired           Reason = "expired"            // it, or its chain, has ended
	NotYetValid       Reason = "not_yet_valid"      // it, or its chain, has not begun
	EndsSoon          Reason = "ends_soon"          // too little is left of it, or of its chain
	Revoked           Reason = "revoked"            // its CA revoked it, or an authority above it
	Recalled          Reason = "recalled"           // its CA wants it to be gone
	WrongKey          Reason = "wrong_key"          // the key beside it is another one's
	NotCovering       Reason = "not_covering"       // it lacks a name that is needed
	BrokenChain       Reason = "broken_chain"       // clients would not accept it
	RevocationUnknown Reason = "revocation_unknown" // nobody says whether it was revoked, and what is served is better than that
)

// Reasons returns the closed set.
func Reasons() []Reason {
	return []Reason{
		NotWanted, TheBadOne, Broken, DeniedKey, Expired, NotYetValid, EndsSoon, Revoked, Recalled, WrongKey, NotCovering, BrokenChain,
		RevocationUnknown,
	}
}

// Rejected is a version that is not rolled back to, and why.
type Rejected struct {
	Version certmedic.Fingerprint `json:"version"` // empty where it cannot be read at all
	Origin  Origin                `json:"origin"`
	Reason  Reason                `json:"reason"`
	Detail  string                `json:"detail"`
}

// String returns what a person reads: which version, where it is from and what is wrong with it.
func (r Rejected) String() string {
	return fmt.Sprintf("%s of the %s: %s: %s", cmp.Or(r.Version.Short(), "a version"), r.Origin, r.Reason, r.Detail)
}

// How much of its life a version must have left.
const (
	minRemaining     = 24 * time.Hour
	minRemainingDire = time.Hour // where what is served is invalid already
)

// Choose returns the version to roll back to: of all that meet the need, the one that was
// issued last, as it was kept where it is in both places; and why the others do not, the
// newest first. ok is false where none does.
func Choose(n Need, all []Candidate) (best Candidate, rejected []Rejected, ok bool) {
	all = slices.Clone(all)
	slices.SortStableFunc(all, better)
	for _, c := range all {
		if why := n.rejects(c); why != nil {
			rejected = append(rejected, *why)
		} else if !ok {
			best, ok = c, true
		}
	}
	return best, rejected, ok
}

// better orders candidates: who was issued last comes first, then who lasts longer. A kept
// version was seen served with nothing wrong, and nobody else moves its files.
func better(a, b Candidate) int {
	x, _ := a.Leaf()
	y, _ := b.Leaf()
	return cmp.Or(
		y.NotBefore.Compare(x.NotBefore), y.NotAfter.Compare(x.NotAfter), cmp.Compare(x.SHA256, y.SHA256),
		-cmp.Compare(a.Origin, b.Origin),
	)
}

// rejects returns why a candidate does not meet the need, nil where it does.
func (n Need) rejects(c Candidate) *Rejected {
	for _, check := range []func(Candidate) (Reason, string){n.wanted, readable, n.lasting, n.vouched, n.fitting} {
		if reason, detail := check(c); reason != "" {
			leaf, _ := c.Leaf()
			return &Rejected{Version: leaf.SHA256, Origin: c.Origin, Reason: reason, Detail: detail}
		}
	}
	return nil
}

// wanted looks whether it is the version that is to be left, or another than was asked for.
func (n Need) wanted(c Candidate) (Reason, string) {
	leaf, ok := c.Leaf()
	switch {
	case n.Wanted != "" && (!ok || !strings.HasPrefix(string(leaf.SHA256), string(n.Wanted))):
		return NotWanted, fmt.Sprintf("its fingerprint does not begin with %s", n.Wanted)
	case ok && leaf.SHA256 == n.Bad:
		return TheBadOne, "it is the version that is to be left"
	case ok && n.Left != "" && leaf.SHA256 == n.Left:
		return TheBadOne, "it is the version that was left by the rollback that stands"
	}
	return "", ""
}

// readable looks whether it is there whole, with a key that may be used.
func readable(c Candidate) (Reason, string) {
	leaf, ok := c.Leaf()
	switch {
	case c.Broken != "":
		return Broken, c.Broken
	case !ok:
		return Broken, "it holds no certificate"
	case c.Denied:
		return DeniedKey, fmt.Sprintf("its key, %s, is on the deny list", leaf.SPKISHA256.Short())
	}
	return "", ""
}

// lasting looks at the dates of the leaf and of its chain.
func (n Need) lasting(c Candidate) (Reason, string) {
	leaf, _ := c.Leaf()
	least, ends, what := minRemaining, leaf.NotAfter, "it"
	if n.Dire {
		least = minRemainingDire
	}
	if !c.ChainEnds.IsZero() && c.ChainEnds.Before(ends) {
		ends, what = c.ChainEnds, "its chain"
	}
	switch {
	case n.Now.Before(leaf.NotBefore):
		return NotYetValid, "it begins at " + date(leaf.NotBefore)
	case n.Now.After(ends):
		return Expired, what + " ended at " + date(ends)
	case ends.Sub(n.Now) < least:
		return EndsSoon, fmt.Sprintf("%s ends at %s, less than %s from now", what, date(ends), least)
	}
	return "", ""
}

// vouched looks at what is known against it.
func (n Need) vouched(c Candidate) (Reason, string) {
	for _, reason := range Reasons() {
		for _, f := range c.Problems {
			if reasonOf(f.Code) == reason {
				return reason, f.Detail
			}
		}
	}
	switch {
	case c.Recalled != "":
		return Recalled, c.Recalled
	case c.Unknown != "" && !n.Dire:
		return RevocationUnknown, c.Unknown
	}
	return "", ""
}

// reasonOf says what a critical finding means for a candidate.
func reasonOf(code certmedic.FindingCode) Reason {
	switch code {
	case certmedic.Expired:
		return Expired
	case certmedic.NotYetValid:
		return NotYetValid
	case certmedic.Revoked:
		return Revoked
	case certmedic.KeyMismatch:
		return WrongKey
	case certmedic.NameMismatch:
		return NotCovering
	case certmedic.NotACertificate:
		return Broken
	default:
		return BrokenChain
	}
}

// fitting looks whether it is for every name that is needed.
func (n Need) fitting(c Candidate) (Reason, string) {
	leaf, _ := c.Leaf()
	var missing []string
	for _, name := range n.Names {
		if !covers(leaf, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return "", ""
	}
	return NotCovering, "it is not for " + strings.Join(missing, ", ")
}

// covers reports whether a certificate is for a name, as RFC 6125 compares them: a wildcard
// stands for one whole label at the left, and an IP address is never a DNS name. A wildcard
// that is needed has to be there itself.
func covers(leaf certmedic.CertFacts, name string) bool {
	if ip, err := netip.ParseAddr(name); err == nil {
		return slices.ContainsFunc(leaf.IPAddresses, func(has string) bool {
			own, err := netip.ParseAddr(has)
			return err == nil && own.Unmap() == ip.Unmap()
		})
	}
	name = plain(name)
	_, parent, dotted := strings.Cut(name, ".")
	return name != "" && slices.ContainsFunc(leaf.DNSNames, func(has string) bool {
		has = plain(has)
		return has == name || dotted && !strings.HasPrefix(name, ".") && has == "*."+parent
	})
}

func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
