package watchdog

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/rules"
)

func TestSchedule(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stored := certmedic.Stored{Chain: []certmedic.CertFacts{{SHA256: "a", NotBefore: now, NotAfter: now.AddDate(0, 0, 90)}}}
	unreadable := certmedic.Stored{Findings: []certmedic.Finding{certmedic.NewFinding(certmedic.FileUnreadable, "x")}}
	window := &rules.Window{Start: now.AddDate(0, 0, 50), End: now.AddDate(0, 0, 52), Chosen: now.AddDate(0, 0, 51)}
	const day = 24 * time.Hour
	for _, tt := range []struct {
		about       string
		kind        certmedic.SourceKind
		stored      *certmedic.Stored // nil: not read yet
		window      *rules.Window
		least, most time.Duration // until it is renewed; 0 and -1: that is undecided
	}{
		{"the chosen moment of the CA's window", certmedic.SourceACME, &stored, window, 51 * day, 51 * day},
		{"two thirds of its life where the CA says nothing", certmedic.SourceACME, &stored, nil, 59 * day, 61 * day},
		{"nothing was issued yet: at once", certmedic.SourceACME, &certmedic.Stored{}, nil, 0, 0},
		{"what cannot be read may hold a version", certmedic.SourceACME, &unreadable, nil, 0, -1},
		{"what was not read yet, too", certmedic.SourceACME, nil, nil, 0, -1},
		{"certbot renews its own", certmedic.SourceCertbot, &stored, window, 0, -1},
	} {
		cert := certmedic.Certificate{Name: "shop", Source: certmedic.Source{Kind: tt.kind}}
		e := newEntry(&cert, store.Memory{}, rules.State{})
		if tt.stored != nil {
			e.hold(*tt.stored, nil, now)
		}
		e.window("a", tt.window)
		c := e.facts(now).Certificate
		switch {
		case tt.most < 0:
			if c.RenewIn != nil || c.Undecided["certificate.renew_in"] == "" {
				t.Errorf("%s: in %v", tt.about, c.RenewIn)
			}
		case c.RenewIn == nil || *c.RenewIn < tt.least || *c.RenewIn > tt.most:
			t.Errorf("%s: in %v, %s", tt.about, c.RenewIn, c.Undecided["certificate.renew_in"])
		}
		if v := e.view().Renewal; v != nil && (tt.kind == certmedic.SourceACME) == v.Scheduled.IsZero() {
			t.Errorf("%s: the view says %v", tt.about, v.Scheduled)
		}
	}
}
