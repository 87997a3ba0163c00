package silence

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// disk is a state in memory that can be full.
type disk struct {
	kept map[string]Silence
	full bool
}

func (d *disk) Silences() ([]Silence, error) {
	var all []Silence
	for _, s := range d.kept {
		all = append(all, s)
	}
	return all, nil
}

func (d *disk) SaveSilence(s Silence) error {
	if d.full {
		return errors.New("disk full")
	}
	d.kept[s.ID] = s
	return nil
}

func (d *disk) ForgetSilence(id string) error { delete(d.kept, id); return nil }

func open(t *testing.T, d *disk) *Book {
	t.Helper()
	b, err := Open(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func labels(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func silence(t *testing.T, matchers ...string) Silence {
	t.Helper()
	s := Silence{By: "ann", Why: "moving", Until: noon.Add(time.Hour)}
	for _, text := range matchers {
		m, err := ParseMatcher(text)
		if err != nil {
			t.Fatal(err)
		}
		s.Matchers = append(s.Matchers, m)
	}
	return s
}

func TestMatchers(t *testing.T) {
	shop := labels("certificate", "shop", "severity", "critical", "team", "payments")
	tests := []struct {
		about    string
		matchers []string
		want     bool
	}{
		{"the certificate", []string{"certificate=shop"}, true},
		{"in quotes", []string{`certificate="shop"`}, true},
		{"another one", []string{"certificate=shop2"}, false},
		{"all have to fit", []string{"certificate=shop", "severity=warning"}, false},
		{"unequal", []string{"certificate!=mail"}, true},
		{"an expression", []string{"team=~pay.*"}, true},
		{"an expression fits all of the value", []string{"team=~pay"}, false},
		{"an alternative is no way out of that", []string{"team=~x|pay"}, false},
		{"not an expression", []string{"team!~ops|web"}, true},
		{"a label that is not there is empty", []string{"certificate=shop", "tier="}, true},
	}
	for _, tt := range tests {
		b := open(t, &disk{kept: map[string]Silence{}})
		if _, err := b.Add(silence(t, tt.matchers...), noon); err != nil {
			t.Fatalf("%s: %v", tt.about, err)
		}
		if got := b.Silenced(noon, shop); got != tt.want {
			t.Errorf("%s: silenced %v, want %v", tt.about, got, tt.want)
		}
	}
	for _, text := range []string{"", "shop", "=shop", "a b=c", "team=~(", "team=~x)|(?:y", `team="x`, "team~x"} {
		if m, err := ParseMatcher(text); err == nil {
			t.Errorf("%q is read as %v", text, m)
		}
	}
}

func TestASilenceHoldsFromTheMomentItWasAdded(t *testing.T) {
	d := &disk{kept: map[string]Silence{}}
	added, err := open(t, d).Add(silence(t, "certificate=~sh.p"), noon)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, d) // after kill -9
	shop := labels("certificate", "shop")
	if !b.Silenced(noon.Add(59*time.Minute), shop) || b.Silenced(noon.Add(time.Hour), shop) {
		t.Error("it does not hold exactly until its end")
	}
	if _, err := b.End(added.ID, "bob", noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if open(t, d).Silenced(noon.Add(2*time.Minute), shop) {
		t.Error("it holds after its end")
	}
	if _, err := b.End(added.ID, "bob", noon.Add(time.Minute)); !errors.Is(err, ErrUnknown) {
		t.Errorf("it ends twice: %v", err)
	}
	if len(b.List(noon.Add(time.Minute), false)) != 0 || b.List(noon.Add(time.Minute), true)[0].EndedBy != "bob" {
		t.Errorf("listed as %+v", b.List(noon, true))
	}
	d.full = true
	if _, err := b.Add(silence(t, "certificate=x"), noon); err == nil || b.Silenced(noon, labels("certificate", "x")) {
		t.Errorf("it holds without being kept: %v", err)
	}
}

func TestUntilRenewed(t *testing.T) {
	d := &disk{kept: map[string]Silence{}}
	b := open(t, d)
	s := silence(t, "team=payments", "severity=warning")
	s.UntilRenewed = true
	if _, err := b.Add(s, noon); err != nil {
		t.Fatal(err)
	}
	shop, mail := labels("certificate", "shop", "team", "payments", "severity", "warning"), labels("certificate", "mail", "team", "payments", "severity", "warning")
	if ended, err := b.Renewed("shop", labels("certificate", "shop", "team", "payments"), noon); err != nil || !ended {
		t.Fatalf("%v, %v", ended, err)
	}
	if b = open(t, d); b.Silenced(noon, shop) || !b.Silenced(noon, mail) {
		t.Error("it ends for the renewed certificate, and for that alone")
	}
	if ended, _ := b.Renewed("web", labels("certificate", "web", "team", "web"), noon); ended {
		t.Error("somebody else's renewal ended it")
	}
}

func TestWhatIsRefused(t *testing.T) {
	change := func(f func(*Silence)) Silence {
		s := silence(t, "certificate=shop")
		f(&s)
		return s
	}
	for want, s := range map[string]Silence{
		"fit everything":         change(func(s *Silence) { s.Matchers = nil }),
		"would fit everything":   silence(t, "certificate=~.*", "tier="),
		"no author":              change(func(s *Silence) { s.By = "" }),
		"no reason":              change(func(s *Silence) { s.Why = "" }),
		"not in the future":      change(func(s *Silence) { s.Until = noon }),
		"longer than 90 days":    change(func(s *Silence) { s.Until = noon.Add(91 * 24 * time.Hour) }),
		"the regular expression": change(func(s *Silence) { s.Matchers = []Matcher{{Label: "team", Op: Match, Value: "("}} }),
		"compares by":            change(func(s *Silence) { s.Matchers = []Matcher{{Label: "team", Op: "<", Value: "x"}} }),
	} {
		if _, err := open(t, &disk{kept: map[string]Silence{}}).Add(s, noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestWhatEndedLongAgoIsForgotten(t *testing.T) {
	d := &disk{kept: map[string]Silence{}}
	b := open(t, d)
	if _, err := b.Add(silence(t, "certificate=shop"), noon); err != nil {
		t.Fatal(err)
	}
	later := noon.Add(keepEnded + 2*time.Hour)
	s := silence(t, "certificate=mail")
	s.Until = later.Add(time.Hour)
	if _, err := b.Add(s, later); err != nil || len(d.kept) != 1 {
		t.Errorf("%d are kept, %v", len(d.kept), err)
	}
}

func TestOnlyThoseThatHoldAreTooMany(t *testing.T) {
	b := open(t, &disk{kept: map[string]Silence{}})
	var last Silence
	for i := range maxSilences {
		s, err := b.Add(silence(t, "certificate=shop"), noon)
		if err != nil {
			t.Fatalf("silence %d: %v", i+1, err)
		}
		last = s
	}
	if _, err := b.Add(silence(t, "certificate=mail"), noon); err == nil {
		t.Error("there may be any number")
	}
	if _, err := b.End(last.ID, "ann", noon); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(silence(t, "certificate=mail"), noon); err != nil || len(b.List(noon, true)) != maxSilences {
		t.Errorf("one that has ended stands in the way: %v, %d are kept", err, len(b.List(noon, true)))
	}
}
