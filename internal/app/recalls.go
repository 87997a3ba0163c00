package app

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/ari"
	"github.com/certmedic/certmedic/probe/inspect"
)

// What a CA said about an older version is believed until it wants to be asked again, and that
// it said nothing for a minute.
const (
	maxRecalls  = 1000
	recallRetry = time.Minute
)

// recalls remembers what CAs said about older versions: one decision looks at them several
// times. Its zero value is ready.
type recalls struct {
	mu    sync.Mutex
	known map[certmedic.Fingerprint]recall
}

type recall struct {
	advice ari.Advice
	until  time.Time
}

// about returns what is known about a version, and whether it still is.
func (r *recalls) about(version certmedic.Fingerprint, now time.Time) (ari.Advice, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[version]
	return known.advice, now.Before(known.until)
}

func (r *recalls) keep(version certmedic.Fingerprint, k recall, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.known, func(_ certmedic.Fingerprint, old recall) bool { return !now.Before(old.until) })
	if r.known == nil || len(r.known) >= maxRecalls {
		r.known = map[certmedic.Fingerprint]recall{}
	}
	r.known[version] = k
}

// recalled returns why the CA of a version wants it to be gone, empty where it does not, or says
// nothing. That its window has begun means nothing: that of an older version always has. It
// counts where it moved to an earlier time than the CA once gave, or where there is a page that
// explains it.
func (a *App) recalled(ctx context.Context, g *generation, certificate, directory string, cert *x509.Certificate) string {
	now, version := time.Now(), inspect.Facts(cert).SHA256
	advice, known := a.recalls.about(version, now)
	if !known {
		var err error
		advice, err = g.ca.Fetch(ctx, directory, cert)
		k := recall{advice: advice, until: advice.CheckAfter}
		if err != nil {
			k = recall{until: now.Add(recallRetry)}
			a.o.Log.Debug("no renewal information about an older version", "certificate", certificate, "version", version.Short(), "err", err)
		}
		a.recalls.keep(version, k, now)
		advice = k.advice
	}
	if advice.Explanation != "" {
		return "its CA explains at " + advice.Explanation + " why it is to be replaced"
	}
	start := a.started(certificate, version)
	if advice.Window.Start.IsZero() || !advice.Window.Start.Before(start) {
		return ""
	}
	return fmt.Sprintf("its CA wants it replaced from %s on, and once said %s", advice.Window.Start.UTC().Format(time.RFC3339), start.UTC().Format(time.RFC3339))
}

// started returns when the window of a version began, as its CA said when it was the stored one;
// zero where that is not known.
func (a *App) started(certificate string, version certmedic.Fingerprint) time.Time {
	all, err := a.store.Renewals()
	if err != nil {
		a.o.Log.Warn("what CAs said about renewals cannot be read", "err", err)
		return time.Time{}
	}
	return all[certificate].Starts[version]
}
