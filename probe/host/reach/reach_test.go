package reach

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// names is a DNS in which each name has one address.
func names(addresses ...string) func(context.Context, string) ([]string, error) {
	return func(_ context.Context, name string) ([]string, error) {
		if strings.HasPrefix(name, "gone.") {
			return nil, errors.New("no such host")
		}
		return addresses, nil
	}
}

// site serves with a handler, and returns host:port.
func site(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func closed(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func to(location string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, location, http.StatusFound) }
}

func only(t *testing.T, a Answers) Answer {
	t.Helper()
	if len(a.All) != 1 {
		t.Fatalf("there are %d answers: %+v", len(a.All), a.All)
	}
	return a.All[0]
}

func TestPort80(t *testing.T) {
	other := site(t, status(http.StatusNotFound))
	for _, row := range []struct {
		about, at string
		want      certmedic.Cause
		line      string
	}{
		{"not found is fine without a token", site(t, status(404)), certmedic.CauseNone, "status 404; no token was placed"},
		{"a page for everything is not proof of anything", site(t, status(200)), certmedic.CauseNone, "status 200; no token was placed"},
		{"a wall", site(t, status(403)), certmedic.CauseChallengeUnauthorized, "status 403"},
		{"a server that is broken", site(t, status(503)), certmedic.CauseChallengeUnauthorized, "status 503"},
		{"nothing listens", closed(t), certmedic.CauseChallengeRefused, "refused"},
		{"a redirect that a CA follows", site(t, to("http://other.test/there")), certmedic.CauseNone, "after a redirect to http://other.test"},
		{"a redirect to a port that it does not follow", site(t, to("http://other.test:8080/")), certmedic.CauseChallengeUnauthorized, "redirects to port 8080"},
		{"a redirect to what is no web", site(t, to("ftp://other.test/")), certmedic.CauseChallengeUnauthorized, "redirects to"},
		{"a redirect in a circle", site(t, to("http://shop.test/again")), certmedic.CauseChallengeUnauthorized, "more than 10 redirects"},
	} {
		m := Means{Lookup: names("127.0.0.1"), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == "127.0.0.1:80" {
				address = other // where redirects lead
				if row.about == "a redirect in a circle" {
					address = row.at
				}
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
		a := only(t, Try(t.Context(), m, Question{Names: []string{"shop.test"}, Challenge: "http-01", Local: row.at}))
		if a.Cause != row.want || !strings.Contains(a.Evidence.Line, row.line) || a.Name != "shop.test" || (a.Fix == "") != (row.want == certmedic.CauseNone) {
			t.Errorf("%s: %+v", row.about, a)
		}
	}
}

func TestAnAddressThatSaysNothing(t *testing.T) {
	release := make(chan struct{})
	slow := site(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	a := only(t, Try(ctx, Means{Lookup: names("127.0.0.1")}, Question{Names: []string{"shop.test"}, Challenge: "http-01", Local: slow}))
	if a.Cause != certmedic.CauseChallengeTimeout {
		t.Errorf("%+v", a)
	}
}

func TestTheToken(t *testing.T) {
	root, elsewhere := t.TempDir(), t.TempDir()
	q := func(at string) Question {
		return Question{Names: []string{"shop.test"}, Challenge: "http-01", Webroots: map[string]string{"shop.test": root}, Place: true, Local: at}
	}
	serve := func(dir string) string { return site(t, http.FileServer(http.Dir(dir)).ServeHTTP) }
	if a := only(t, Try(t.Context(), Means{Lookup: names("127.0.0.1")}, q(serve(root)))); a.Cause != certmedic.CauseNone || !strings.Contains(a.Evidence.Line, "came back") {
		t.Errorf("the right webroot: %+v", a)
	}
	if a := only(t, Try(t.Context(), Means{Lookup: names("127.0.0.1")}, q(serve(elsewhere)))); a.Cause != certmedic.CauseChallenge404 || !strings.Contains(a.Evidence.Line, "did not come back") {
		t.Errorf("another webroot: %+v", a)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("%d entries are left in the webroot, %v", len(left), err)
	}
	q1 := q(serve(root))
	q1.Place = false
	Try(t.Context(), Means{Lookup: names("127.0.0.1")}, q1)
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("without leave, %d entries were written, %v", len(left), err)
	}

	if err := os.MkdirAll(filepath.Join(root, challengeDir), 0o755); err != nil {
		t.Fatal(err)
	}
	Try(t.Context(), Means{Lookup: names("127.0.0.1")}, q(serve(root)))
	if left, err := os.ReadDir(filepath.Join(root, challengeDir)); err != nil || len(left) > 0 {
		t.Errorf("the folder that was there: %d entries, %v", len(left), err)
	}

	if err := os.RemoveAll(filepath.Join(root, ".well-known")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(root, ".well-known")); err != nil {
		t.Fatal(err)
	}
	a := only(t, Try(t.Context(), Means{Lookup: names("127.0.0.1")}, q(serve(root))))
	if a.Cause != certmedic.CauseChallenge404 || !strings.Contains(a.Evidence.Line, "placing a token") {
		t.Errorf("a webroot that leads elsewhere: %+v", a)
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) > 0 {
		t.Errorf("a link was followed: %d entries, %v", len(left), err)
	}
}

func TestNames(t *testing.T) {
	caa := func(_ context.Context, name string, _ bool) (string, error) {
		if name == "other.test" {
			return `CAA of "other.test" allows only "example.net"`, nil
		}
		return "", nil
	}
	for _, row := range []struct {
		about, name, challenge string
		want                   []certmedic.Cause
	}{
		{"a name that is gone", "gone.test", "http-01", []certmedic.Cause{certmedic.CauseDNSFailed}},
		{"a wildcard needs a DNS record", "*.shop.test", "http-01", []certmedic.Cause{certmedic.CauseChallengeUnauthorized}},
		{"a wildcard that has one", "*.shop.test", "dns-01", nil},
		{"a name for which there is no web", "gone.test", "dns-01", nil},
		{"another CA", "other.test", "dns-01", []certmedic.Cause{certmedic.CauseCAAForbids}},
		{"an unknown way", "shop.test", "", []certmedic.Cause{certmedic.CauseNone}},
		{"an address", "192.0.2.1", "http-01", nil},
	} {
		a := Try(t.Context(), Means{Lookup: names("127.0.0.1"), CAA: caa}, Question{Names: []string{row.name}, Challenge: row.challenge})
		var got []certmedic.Cause
		for _, one := range a.All {
			got = append(got, one.Cause)
		}
		if len(got) != len(row.want) || len(got) > 0 && got[0] != row.want[0] {
			t.Errorf("%s: %v, want %v", row.about, got, row.want)
		}
	}
}

func TestTheCA(t *testing.T) {
	date := func(d time.Duration, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(d).UTC().Format(http.TimeFormat))
			_, _ = w.Write([]byte(body))
		}
	}
	const directory = `{"newOrder": "https://ca.test/o"}`
	for _, row := range []struct {
		about, at string
		want      certmedic.Cause
		skew      time.Duration
	}{
		{"it answers", site(t, date(0, directory)), certmedic.CauseNone, 0},
		{"this clock is an hour ahead", site(t, date(-time.Hour, directory)), certmedic.CauseNone, time.Hour},
		{"it is down", closed(t), certmedic.CauseCAUnreachable, 0},
		{"it is out of order", site(t, status(503)), certmedic.CauseCAUnreachable, 0},
		{"it is a portal", site(t, date(0, "<html>log in</html>")), certmedic.CauseCAUnreachable, 0},
	} {
		a := Try(t.Context(), Means{Client: http.DefaultClient}, Question{Directory: "http://" + row.at + "/dir"})
		if one := only(t, a); one.Cause != row.want || one.Name != "" || (a.Skew-row.skew).Abs() > 5*time.Second || a.Skewed != (row.want == certmedic.CauseNone) {
			t.Errorf("%s: %+v", row.about, a)
		}
	}
}

func TestRedirectsIntoTheCloudAreNotFollowed(t *testing.T) {
	at := site(t, to("http://169.254.169.254/latest/meta-data/"))
	a := only(t, Try(t.Context(), Means{Lookup: names("127.0.0.1")}, Question{Names: []string{"shop.test"}, Challenge: "http-01", Local: at}))
	if !strings.Contains(a.Evidence.Line, "of this kind are not asked") {
		t.Errorf("%+v", a)
	}
}
