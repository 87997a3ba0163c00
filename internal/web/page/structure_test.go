package page_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/docs"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/page"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/ledger"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/remediate/snapshot"
	"github.com/certmedic/certmedic/rules"
)

// everywhere returns every page with a string in each place that somebody else writes.
func everywhere(s string) map[string]page.Content {
	v := stuck(s)
	v.Labels = map[string]string{s: s}
	v.Incidents[0].Subject.Certificate, v.Incidents[0].Runbook, v.Incidents[0].Fix, v.Incidents[0].Members = s, s, s, []string{s}
	v.Incidents[0].Cause, v.Incidents[0].CauseSummary, v.Incidents[0].NextStep, v.Incidents[0].ID = certmedic.Cause(s), s, s, s
	v.Findings = []certmedic.Finding{{Code: certmedic.FindingCode(s), Severity: certmedic.Severity(s), Detail: s}}
	v.Endpoints[0].Address = s
	v.Endpoints[0].Addresses[0].Address = s
	v.Stored.Version, v.Stored.Chain[0].Subject, v.Stored.Chain[0].Issuer, v.Stored.Chain[0].SHA256 = s, s, s, certmedic.Fingerprint(s)
	v.Leaf.DNSNames = []string{s}
	v.Lock = certmedic.Lock{PID: 1, Path: s}
	v.Renewal = &watchdog.RenewalView{Due: now().Add(time.Hour), Basis: s, Window: &rules.Window{Start: now(), End: now().Add(time.Hour)}, Scheduled: now()}
	v.Loan = &rollback.Loan{Version: certmedic.Fingerprint(s), Instead: certmedic.Fingerprint(s), Why: s, Since: now(), Until: now().Add(time.Hour)}
	v.Budget = []ledger.Remaining{{Limit: ledger.Limit(s), Key: s, Left: 3}}
	a := failedAction(s)
	a.ID, a.By, a.Why, a.Outcome.Detail, a.Outcome.Evidence = s, s, s, s, []certmedic.Evidence{{Source: s, Line: s}}
	a.Runs = []certmedic.Run{{Name: s, Argv: []string{s}, Stdout: s, Stderr: s, Detail: s, Truncated: true, Result: certmedic.RunExited, ExitCode: 1}}
	a.Changes = []certmedic.Change{{Path: s, Before: s, After: s}, {Path: s, LinkBefore: s, LinkAfter: s}}
	a.Nodes = []certmedic.NodeStatus{{Node: s, Destination: s, Detail: s}}
	plans := []approval.Approval{{ID: s, Certificate: s, Kind: "redeploy", State: approval.Pending, Rule: s, Why: s, Expires: now().Add(time.Hour), Plan: deploy.Plan{
		Commands: []deploy.Command{{Name: s, Argv: []string{s}}}, Files: []deploy.File{{InstalledFile: certmedic.InstalledFile{To: s}}}, Notes: []string{s}, Cost: s, Verify: s, Hash: s,
	}}}
	quiet := []silence.Silence{{ID: s, Matchers: []silence.Matcher{{Label: s, Op: silence.Equal, Value: s}}, By: s, Why: s, Until: now().Add(time.Hour)}}
	rule := api.Rule{Name: s, When: s, Severity: certmedic.SeverityWarning, Runbook: s, Now: rules.Tally{Error: s, Errors: 1}, Ladder: []certmedic.Step{{Do: certmedic.StepKind(s), After: time.Minute}}}
	return map[string]page.Content{
		"fleet":       page.Fleet{Views: []watchdog.View{v, fine("other")}, Incidents: v.Incidents, Plans: plans, Degraded: []string{s}, Silences: quiet, Filter: page.Filter{Text: s, Labels: []string{s}}},
		"risk":        page.Fleet{Views: []watchdog.View{v}, Plans: plans},
		"certificate": page.Certificate{View: v, Incidents: v.Incidents, Actions: []certmedic.Action{a}, Plans: plans, Kept: []snapshot.Snapshot{{Version: certmedic.Fingerprint(s), Broken: s}}, NotKept: s, Trusted: true},
		"incidents":   page.Incidents{Incidents: v.Incidents},
		"incident":    page.Incident{Incident: v.Incidents[0], View: &v, Actions: []certmedic.Action{a}},
		"actions":     page.Actions{Actions: []certmedic.Action{a}, Plans: plans},
		"action":      page.Action{Action: a, Trusted: true},
		"calendar":    page.Calendar{Views: []watchdog.View{v}},
		"ledger":      page.Ledger{Views: []watchdog.View{v}},
		"silences":    page.Silences{Silences: quiet},
		"receivers":   page.Receivers{Receivers: []api.Receiver{{Name: s, Kind: s, Why: s, Failing: true}}},
		"watchdog":    page.Watchdog{Status: api.Status{Version: s, Mode: certmedic.Mode(s), Degraded: []string{s}, Fleet: v.Incidents, Certificates: []watchdog.View{v}}, Rules: []api.Rule{rule}},
		"runbooks":    page.Runbooks{},
		"runbook":     page.Runbook{Name: s, Markdown: []byte("# " + s + "\n\n" + s + "\n\n[x](" + s + ")\n")},
		"missing":     page.Missing{What: s},
		"broken":      page.Broken{Why: s},
	}
}

