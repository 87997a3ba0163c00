package page_test

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
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
	v.Labels = map[string]string{"team": "payments"}
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

func render(t *testing.T, d page.Data) string {
	t.Helper()
	d.Now, d.Version = now(), "test"
	var b bytes.Buffer
	if err := page.Render(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var tags = regexp.MustCompile(`<[^>]*>`)

// text is what a reader of the page sees, with single blanks.
func text(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(page, " "))), " ")
}

func TestRender(t *testing.T) {
	at := func(change func(*watchdog.View)) page.Data {
		v := stuck("shop.example.com")
		change(&v)
		return page.Data{Views: []watchdog.View{v}}
	}
	for _, row := range []struct {
		about string
		data  page.Data
		want  []string
		not   []string
	}{
		{
			"nothing configured says how to begin",
			page.Data{},
			[]string{"Nothing is watched yet", "No certificates are configured", "certmedic config init"},
			[]string{"Last actions", "Other incidents"},
		},
		{
			"a fine certificate shows what is stored and what is served",
			page.Data{Views: []watchdog.View{fine("shop.example.com")}},
			[]string{"The certificate is fine", "shop.example.com fine", "served , reached", "9f8e7d6c5b4a", "in 71 d", "78 %", "serves what is stored", "mode auto · certbot lineage"},
			[]string{"stopped here", "not reached"},
		},
		{
			"the stage where the newest version stopped is named, with what it means", at(func(*watchdog.View) {}),
			[]string{
				"1 of 1 needs attention", "stored , stopped here", "deployed , not reached", "the new version is stored, but not served",
				"serves another version", "0a1b2c3d4e5f", "team=payments", "renewed-not-served · warning · firing", "Next: notify at", "runbook renewed-not-served",
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
			[]string{"1 being deployed", "shop.example.com deploying", "deployed , under way", "Process 4711 holds"},
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
			[]string{"serves another version"},
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
			[]string{"presents no certificate: no answer in 10s; this is what it served last", "in 3 d", "3 %"},
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
			[]string{"not known", "stopped here"},
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
			page.Data{
				Views: []watchdog.View{stuck("shop.example.com")}, Actions: []certmedic.Action{failedAction("shop.example.com")},
			},
			[]string{"\"/etc/hooks/reload\" ended with exit code 3", "redeploy shop.example.com", "failed", "2.0 s"},
			nil,
		},
		{
			"what certmedic itself cannot do stands above everything",
			page.Data{
				Degraded: []string{"nobody could be told for 12 min"}, Views: []watchdog.View{fine("shop.example.com")},
			},
			[]string{"certmedic itself nobody could be told for 12 min Certificates"},
			nil,
		},
		{
			"a refusal says why",
			page.Data{Actions: []certmedic.Action{{
				Kind: certmedic.ActionRedeploy, Certificate: "shop", Outcome: certmedic.Outcome{Kind: certmedic.OutcomeRefused, Reason: "frozen", Detail: "the freeze file exists"},
			}}},
			[]string{"refused redeploy shop the freeze file exists"},
			nil,
		},
		{
			"an incident that ended says how long it lasted",
			page.Data{Incidents: []certmedic.Incident{{
				ID: "i0", Rule: "unreachable", State: certmedic.StateResolved, Subject: certmedic.Subject{Kind: certmedic.AboutEndpoint, Endpoint: "mail:465"},
				PendingAt: now().Add(-time.Hour), EndedAt: now().Add(-30 * time.Minute),
			}}},
			[]string{"resolved unreachable", "mail:465", "30 min"},
			nil,
		},
	} {
		t.Run(row.about, func(t *testing.T) {
			got := text(render(t, row.data))
			for _, want := range row.want {
				if !strings.Contains(strings.ReplaceAll(got, "\u202f", " "), want) {
					t.Errorf("no %q in %s", want, got)
				}
			}
			for _, not := range row.not {
				if strings.Contains(got, not) {
					t.Errorf("%q in %s", not, got)
				}
			}
		})
	}
}

func TestHostileStrings(t *testing.T) {
	hostile := "\"><script>alert(1)</script>\x1b[2J\x00\u202egnp.exe\xff"
	v := stuck(hostile)
	v.Labels = map[string]string{hostile: hostile}
	v.Incidents[0].Runbook = "javascript:alert(1)"
	v.Findings = []certmedic.Finding{{Code: certmedic.FindingCode(hostile), Severity: certmedic.Severity(hostile), Detail: hostile}}
	v.Endpoints[0].Address = hostile
	v.Stored.Chain[0].SHA256 = certmedic.Fingerprint(hostile)
	a := failedAction(hostile)
	a.By, a.Outcome.Detail, a.Runs = hostile, hostile, nil
	got := render(t, page.Data{Views: []watchdog.View{v}, Actions: []certmedic.Action{a}, Incidents: v.Incidents})
	for _, bad := range []string{"<script", "\x1b", "\x00", "\u202e", "\xff", `href="javascript`} {
		if strings.Contains(got, bad) {
			t.Errorf("%q reached the page", bad)
		}
	}
	if !strings.Contains(got, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the hostile name is not shown at all")
	}
}

// TestPolicy holds the page to its own policy: nothing inline, nothing from elsewhere.
func TestPolicy(t *testing.T) {
	got := render(t, page.Data{Views: []watchdog.View{stuck("a"), fine("b")}, Actions: []certmedic.Action{failedAction("a")}})
	for _, bad := range []string{"<script", "<style", " style=", " onclick", `src="`, "<iframe", "<form"} {
		if strings.Contains(got, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, match := range regexp.MustCompile(`(?:href|action)="([^"]*)"`).FindAllStringSubmatch(got, -1) {
		if !strings.HasPrefix(match[1], "/") && !strings.HasPrefix(match[1], "#") {
			t.Errorf("the page leads to %q", match[1])
		}
	}
}

func TestStructure(t *testing.T) {
	got := render(t, page.Data{Views: []watchdog.View{stuck("a"), fine("b")}, Actions: []certmedic.Action{failedAction("a")}})
	for _, want := range []string{`<html lang="en">`, "<main>", "<footer>", "<nav aria-label=", `<th scope="col">`, `<th scope="row">`, `http-equiv="refresh"`, `name="viewport"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	last := 0
	for _, match := range regexp.MustCompile(`<h([1-6])`).FindAllStringSubmatch(got, -1) {
		level, _ := strconv.Atoi(match[1])
		if level > last+1 {
			t.Errorf("a heading of level %d follows one of level %d", level, last)
		}
		last = level
	}
	if strings.Contains(render(t, page.Data{Still: true}), "http-equiv") {
		t.Error("a page that is to hold still loads itself again")
	}
}

// TestThousand wants a page of a thousand certificates to stay small, be they fine or not.
func TestThousand(t *testing.T) {
	for _, row := range []struct {
		about string
		make  func(string) watchdog.View
	}{{"all fine", fine}, {"all stuck", stuck}} {
		t.Run(row.about, func(t *testing.T) {
			var d page.Data
			for i := range 1000 {
				d.Views = append(d.Views, row.make(fmt.Sprintf("shop-%03d.example.com", i)))
			}
			began := time.Now()
			got := render(t, d)
			t.Logf("%d bytes in %s", len(got), time.Since(began))
			if len(got) >= 2_000_000 {
				t.Errorf("%d bytes", len(got))
			}
			for _, name := range []string{"shop-000.", "shop-500.", "shop-999."} {
				if !strings.Contains(got, name) {
					t.Errorf("%s is missing", name)
				}
			}
		})
	}
}

func TestEveryFindingIsExplained(t *testing.T) {
	v := fine("shop")
	for _, code := range certmedic.FindingCodes() {
		v.Findings = []certmedic.Finding{certmedic.NewFinding(code, "the detail")}
		_, explained, _ := strings.Cut(text(render(t, page.Data{Views: []watchdog.View{v}})), string(code)+" ")
		if strings.HasPrefix(explained, "in the source") {
			t.Errorf("%s has no explanation", code)
		}
	}
}

func TestAssets(t *testing.T) {
	server := httptest.NewServer(http.StripPrefix("/assets/", page.Assets()))
	defer server.Close()
	for path, want := range map[string]int{"/assets/style.css": 200, "/assets/": 404, "/assets/page.html": 404} {
		response, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: %s", path, response.Status)
		}
		if want == 200 && (len(body) == 0 || response.Header.Get("Content-Type") != "text/css; charset=utf-8") {
			t.Errorf("%s: %d bytes of %s", path, len(body), response.Header.Get("Content-Type"))
		}
	}
}

// TestContrast computes the contrast of every colour that text has on both grounds, in both
// schemes: at least 4.5, as WCAG 2.2 demands for level AA.
func TestContrast(t *testing.T) {
	css, err := os.ReadFile("style.css")
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
