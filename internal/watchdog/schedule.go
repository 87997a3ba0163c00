package watchdog

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// scheduled returns when certmedic itself has the certificate renewed, or issued where nothing
// was yet. Where something else renews it, or its source cannot be read, why says so.
func (e *entry) scheduled(now time.Time) (at time.Time, why string) {
	leaf, r, ok := e.renewal()
	switch {
	case e.cert.Source.Kind != certmedic.SourceACME:
		return time.Time{}, "certmedic does not renew it on a schedule"
	case !e.read:
		return time.Time{}, notRead
	case !ok && len(e.stored.Findings) > 0:
		return time.Time{}, "nothing can be read of the source"
	case !ok:
		return now, ""
	}
	return r.Scheduled(leaf), ""
}

// scheduleFacts says when certmedic itself has the certificate renewed.
func (e *entry) scheduleFacts(c *rules.CertificateFacts, now time.Time) {
	at, why := e.scheduled(now)
	if why != "" {
		undecide(c.Undecided, why, "certificate.renew_in")
		return
	}
	c.RenewIn = new(at.Sub(now))
	line := "to be renewed at " + day(at)
	if _, ok := e.stored.Leaf(); !ok {
		line = "nothing was issued yet"
	}
	evidence := []certmedic.Evidence{{Source: e.storedAt(), Line: line}}
	c.Support["certificate.renew_in"] = rules.Support{Members: c.Members, Evidence: append(evidence, e.renewalTried()...)}
}
