package page_test

import (
	"bytes"
	"html"
	"math"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/page"
)

func now() time.Time { return time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC) }

const (
	oldLeaf = certmedic.Fingerprint("0a1b2c3d4e5f0a1b2c3d4e5f0a1b2c3d4e5f0a1b2c3d4e5f0a1b2c3d4e5f0a1b")
	newLeaf = certmedic.Fingerprint("9f8e7d6c5b4a9f8e7d6c5b4a9f8e7d6c5b4a9f8e7d6c5b4a9f8e7d6c5b4a9f8e")
)

// leaf is a certificate of 90 days with some of them left.
func leaf(id certmedic.Fingerprint, left int) certmedic.CertFacts {
	end := now().AddDate(0, 0, left)
	return certmedic.CertFacts{Subject: "CN=shop.example.com", SHA256: id, NotBefore: end.AddDate(0, 0, -90), NotAfter: end}
}

// address is an address that serves a leaf, beside what is stored.
func address(at string, served certmedic.CertFacts, stored certmedic.Fingerprint) watchdog.AddressView {
	same := served.SHA256 == stored
	return watchdog.AddressView{
		AddressObservation: certmedic.AddressObservation{Address: at, Stage: certmedic.ProbeDone, Chain: []certmedic.CertFacts{served}},
		Bound:              true, MatchesStored: &same,
	}
}

// fine is a certificate that is served everywhere.
func fine(name string) watchdog.View {
	stored := leaf(newLeaf, 71)
	return watchdog.View{
		Leaf: stored,
		Name: name, Status: certmedic.StatusOK, Stage: certmedic.StageServed, Mode: certmedic.ModeAuto, Source: certmedic.SourceCertbot,
		Stored: &watchdog.StoredView{
			Path: "/etc/letsencrypt/live/" + name + "/cert.pem", Version: "7",
			Since: now().AddDate(0, 0, -19), Chain: []certmedic.CertFacts{stored},
		},
		Endpoints: []watchdog.EndpointView{{
			Address: name + ":443", Protocol: "tls", Time: now().Add(-4 * time.Second),
			Addresses: []watchdog.AddressView{address("192.0.2.10:443", stored, newLeaf), address("[2001:db8::10]:443", stored, newLeaf)},
		}},
	}
}

// stuck is a certificate whose deploy hook failed.
func stuck(name string) watchdog.View {
	v := fine(name)
	since := now().Add(-40 * time.Second)
	v.Status, v.Stage, v.Drift = certmedic.StatusWarning, certmedic.StageStored, &since
	v.Labels, v.Leaf = map[string]string{"team": "payments"}, leaf(oldLeaf, 21)
	v.Endpoints[0].Addresses = []watchdog.AddressView{
		address("192.0.2.10:443", leaf(oldLeaf, 21), newLeaf), address("[2001:db8::10]:443", leaf(oldLeaf, 21), newLeaf),
	}
	v.Incidents = []certmedic.Incident{{
		ID: "i1", Rule: "renewed-not-served", State: certmedic.StateFiring, Severity: certmedic.SeverityWarning,
		Subject:   certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: name},
		Summary:   name + " was renewed, but the old version is still served",
		Reason:    "drift",
		Evidence:  []certmedic.Evidence{{Source: name + ":443", Line: "serves 0a1b2c3d4e5f until 2026-04-04, the source holds 9f8e7d6c5b4a until 2026-05-24"}, {Source: "/etc/hooks/reload", Line: "exit code 3"}},
		PendingAt: since, FiringAt: since.Add(2 * time.Second), NextStep: "notify at 2026-03-14T09:36:15Z", Runbook: "renewed-not-served",
	}}
	a := failedAction(name)
	v.Action = &a
	return v
}

// failedAction is a redeploy whose hook failed, and said something about it.
func failedAction(name string) certmedic.Action {
	return certmedic.Action{
		ID: "a1", Certificate: name, Kind: certmedic.ActionRedeploy, By: "renewed-not-served", Attempt: 2,
		StartedAt: now().Add(-20 * time.Second), EndedAt: now().Add(-18 * time.Second),
		Outcome: certmedic.Outcome{Kind: certmedic.OutcomeFailed, Reason: "exited", Detail: `"/etc/hooks/reload" ended with exit code 3`},
		Runs: []certmedic.Run{{
			Name: "/etc/hooks/reload", Result: certmedic.RunExited, ExitCode: 3,
		}},
	}
}

func render(t *testing.T, c page.Content) string {
	t.Helper()
	var b bytes.Buffer
	if err := page.Render(&b, page.Frame{Version: "test", Now: now(), Self: &url.URL{Path: "/"}}, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// of is the page about a certificate.
func of(v watchdog.View) page.Certificate { return page.Certificate{View: v} }

var tags = regexp.MustCompile(`<[^>]*>`)

// text is what a reader of the page sees, with single blanks.
func text(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(page, " "))), " ")
}

