package app

import (
	"fmt"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/remediate/approval"
)

func TestMostUnprovenIsAShareOfWhatMayBeActedFor(t *testing.T) {
	certificates := func(n int, change func(*certmedic.Certificate)) (all []certmedic.Certificate) {
		for i := range n {
			c := certmedic.Certificate{Name: fmt.Sprint("c", i), Mode: certmedic.ModeAuto, Allow: []certmedic.ActionKind{certmedic.ActionRedeploy}}
			change(&c)
			all = append(all, c)
		}
		return all
	}
	for _, row := range []struct {
		about  string
		change func(*certmedic.Certificate)
		want   int
	}{
		{"those that certmedic may act for", func(*certmedic.Certificate) {}, 20},
		{"those that a person approves", func(c *certmedic.Certificate) { c.Mode = certmedic.ModeApprove }, 20},
		{"those of mode plan do not count", func(c *certmedic.Certificate) { c.Mode = certmedic.ModePlan }, 3},
		{"nor those for which nothing is allowed", func(c *certmedic.Certificate) { c.Allow = nil }, 3},
		{"nor those of others", func(c *certmedic.Certificate) { c.Watched = true }, 3},
	} {
		if got := mostUnproven(config.Default(), certificates(100, row.change)); got != row.want {
			t.Errorf("%s: %d, want %d", row.about, got, row.want)
		}
	}
}

func TestPlansOfAnotherModeCannotBeApproved(t *testing.T) {
	g := &generation{certificates: []certmedic.Certificate{{Name: "a", Mode: certmedic.ModeApprove}, {Name: "b", Mode: certmedic.ModePlan}, {Name: "c", Mode: certmedic.ModeAuto}, {Name: "e", Mode: certmedic.ModeApprove}}}
	g.leads = func(certificate string) certmedic.Lead {
		if certificate == "e" {
			return certmedic.Lead{Member: "m2"}
		}
		return certmedic.Lead{Mine: true, Member: "m1"}
	}
	for name, want := range map[string]string{
		"a": "", "b": `the mode of "b" is plan by now`, "c": "", "d": `there is no certificate "d" any more`, "e": `the member "m2" of the cluster acts for "e" by now`,
	} {
		got := ""
		if err := g.approvable(approval.Approval{Certificate: name}); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