const hostile = "\"><script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J\x00\u202egnp.exe\xff"

func TestHostileStrings(t *testing.T) {
	for name, content := range everywhere(hostile) {
		got := render(t, content)
		for _, bad := range []string{"<script>alert", "<img", "\x1b", "\x00", "\u202e", "\xff"} {
			if strings.Contains(got, bad) {
				t.Errorf("%q reached the page %s", bad, name)
			}
		}
		if name != "runbooks" && !strings.Contains(got, "alert(1)") {
			t.Errorf("the page %s does not show the hostile string at all", name)
		}
	}
	for name, content := range everywhere("javascript:alert(1)") {
		if got := render(t, content); strings.Contains(got, `href="javascript`) {
			t.Errorf("the page %s has a link that is a script", name)
		}
	}
}

// FuzzHostile has strings that nobody thought of on every page: what a browser makes of it has nothing
// in it that runs, and nothing that the policy forbids.
func FuzzHostile(f *testing.F) {
	for _, s := range []string{hostile, "shop", "javascript:x", "a/../b?c#d", "'onload='x", "{{.}}", "`", "</title>", "--><b>", "\u2028", "%3Cscript%3E", "[x](javascript:y)", "scripS:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, content := range everywhere(s) {
			closed(t, name, render(t, content))
		}
	})
}

// walk calls f for every element of a page.
func walk(t *testing.T, page string, f func(n *html.Node)) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode {
			f(n)
		}
	}
}

func attribute(n *html.Node, name string) (value string, ok bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

var schemed = regexp.MustCompile(`(?i)^\s*[a-z][a-z0-9+.-]*:`)

// closed holds a page to its policy: nothing inline, nothing from elsewhere, no link that is a script.
func closed(t *testing.T, name, page string) {
	t.Helper()
	walk(t, page, func(n *html.Node) {
		switch n.Data {
		case "style", "iframe", "object", "embed", "base", "img":
			t.Errorf("%s has an element <%s>", name, n.Data)
		case "script":
			if src, _ := attribute(n, "src"); !strings.HasPrefix(src, "/assets/") || n.FirstChild != nil {
				t.Errorf("%s has a script that is not an asset: %q", name, src)
			}
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "style", strings.HasPrefix(a.Key, "on"), strings.HasPrefix(a.Key, "hx-on"):
				t.Errorf("%s has the attribute %s=%q", name, a.Key, a.Val)
			case a.Key == "href" || a.Key == "src" || a.Key == "action" || a.Key == "hx-get":
				if scheme := schemed.FindString(a.Val); scheme != "" && scheme != "http:" && scheme != "https:" {
					t.Errorf("%s leads to %q", name, a.Val)
				}
			}
		}
	})
}

func TestPolicy(t *testing.T) {
	for name, content := range everywhere("shop") {
		closed(t, name, render(t, content))
	}
}

// TestStructure holds every page to what readers rely on who do not see it.
func TestStructure(t *testing.T) {
	for name, content := range everywhere("shop") {
		got := render(t, content)
		ids, heads, level, mains := map[string]bool{}, 0, 0, 0
		walk(t, got, func(n *html.Node) {
			if id, ok := attribute(n, "id"); ok {
				if ids[id] || id == "" {
					t.Errorf("%s: the id %q is there twice, or empty", name, id)
				}
				ids[id] = true
			}
			switch n.Data {
			case "h1", "h2", "h3", "h4":
				now := int(n.Data[1] - '0')
				if now == 1 {
					heads++
				}
				if now > level+1 {
					t.Errorf("%s: a heading of level %d follows one of level %d", name, now, level)
				}
				level = now
			case "main":
				mains++
			case "th":
				if _, ok := attribute(n, "scope"); !ok && name != "runbook" {
					t.Errorf("%s: a heading of a table does not say of what", name)
				}
			}
		})
		if heads != 1 || mains != 1 {
			t.Errorf("%s has %d first headings and %d mains", name, heads, mains)
		}
		walk(t, got, func(n *html.Node) {
			for _, a := range n.Attr {
				if a.Key == "aria-labelledby" && !ids[a.Val] {
					t.Errorf("%s: nothing has the id %q", name, a.Val)
				}
				if a.Key == "href" && strings.HasPrefix(a.Val, "#") && !ids[a.Val[1:]] {
					t.Errorf("%s leads to %q, which is not there", name, a.Val)
				}
			}
		})
		for _, want := range []string{`<html lang="en">`, `class="skip" href="#content"`, `name="viewport"`, "<footer>"} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
	}
}