func TestRender(t *testing.T) {
	at := func(change func(*watchdog.View)) page.Content {
		v := stuck("shop.example.com")
		change(&v)
		return of(v)
	}
	for _, row := range []struct {
		about string
		data  page.Content
		want  []string
		not   []string
	}{
		{
			"nothing configured says how to begin",
			page.Fleet{},
			[]string{"Nothing is watched yet", "No certificates are configured", "certmedic config init"},
			[]string{"At risk", "Search"},
		},
		{
			"a fleet that is fine says so, without an alarm",
			page.Fleet{Views: []watchdog.View{fine("shop.example.com")}},
			[]string{"The certificate is fine", "1 fine", "shop.example.com mode auto · certbot lineage", "in 71 d", "78 %"},
			[]string{"At risk", "stopped"},
		},
		{
			"a fleet shows what is at risk, where it is stuck, and what is done next",
			page.Fleet{Views: []watchdog.View{fine("a.example.com"), stuck("shop.example.com")}},
			[]string{
				"1 of 2 needs attention", "1 warning", "1 fine", "At risk", "stored , stopped here", "the new version is stored, but not served",
				"0a1b2c3d4e5f is served at 2 places, ends in 21 d", "was renewed, but the old version is still served , firing 38 s ago",
				"Next: notify in 9 min", "Last action: redeploy, failed 20 s ago", "stopped after stored",
			},
			nil,
		},
		{
			"a fine certificate shows what is stored and what is served",
			of(fine("shop.example.com")),
			[]string{
				"shop.example.com fine", "served , reached", "9f8e7d6c5b4a", "in 71 d", "78 %", "serves what is stored", "mode auto · certbot lineage",
				"version 7", "2 of 2 places", "allowed: nothing", "CN=shop.example.com", "Which place has which version",
			},
			[]string{"stopped here", "not reached", "What is wrong"},
		},
		{
			"the stage where the newest version stopped is named, with what it means", at(func(*watchdog.View) {}),
			[]string{
				"shop.example.com warning", "stored , stopped here", "deployed , not reached", "the new version is stored, but not served",
				"serves another version", "0a1b2c3d4e5f", "team=payments", "renewed-not-served · warning · firing", "Next: notify in 9 min", "runbook renewed-not-served",
				"0 of 2 places",
			},
			nil,
		},
		{
			"an incident says its cause, with the fix as it is to be pasted", at(func(v *watchdog.View) {
				v.Incidents[0].Cause, v.Incidents[0].CauseSummary = certmedic.CauseHookFailed, "The deploy hook \"<b>\" failed."
				v.Incidents[0].Fix = "# mend it, then\ncertmedic redeploy shop && echo '<b>'"
			}),
			[]string{"Cause: The deploy hook \"<b>\" failed (hook_failed)", "# mend it, then certmedic redeploy shop && echo '<b>'"},
			nil,
		},
		{
			"an incident without a diagnosis claims no cause", at(func(*watchdog.View) {}),
			nil,
			[]string{"Cause:"},
		},
		{
			"a version that some addresses serve stopped after loaded", at(func(v *watchdog.View) { v.Stage = certmedic.StageLoaded }),
			[]string{"loaded , stopped here", "deployed , reached", "some addresses serve the new version"},
			nil,
		},
		{
			"a version that was installed stopped after deployed", at(func(v *watchdog.View) { v.Stage = certmedic.StageDeployed }),
			[]string{"deployed , stopped here", "It was not reloaded"},
			nil,
		},
		{
			"a deployment under way is no fault, and names who holds the lock", at(func(v *watchdog.View) {
				v.Stage, v.Status, v.Incidents = certmedic.StageDeploying, certmedic.StatusOK, nil
				v.Lock = certmedic.Lock{State: certmedic.LockHeld, PID: 4711, Path: "/var/lib/letsencrypt/.certbot.lock"}
			}),
			[]string{"shop.example.com deploying", "deployed , under way", "Process 4711 holds"},
			[]string{"stopped here"},
		},
		{
			"a version that was stored a moment ago is not called stuck", at(func(v *watchdog.View) { v.Drift, v.Incidents = nil, nil }),
			[]string{"not seen everywhere yet"},
			[]string{"stopped here"},
		},
		{
			"without endpoints nothing is claimed about what is served", at(func(v *watchdog.View) { v.Endpoints = nil }),
			[]string{"No endpoint is configured"},
			[]string{"serves another version", "places"},
		},
		{
			"a source that cannot be read has an unknown way", at(func(v *watchdog.View) { v.Stage, v.Stored, v.Drift = certmedic.StageUnknown, nil, nil }),
			[]string{"The source holds no version that can be read", "served , not known"},
			nil,
		},
		{
			"an address that is gone shows what it served last", at(func(v *watchdog.View) {
				last := leaf(oldLeaf, 3)
				v.Endpoints[0].Addresses = []watchdog.AddressView{{
					AddressObservation: certmedic.AddressObservation{Address: "192.0.2.10:443", Error: &certmedic.ProbeError{Reason: certmedic.Timeout, Detail: "no answer in 10s"}},
					LastSeen:           &last,
				}}
			}),
			[]string{"presents no certificate: no answer in 10s; this is what it served last", "in 3 d", "3 %", "served last"},
			nil,
		},
		{
			"an address that is not ours says that it is only watched", at(func(v *watchdog.View) { v.Endpoints[0].Addresses[0].Bound = false }),
			[]string{"only watched"},
			nil,
		},
		{
			"what belongs to others has no way, because nothing stored is known", at(func(v *watchdog.View) {
				v.Watched, v.Source, v.Stored, v.Stage, v.Drift = true, certmedic.SourceNone, nil, certmedic.StageUnknown, nil
			}),
			[]string{"watched only"},
			[]string{"not known", "stopped here", "allowed:"},
		},
		{
			"findings are explained, worst first", at(func(v *watchdog.View) {
				v.Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.FilePermissions, "0666")}
				v.Endpoints[0].Addresses[1].Findings = []certmedic.Finding{certmedic.NewFinding(certmedic.Expired, "ended 2026-03-01")}
			}),
			[]string{"expired its validity is over, clients refuse it shop.example.com:443 at [2001:db8::10]:443: ended 2026-03-01 file_permissions"},
			nil,
		},
		{
			"a failed command says how it ended",
			page.Actions{Actions: []certmedic.Action{failedAction("shop.example.com")}},
			[]string{"\"/etc/hooks/reload\" ended with exit code 3", "redeploy shop.example.com", "failed", "2.0 s"},
			nil,
		},
		{
			"what certmedic itself cannot do stands above everything",
			page.Fleet{Degraded: []string{"nobody could be told for 12 min"}, Views: []watchdog.View{fine("shop.example.com")}},
			[]string{"certmedic itself nobody could be told for 12 min Certificates"},
			nil,
		},
		{
			"a refusal says why",
			page.Actions{Actions: []certmedic.Action{{
				Kind: certmedic.ActionRedeploy, Certificate: "shop", Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: "frozen", Detail: "the freeze file exists"},
			}}},
			[]string{"refused redeploy shop the freeze file exists"},
			nil,
		},
		{
			"an incident that ended says how long it lasted",
			page.Incidents{Incidents: []certmedic.Incident{{
				ID: "i0", Rule: "unreachable", State: certmedic.StateResolved, Subject: certmedic.Subject{Kind: certmedic.AboutEndpoint, Endpoint: "mail:465"},
				PendingAt: now().Add(-time.Hour), EndedAt: now().Add(-30 * time.Minute),
			}}},
			[]string{"resolved unreachable", "mail:465", "30 min", "Nothing is wrong that a rule tells of"},
			nil,
		},
	} {
		t.Run(row.about, func(t *testing.T) { says(t, text(render(t, row.data)), row.want, row.not) })
	}
}

