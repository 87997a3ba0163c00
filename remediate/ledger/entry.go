package ledger

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Kind says what an entry is about.
type Kind string

// The kinds of entries.
const (
	KindOrder            Kind = "order"             // one is placed
	KindCertificate      Kind = "certificate"       // one was issued
	KindFailedValidation Kind = "failed_validation" // an order ended because names could not be validated
	KindFailure          Kind = "failure"           // an order ended without a certificate for any other reason
	KindPause            Kind = "pause"             // the CA asked to be left alone
)

// Exemption says which limits an order does not count for.
type Exemption string

// The exemptions.
const (
	ExemptFromNone Exemption = ""        // it counts for all
	ExemptRenewal  Exemption = "renewal" // a certificate of exactly these names was issued before: not for [PerDomain]
	ExemptARI      Exemption = "ari"     // it replaces a certificate within the window that the CA suggested, by the same account: for none but [FailedValidations]
)

// Spender says who placed an order.
type Spender string

// The spenders. Only people may spend the reserve.
const (
	ByCertbot   Spender = "certbot"
	ByCertmedic Spender = "certmedic"
	ByPerson    Spender = "person"
)

// Entry is a line of the ledger.
type Entry struct {
	Time      time.Time             `json:"time"`
	Kind      Kind                  `json:"kind"`
	Directory string                `json:"directory"`         // URL of the CA's ACME directory
	Account   string                `json:"account,omitempty"` // empty: not known, it counts for all
	Names     []string              `json:"names,omitempty"`   // of the order; empty for a pause of the whole account
	Failed    []string              `json:"failed,omitempty"`  // of a failed validation, the names; empty: all of them
	Version   certmedic.Fingerprint `json:"version,omitempty"` // of a certificate; one version is counted once, as it was entered last
	Exempt    Exemption             `json:"exempt,omitempty"`
	By        Spender               `json:"by"`             // a certificate by certbot ends no order that is written down
	Until     time.Time             `json:"until,omitzero"` // of a pause; zero: until a certificate is issued, which takes a person
	Detail    string                `json:"detail,omitempty"`
}

// Order is an order that may be placed.
type Order struct {
	Directory string   // URL of the CA's ACME directory
	Account   string   // empty: not known, what was spent by any counts
	Names     []string // DNS names and IP addresses, in any order and case
	Exempt    Exemption
	By        Spender
	Keep      bool               // by a person who leaves the reserve
	Expires   time.Time          // end of what is served until then; zero: not known
	Issued    []certmedic.Issued // what the source's archive holds, which counts also where it was not learnt yet
}

// Normal returns names as they are compared: in lower case, sorted, each once.
func Normal(names []string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, strings.ToLower(strings.TrimSuffix(name, ".")))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// set returns what tells exact sets of names apart.
func set(names []string) string { return strings.Join(Normal(names), ",") }

// key returns what an entry is kept under; keys of two entries sort as their times do, but for
// those of certificates, which are counted once however often they are learnt.
func (e Entry) key() string {
	if e.Kind == KindCertificate && e.Version != "" {
		return string(KindCertificate) + "/" + string(e.Version)
	}
	return fmt.Sprintf("%s/%020d/%016x", e.Kind, e.Time.UnixNano(), e.hash())
}

// hash is a number that is the same for the same entry after a restart.
func (e Entry) hash() uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d|%s|%s|%s|%s", e.Time.UnixNano(), e.Kind, host(e.Directory), e.Account, set(e.Names))
	return h.Sum64()
}

// backdated is how long before it issues a certificate Let's Encrypt has it begin.
const backdated = time.Hour

// keepFor is how long an entry is kept. The longest limit gives everything back in a week, but who
// spends all that comes back has spent for ever what was spent in the week before. So nothing is
// taken to be left at the beginning of what is kept, which is forgotten a week later, a week ago.
const keepFor = 16 * 24 * time.Hour

// over reports whether an entry matters no more. A pause without end does until it was lifted,
// however long that takes.
func (e Entry) over(now time.Time) bool {
	endless := e.Kind == KindPause && e.Until.IsZero()
	return now.Sub(e.Time) > keepFor && now.After(e.Until) && !endless
}

// entriesOf returns the entries that matter of what an archive tells, oldest first. All but the
// first of a set of names are renewals.
func entriesOf(now time.Time, directory string, issued []certmedic.Issued) []Entry {
	if !slices.ContainsFunc(issued, func(i certmedic.Issued) bool { return now.Sub(i.NotBefore) <= keepFor+backdated }) {
		return nil // which is so for most sources, most of the time
	}
	issued = slices.SortedStableFunc(slices.Values(issued), func(a, b certmedic.Issued) int { return a.NotBefore.Compare(b.NotBefore) })
	before := map[string]bool{}
	entries := make([]Entry, 0, len(issued))
	for _, i := range issued {
		if len(i.Names) == 0 {
			continue
		}
		e := Entry{
			Time: earlier(i.NotBefore.Add(backdated), now), Kind: KindCertificate, Directory: directory,
			Names: Normal(i.Names), Version: i.Version, By: ByCertbot,
		}
		if before[set(e.Names)] {
			e.Exempt = ExemptRenewal
		}
		before[set(e.Names)] = true
		if !e.over(now) {
			entries = append(entries, e)
		}
	}
	return entries
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
