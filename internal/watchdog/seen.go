package watchdog

import "time"

// Keys returns the keys of a certificate's endpoints, as the scheduler knows them.
func (w *Watchdog) Keys(certificate string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok {
		return nil
	}
	return e.keys()
}

// SeenSince reports whether every endpoint of a certificate was observed by a probe that began at a moment
// or later, and its source was read. One that is not watched was not.
func (w *Watchdog) SeenSince(certificate string, since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	e, ok := w.entries[certificate]
	if !ok || !e.read {
		return false
	}
	for _, ep := range e.cert.Endpoints {
		o, observed := e.observed[e.name(ep)]
		if !observed || o.Time.Add(-o.Duration).Before(since) {
			return false
		}
	}
	return true
}