// says holds a text to what it has to say and must not.
func says(t *testing.T, got string, want, not []string) {
	t.Helper()
	got = strings.ReplaceAll(got, "\u202f", " ")
	for _, one := range want {
		if !strings.Contains(got, one) {
			t.Errorf("no %q in %s", one, got)
		}
	}
	for _, one := range not {
		if strings.Contains(got, one) {
			t.Errorf("%q in %s", one, got)
		}
	}
}

func TestEveryFindingIsExplained(t *testing.T) {
	v := fine("shop")
	for _, code := range certmedic.FindingCodes() {
		v.Findings = []certmedic.Finding{certmedic.NewFinding(code, "the detail")}
		_, explained, _ := strings.Cut(text(render(t, of(v))), string(code)+" ")
		if strings.HasPrefix(explained, "in the source") {
			t.Errorf("%s has no explanation", code)
		}
	}
}

// TestContrast computes the contrast of every colour that text has on both grounds, in both
// schemes: at least 4.5, as WCAG 2.2 demands for level AA.
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("../assets/files/style.css")
	if err != nil {
		t.Fatal(err)
	}
	schemes := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(css), -1)
	if len(schemes) != 2 {
		t.Fatalf("%d colour schemes", len(schemes))
	}
	for i, scheme := range schemes {
		colours := map[string]float64{}
		for _, c := range regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6})`).FindAllStringSubmatch(scheme[1], -1) {
			colours[c[1]] = luminance(t, c[2])
		}
		for _, ground := range []string{"ground", "card"} {
			for _, ink := range []string{"ink", "quiet", "ok", "warning", "critical", "unknown", "busy"} {
				lighter, darker := max(colours[ground], colours[ink]), min(colours[ground], colours[ink])
				if contrast := (lighter + 0.05) / (darker + 0.05); contrast < 4.5 {
					t.Errorf("scheme %d: %s on %s has a contrast of %.2f", i, ink, ground, contrast)
				}
			}
		}
	}
}

// luminance is the relative luminance of an sRGB colour, as WCAG 2.2 defines it.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		channel := float64(n) / 255
		if channel <= 0.04045 {
			channel /= 12.92
		} else {
			channel = math.Pow((channel+0.055)/1.055, 2.4)
		}
		sum += weight * channel
	}
	return sum
}
