package guard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/guard"
)

func TestLed(t *testing.T) {
	lost := now.Add(-time.Hour)
	redeploy, renew := certmedic.ActionRedeploy, certmedic.ActionRenew
	const saved certmedic.ActionKind = "redeploy of what this member renewed since"
	for _, row := range []struct {
		about     string
		kind      certmedic.ActionKind
		lead      *certmedic.Lead
		emergency time.Time
		hand      bool
		force     bool
		want      guard.Reason
		says      string
	}{
		{"there are no others", redeploy, nil, time.Time{}, false, false, guard.None, ""},
		{"this member acts", redeploy, &certmedic.Lead{Mine: true}, time.Time{}, false, false, guard.None, ""},
		{"another one does", redeploy, &certmedic.Lead{Member: "m2"}, time.Time{}, false, false, guard.NotLeader, `"m2"`},
		{"people are sent there", redeploy, &certmedic.Lead{Member: "m2"}, time.Time{}, true, false, guard.NotLeader, `"m2"`},
		{"a person insists, which is proven later", redeploy, &certmedic.Lead{Member: "m2"}, time.Time{}, true, true, guard.None, ""},
		{"force is for people", redeploy, &certmedic.Lead{Member: "m2"}, time.Time{}, false, true, guard.NotLeader, ""},
		{"nobody does yet", redeploy, &certmedic.Lead{}, time.Time{}, false, false, guard.NotLeader, "no member"},
		{"it has just taken over", redeploy, &certmedic.Lead{Member: "m1", Waits: "probes first"}, time.Time{}, false, false, guard.NotLeader, "probes first"},
		{"it has just taken over, and a person asks", redeploy, &certmedic.Lead{Member: "m1", Waits: "probes first"}, time.Time{}, true, false, guard.None, ""},
		{"nobody can be asked, and it acted last", redeploy, &certmedic.Lead{Mine: true, Lost: lost}, time.Time{}, false, false, guard.None, ""},
		{"nobody can be asked, and another one acted last", redeploy, &certmedic.Lead{Member: "m2", Lost: lost}, time.Time{}, false, false, guard.CoordinatorLost, "2026-03-01T11:00:00Z"},
		{"nobody can be asked, and it acted last, but an order cannot be fenced", renew, &certmedic.Lead{Mine: true, Lost: lost}, time.Time{}, false, false, guard.CoordinatorLost, ""},
		{"a person has to insist on an order", renew, &certmedic.Lead{Mine: true, Lost: lost}, time.Time{}, true, false, guard.CoordinatorLost, "--force"},
		{"a person insists on an order", renew, &certmedic.Lead{Lost: lost}, time.Time{}, true, true, guard.None, ""},
		{"the emergency is not there yet", renew, &certmedic.Lead{Lost: lost}, now.Add(time.Minute), false, false, guard.CoordinatorLost, "before 2026-03-01T12:01:00Z"},
		{"the emergency is there", renew, &certmedic.Lead{Lost: lost}, now, false, false, guard.None, ""},
		{"in an emergency others than the last one only order", redeploy, &certmedic.Lead{Lost: lost}, now, false, false, guard.CoordinatorLost, ""},
		{"and bring to where it is served what they ordered", saved, &certmedic.Lead{Lost: lost}, time.Time{}, false, false, guard.None, ""},
	} {
		c := allowed()
		if row.kind == saved {
			row.kind, c.Saved = redeploy, true
		}
		c.Kind, c.Lead, c.Emergency, c.ByHand, c.Force = row.kind, row.lead, row.emergency, row.hand, row.force
		d := guard.Led(c)
		if d.Reason != row.want || !strings.Contains(d.Detail, row.says) {
			t.Errorf("%s: %q (%s), want %q with %q", row.about, d.Reason, d.Detail, row.want, row.says)
		}
		if !d.Allowed() && (!d.Reason.Waits() || d.Reason.Passes()) {
			t.Errorf("%s: %s does not wait, or lets what is dearer have its turn", row.about, d.Reason)
		}
	}
}

// TestLedStandsBeforePeople keeps members that do not act from asking people about plans, and from journaling what is wrong with what
// is stored; where nothing is needed, that is what they say.
func TestLedStandsBeforePeople(t *testing.T) {
	for about, change := range map[string]func(*guard.Case){
		"mode approve": mode(certmedic.ModeApprove), "mode plan": mode(certmedic.ModePlan), "a stored version with a problem": problem, "a denied key": denied,
	} {
		c := allowed()
		change(&c)
		c.Lead = &certmedic.Lead{Member: "m2"}
		if d := guard.Decide(c); d.Reason != guard.NotLeader {
			t.Errorf("%s: %q (%s)", about, d.Reason, d.Detail)
		}
	}
	c := allowed()
	c.Needed, c.Lead = false, &certmedic.Lead{Member: "m2"}
	if d := guard.Decide(c); d.Reason != guard.NoNeed {
		t.Errorf("where nothing is needed: %q (%s)", d.Reason, d.Detail)
	}
}
