package web_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/page"
)

// village is a daemon with certificates whose names are hard to lead to.
type village struct{ backend }

func names() []string {
	return []string{"shop", "a b?c#d", "/etc/ssl/ca/*.pem", "api.partner.com:443", "100%25", "é\"<script>"}
}

func (v *village) Status() api.Status {
	s := v.backend.Status()
	s.Certificates = nil
	for _, name := range names() {
		end := time.Now().Add(48 * time.Hour)
		one := watchdog.View{
			Name: name, Status: certmedic.StatusWarning, Stage: certmedic.StageStored, Source: certmedic.SourceCertbot, Mode: certmedic.ModeAuto,
			Labels: map[string]string{"team": "a&b"}, Leaf: certmedic.CertFacts{SHA256: "ab", NotBefore: end.AddDate(0, 0, -90), NotAfter: end},
			Incidents: []certmedic.Incident{villageIncident(name)}, Renewal: &watchdog.RenewalView{Due: end},
		}
		s.Certificates = append(s.Certificates, one)
	}
	s.Receivers = []api.Receiver{{Name: "ops", Kind: "slack", Why: secret, Failing: true}}
	return s
}

func villageIncident(name string) certmedic.Incident {
	in := incident()
	in.ID, in.Summary, in.Runbook = "hook-failed/"+name+"/1", name+" is stuck", "hook-failed"
	in.Subject = certmedic.Subject{Kind: certmedic.AboutCertificate, Certificate: name}
	in.PendingAt, in.FiringAt = time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)
	return in
}

func (v *village) Incidents(certificate string, _ int) ([]certmedic.Incident, error) {
	all := []certmedic.Incident{}
	for _, name := range names() {
		if certificate == "" || certificate == name {
			all = append(all, villageIncident(name))
		}
	}
	return all, v.fail
}

func (v *village) History(string, int) ([]certmedic.Action, error) {
	a := action()
	a.ID, a.StartedAt, a.EndedAt = "20260314T092633.1-ab", time.Now().Add(-time.Minute), time.Now()
	return []certmedic.Action{a}, v.fail
}

func (v *village) Rules() []api.Rule {
	return []api.Rule{{Name: "hook-failed", Runbook: "hook-failed", Severity: certmedic.SeverityWarning}}
}

// visit asks for a page, with a login where a user is named.
func visit(v *village, target, user string) *httptest.ResponseRecorder {
	return visitAt(newServerOf(v, &v.backend, user != "").Public(), target, user)
}

func visitAt(h http.Handler, target, user string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if user != "" {
		r.SetBasicAuth(user, "checked by what is in front")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestEveryLinkLeadsSomewhere begins at the first page and follows every link within the server.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	v := &village{}
	public := newServerOf(v, &v.backend, false).Public()
	seen, queue := map[string]bool{}, []string{"/"}
	for len(queue) > 0 {
		target := queue[0]
		queue = queue[1:]
		if seen[target] || len(seen) > 2000 {
			continue
		}
		seen[target] = true
		w := visitAt(public, target, "")
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", target, w.Code)
			continue
		}
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s shows what a hook wrote", target)
		}
		if !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			continue
		}
		if w.Header().Get("Content-Security-Policy") != page.ContentSecurityPolicy || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: header %v", target, w.Header())
		}
		queue = append(queue, links(t, w.Body)...)
	}
	var incidents, certificates int
	for target := range seen {
		if strings.HasPrefix(target, "/incidents/") {
			incidents++
		}
		if strings.HasPrefix(target, "/certificates/") && !strings.Contains(target, "still") {
			certificates++
		}
	}
	if certificates != len(names()) || incidents < len(names()) || !seen["/runbooks/hook-failed"] || !seen["/actions/20260314T092633.1-ab"] {
		t.Errorf("of %d pages %d are of certificates and %d of incidents", len(seen), certificates, incidents)
	}
}

// links returns where a page leads to within the server.
func links(t *testing.T, body io.Reader) []string {
	t.Helper()
	root, err := html.Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for n := range root.Descendants() {
		for _, a := range n.Attr {
			if a.Key != "href" && a.Key != "src" && a.Key != "hx-get" {
				continue
			}
			u, err := url.Parse(a.Val)
			if err != nil {
				t.Errorf("a link to %q: %v", a.Val, err)
			} else if u.Host == "" && u.Path != "" {
				u.Fragment = ""
				all = append(all, u.String())
			}
		}
	}
	return all
}

func TestPagesThatAreNotThere(t *testing.T) {
	for _, target := range []string{"/nothing", "/certificates/nobody", "/incidents/none", "/actions/none", "/runbooks/none", "/runbooks/..%2f..%2fREADME"} {
		w := visit(&village{}, target, "")
		if w.Code != http.StatusNotFound || !strings.Contains(w.Body.String(), "There is no such page") || w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	broken := &village{}
	broken.fail = http.ErrServerClosed
	if w := visit(broken, "/actions", ""); w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "Server closed") {
		t.Errorf("a page that cannot be shown: %d %s", w.Code, w.Body)
	}
}

func TestPagesAreOnlyRead(t *testing.T) {
	v := &village{}
	s := newServerOf(v, &v.backend, true)
	for _, target := range []string{"/", "/incidents", "/certificates/shop", "/watchdog", "/assets/style.css"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
			if w := ask(s, method, target); w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, target, w.Code)
			}
		}
		if w := ask(s, http.MethodHead, target); w.Code != http.StatusOK || w.Body.Len() != 0 {
			t.Errorf("HEAD %s: %d with %d bytes", target, w.Code, w.Body.Len())
		}
	}
}

func TestOutputIsForThoseWhoLoggedIn(t *testing.T) {
	for _, target := range []string{"/actions/20260314T092633.1-ab", "/incidents/" + url.PathEscape("hook-failed/shop/1"), "/receivers"} {
		if w := visit(&village{}, target, ""); w.Code != 200 || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s shows to everybody what was written: %d", target, w.Code)
		}
		if w := visit(&village{}, target, "ann"); w.Code != 200 || !strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s does not show it to who logged in: %d", target, w.Code)
		}
	}
	// A name without a listener that asks for a login is only a claim.
	r := httptest.NewRequest(http.MethodGet, "/actions/20260314T092633.1-ab", nil)
	r.SetBasicAuth("mallory", "anything")
	w, v := httptest.NewRecorder(), &village{}
	newServerOf(v, &v.backend, false).Public().ServeHTTP(w, r)
	if w.Code != 200 || strings.Contains(w.Body.String(), secret) {
		t.Error("who claims to be somebody is shown what was written")
	}
}

func TestPagesArePackedForThoseWhoTakeThat(t *testing.T) {
	v := &village{}
	s := newServerOf(v, &v.backend, false)
	plain, packed := ask(s, http.MethodGet, "/runbooks"), ask(s, http.MethodGet, "/runbooks", "Accept-Encoding", "gzip, br")
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(z)
	if err != nil || len(got) == 0 || !slices.Contains(packed.Header().Values("Vary"), "Accept-Encoding") || plain.Header().Get("Content-Encoding") != "" {
		t.Errorf("%d bytes, %v, %v", len(got), err, packed.Header())
	}
}
