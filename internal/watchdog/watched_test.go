package watchdog

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// watch starts a watchdog that trusts the root on one watched file with these certificates.
func (s *scene) watch(name string, root *certtest.Pair, pairs ...*certtest.Pair) {
	s.t.Helper()
	var data bytes.Buffer
	for _, p := range pairs {
		data.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Cert.Raw}))
	}
	path := filepath.Join(s.t.TempDir(), name)
	if err := os.WriteFile(path, data.Bytes(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.cert = certmedic.Certificate{
		Name: path, Watched: true, Mode: certmedic.ModeObserve,
		Source: certmedic.Source{Kind: certmedic.SourceFiles, Cert: path},
	}
	s.start(func(o *Options) {
		o.Warn, o.Crit = inspect.Threshold{Share: 0.33}, inspect.Threshold{Share: 0.1}
		o.Roots = []inspect.Roots{{Name: "test", Pool: certtest.Pool(root)}}
	})
	s.w.Changed(path)
}

// found lists the codes of the view, and the rules that fire.
func (s *scene) found() string {
	v := s.w.Views()[0]
	var codes, firing []string
	for _, f := range v.Findings {
		codes = append(codes, string(f.Code))
	}
	for _, in := range v.Incidents {
		if in.State == certmedic.StateFiring {
			firing = append(firing, in.Rule)
		}
	}
	slices.Sort(firing)
	return string(v.Status) + ": " + strings.Join(codes, " ") + ": " + strings.Join(firing, " ")
}

// TestWatchedFilesAreInspected shows that a watched file has the findings of a check, and one
// incident for each cause.
func TestWatchedFilesAreInspected(t *testing.T) {
	for _, row := range []struct {
		about, want string
		edit        func(*x509.Certificate)
		pairs       func(root, leaf *certtest.Pair) []*certtest.Pair
	}{
		{"a sound chain", "ok: : ", nil, nil},
		{"not valid yet", "critical: not_yet_valid: not-yet-valid", func(c *x509.Certificate) { c.NotBefore = time.Now().AddDate(0, 0, 2) }, nil},
		{"expired", "critical: expired: expired expiry-imminent renewal-overdue", func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, -1) }, nil},
		{"a client's certificate alone in a file", "critical: wrong_usage: chain-invalid", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil},
		{"an authority", "ok: : ", nil, func(root, _ *certtest.Pair) []*certtest.Pair { return []*certtest.Pair{root} }},
		{"upside down", "warning: chain_order: ", nil, func(root, leaf *certtest.Pair) []*certtest.Pair { return []*certtest.Pair{root, leaf} }},
	} {
		t.Run(row.about, func(t *testing.T) {
			run(t, func(t *testing.T) {
				s, root := newScene(t), certtest.Issue(t, nil, certtest.CA("root", time.Now()), nil)
				template := certtest.Server(time.Now(), "shop.test")
				if row.edit != nil {
					row.edit(&template)
				}
				pairs := []*certtest.Pair{certtest.Issue(t, root, template, nil), root}
				if row.pairs != nil {
					pairs = row.pairs(root, pairs[0])
				}
				s.watch("shop.pem", root, pairs...)
				time.Sleep(time.Minute)
				if got := s.found(); got != row.want {
					t.Errorf("got %q, want %q", got, row.want)
				}
			})
		})
	}
}

// TestWatchedFilesAgeWithoutBeingRead shows that time alone changes their findings.
func TestWatchedFilesAgeWithoutBeingRead(t *testing.T) {
	run(t, func(t *testing.T) {
		s, root := newScene(t), certtest.Issue(t, nil, certtest.CA("root", time.Now()), nil)
		template := certtest.Server(time.Now(), "shop.test")
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(9*time.Minute)
		s.watch("shop.pem", root, certtest.Issue(t, root, template, nil), root)
		var seen []string
		time.Sleep(7 * time.Second) // to look between two judgements
		for range 11 {
			time.Sleep(time.Minute)
			if got := s.found(); !slices.Contains(seen, got) {
				seen = append(seen, got)
			}
		}
		want := []string{
			"ok: : ", "warning: : renewal-overdue", "warning: expiring: renewal-overdue", "critical: expiring: expiry-imminent renewal-overdue",
			"critical: expired: expired expiry-imminent renewal-overdue",
		}
		if !slices.Equal(seen, want) {
			t.Errorf("got  %q\nwant %q", seen, want)
		}
	})
}

// TestOneOfManyIsNamed shows that an incident about a bundle says which of its certificates
// it is about.
func TestOneOfManyIsNamed(t *testing.T) {
	run(t, func(t *testing.T) {
		s := newScene(t)
		ended := certtest.CA("old root", time.Now())
		ended.NotAfter = time.Now().AddDate(0, 0, -1)
		root := certtest.Issue(t, nil, certtest.CA("new root", time.Now()), nil)
		s.watch("cas.pem", root, root, certtest.Issue(t, nil, ended, nil))
		time.Sleep(time.Minute)
		v := s.w.Views()[0]
		for _, in := range v.Incidents {
			if !strings.HasSuffix(in.Evidence[0].Source, "cas.pem#old root") {
				t.Errorf("incident %s is about %q", in.Rule, in.Evidence[0].Source)
			}
		}
		if len(v.Incidents) == 0 {
			t.Error("there is no incident")
		}
	})
}