func TestTheNavigationSaysWhereOneIs(t *testing.T) {
	for name, want := range map[string]string{"fleet": "/", "certificate": "/", "incident": "/incidents", "action": "/actions", "runbook": "/runbooks", "watchdog": "/watchdog", "missing": ""} {
		current := ""
		walk(t, render(t, everywhere("shop")[name]), func(n *html.Node) {
			if at, _ := attribute(n, "aria-current"); n.Data == "a" && at == "page" {
				current, _ = attribute(n, "href")
			}
		})
		if current != want {
			t.Errorf("on the page %s the navigation is at %q, want %q", name, current, want)
		}
	}
}

func TestAPageHoldsStillWhereItIsAskedTo(t *testing.T) {
	var b strings.Builder
	f := page.Frame{Now: now(), Self: &url.URL{Path: "/", RawQuery: "status=critical&still=1"}, Still: true}
	if err := page.Render(&b, f, page.Fleet{}); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Contains(got, "http-equiv") || strings.Contains(got, "hx-trigger=\"every") || !strings.Contains(got, `href="/?status=critical"`) {
		t.Errorf("the page does not hold still, or leads elsewhere: %s", got)
	}
	if got := render(t, page.Fleet{}); !strings.Contains(got, `http-equiv="refresh"`) || !strings.Contains(got, `hx-trigger="every`) || !strings.Contains(got, `href="/?still=1"`) {
		t.Error("a page that is not asked to hold still does")
	}
}

func TestEveryRunbookIsShown(t *testing.T) {
	list := render(t, page.Runbooks{})
	for _, name := range docs.Runbooks() {
		if !strings.Contains(list, `href="/runbooks/`+name+`"`) {
			t.Errorf("the list does not lead to %s", name)
		}
		markdown, ok := docs.Page(name)
		if !ok {
			t.Errorf("there is no %s", name)
			continue
		}
		got := render(t, page.Runbook{Name: name, Markdown: markdown})
		if !strings.Contains(got, ">What it means</h2>") && !strings.Contains(got, "<h2") {
			t.Errorf("%s has no parts", name)
		}
		walk(t, got, func(n *html.Node) {
			href, _ := attribute(n, "href")
			if to, ok := strings.CutPrefix(href, "/runbooks/"); ok {
				if _, ok := docs.Page(to); !ok {
					t.Errorf("%s leads to %s, which is not there", name, href)
				}
			} else if strings.HasSuffix(href, ".md") {
				t.Errorf("%s leads to the file %s", name, href)
			}
		})
	}
	if _, ok := docs.Page("../docs"); ok {
		t.Error("a page from elsewhere")
	}
}

func TestWhatIsOnlyForThoseWhoLoggedIn(t *testing.T) {
	plans := []approval.Approval{{ID: "bodig-rusam", Certificate: "shop", Kind: "redeploy", State: approval.Pending, Expires: now().Add(time.Hour), Plan: deploy.Plan{
		Commands: []deploy.Command{{Name: "web: reload", Argv: []string{"systemctl", "reload", "nginx"}}},
	}}}
	for trusted, want := range map[bool]string{true: "systemctl reload nginx", false: "What it would run is shown to those who log in"} {
		v := fine("shop")
		for _, content := range []page.Content{page.Certificate{View: v, Plans: plans, Trusted: trusted}, page.Actions{Plans: plans, Trusted: trusted}} {
			got := text(render(t, content))
			if !strings.Contains(got, want) || !strings.Contains(got, "redeploy of shop waits for approval") || strings.Contains(got, "systemctl") != trusted {
				t.Errorf("trusted %t: %s", trusted, got)
			}
		}
	}
}

func TestStepsSayWhatIsNotDone(t *testing.T) {
	for _, row := range []struct {
		about string
		mode  certmedic.Mode
		allow []certmedic.ActionKind
		want  string
	}{
		{"an observer does nothing", certmedic.ModeObserve, []certmedic.ActionKind{"redeploy"}, "redeploy in 5 min (not done: mode observe)"},
		{"what is not allowed is not done", certmedic.ModeAuto, nil, "redeploy in 5 min (not done: not allowed)"},
		{"a plan is only shown", certmedic.ModePlan, []certmedic.ActionKind{"redeploy"}, "redeploy in 5 min (only shown: mode plan)"},
		{"a person is asked before", certmedic.ModeApprove, []certmedic.ActionKind{"redeploy"}, "redeploy in 5 min (after approval)"},
		{"what is allowed is done", certmedic.ModeAuto, []certmedic.ActionKind{"redeploy"}, "redeploy in 5 min , renew once its condition holds"},
	} {
		v := stuck("shop")
		v.Mode, v.Certs.Allow = row.mode, row.allow
		v.Incidents[0].NextStep = fmt.Sprintf("redeploy at %s, renew once its condition holds", now().Add(5*time.Minute).Format(time.RFC3339))
		if got := text(render(t, page.Fleet{Views: []watchdog.View{v}})); !strings.Contains(got, row.want) {
			t.Errorf("%s: no %q in %s", row.about, row.want, got)
		}
	}
}
