package watchdog

import (
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/rules"
)

// Attempted takes how the last attempt to renew a certificate ended, as the log of its client
// tells; nil where it does not. The certificate is judged if that is something else than before.
func (w *Watchdog) Attempted(certificate string, a *acmelog.Attempt) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok || same(e.attempt, a) {
		return
	}
	e.attempt = a
	if e.read {
		w.judgeLocked(e, time.Now())
	}
}

func same(a, b *acmelog.Attempt) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// attemptFacts says how the last attempt ended. While one is under way, the log tells of those
// before it only.
func (e *entry) attemptFacts(c *rules.CertificateFacts) {
	if e.attempt == nil {
		return
	}
	if e.deploying() {
		undecide(c.Undecided, "certbot is at work", "certificate.renewal_log")
	}
	c.RenewalLog = new(string(e.attempt.Word))
	c.Support["certificate.renewal_log"] = rules.Support{Members: c.Members, Evidence: []certmedic.Evidence{e.attempt.At.Evidence()}}
}
