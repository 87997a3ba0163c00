package sd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/sd"
)

func TestParseFile(t *testing.T) {
	want := []sd.Group{
		{Targets: []string{"a.test:443", "smtp://b.test"}, Labels: map[string]string{"team": "x", "__param_module": "tls"}},
		{Targets: []string{"c.test"}},
	}
	for name, text := range map[string]string{
		"t.json": `[{"targets": ["a.test:443", "smtp://b.test"], "labels": {"team": "x", "__param_module": "tls"}}, {"targets": ["c.test"]}]`,
		"t.yml":  "\ufeff# made by hand\n- targets: [\"a.test:443\", 'smtp://b.test']\n  labels:\n    team: x\n    __param_module: tls\n- targets:\n  - c.test\n",
		"t.yaml": `[{"targets": ["a.test:443", "smtp://b.test"], "labels": {"team": "x", "__param_module": "tls"}}, {"targets": ["c.test"]}]`,
	} {
		groups, err := sd.ParseFile(name, []byte(text))
		if err != nil || !reflect.DeepEqual(groups, want) {
			t.Errorf("%s: %+v, %v", name, groups, err)
		}
	}
	for _, name := range []string{"empty.yml", "comment.yml", "list.yml", "list.json"} {
		text := map[string]string{"comment.yml": "# nothing\n", "list.yml": "[]", "list.json": "[]"}[name]
		if groups, err := sd.ParseFile(name, []byte(text)); err != nil || len(groups) != 0 {
			t.Errorf("%s: %+v, %v", name, groups, err)
		}
	}
}

func TestParseFileSaysWhatIsWrong(t *testing.T) {
	for _, row := range []struct{ about, name, text, want string }{
		{"an unknown key in JSON", "t.json", "[{\"targets\": [],\n\"label\": {}}]", `unknown field "label"`},
		{"a target that is a number", "t.json", "[\n\n{\"targets\": [443]}]", `t.json:3: `},
		{"an object in place of the list", "t.json", `{"targets": []}`, "must be a list, not object"},
		{"JSON that breaks off", "t.json", "[\n{\"targets\":\n", "t.json:3: unexpected EOF"},
		{"an empty JSON file", "t.json", "", "t.json:1: there is no list of groups"},
		{"more behind the list", "t.json", "[]\n[]", "there is more behind the list"},
		{"a broken JSON file", "t.json", "[\n}", "t.json:2: invalid character"},
		{"an unknown key in YAML", "t.yml", "- targets: []\n  label: {}\n", `t.yml:2: unknown key "label"`},
		{"a key that is twice there", "t.yml", "- targets: []\n  targets: []\n", `t.yml:2: `},
		{"a mapping in place of the list", "t.yml", "targets: []\n", `t.yml:1: `},
		{"two documents", "t.yml", "[]\n---\n[]\n", `more than one document`},
		{"an alias", "t.yml", "- targets: &a [x]\n- targets: *a\n", `t.yml:1: targets must be a list, not an anchor or alias`},
		{"a merged mapping", "t.yml", "- targets: [x]\n  labels:\n    <<: {a: b}\n", `t.yml:3: the name of a label must be a string, not an anchor or alias`},
		{"a tag", "t.yml", "- targets: !0 ", `t.yml:1: targets must be a list, not a tag`},
		{"a target that is a mapping", "t.yml", "- targets:\n  - a: b\n", `t.yml:2: a target must be a string, not a mapping`},
		{"a label that is null", "t.yml", "- labels:\n    a:\n", `t.yml:2: a label must be a string, not null`},
		{"brackets without end", "t.yml", strings.Repeat("[", 100_000), `stand within each other`},
		{"dashes without end", "t.yml", strings.Repeat("- ", 100_000), `stand within each other`},
		{"broken YAML", "t.yml", "- targets: [a\n- b: c", `t.yml:`},
		{"too much", "t.yml", strings.Repeat("#", 16<<20+1), `larger than 16 MiB`},
		{"too many targets", "t.json", `[{"targets": [` + strings.Repeat(`"a",`, 100_000) + `"a"]}]`, `more than 100000 targets`},
	} {
		groups, err := sd.ParseFile(row.name, []byte(row.text))
		if err == nil || groups != nil || !strings.HasPrefix(err.Error(), row.name+":") || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %d groups, error %v, want %s", row.about, len(groups), err, row.want)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: the error has several lines: %v", row.about, err)
		}
	}
}

// parse takes targets as they are, for tests.
func parse(target string) (certmedic.Endpoint, error) {
	if target == "" || strings.HasPrefix(target, "!") {
		return certmedic.Endpoint{}, fmt.Errorf("target %q: none", target)
	}
	return certmedic.Endpoint{Address: target, Protocol: "tls"}, nil
}

func TestEndpoints(t *testing.T) {
	groups := []sd.Group{
		{
			Targets: []string{"a:1", "!", "b:2"},
			Labels:  map[string]string{"team": "x", "__param_module": "smtp", "__param_hostname": "h", "__server_name": "s", "__meta_x": "y"},
		},
		{Targets: []string{"a:1"}, Labels: map[string]string{"team": "later", "__param_module": "smtp", "__server_name": "h"}},
		{Targets: []string{"a:1", "a:1"}, Labels: map[string]string{"__server_name": "s"}},
		{Targets: []string{"exporter:9115"}, Labels: map[string]string{"__param_target": "c:3"}},
	}
	got, errs := sd.Endpoints(groups, parse)
	labels := map[string]string{"team": "x"}
	want := []certmedic.Endpoint{
		{Address: "a:1", Protocol: "tls", ServerName: "h", Module: "smtp", Labels: map[string]string{"team": "later"}},
		{Address: "a:1", Protocol: "tls", ServerName: "s"},
		{Address: "b:2", Protocol: "tls", ServerName: "h", Module: "smtp", Labels: labels},
		{Address: "c:3", Protocol: "tls"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	slices.Reverse(groups)
	for _, g := range groups {
		slices.Reverse(g.Targets)
	}
	if again, _ := sd.Endpoints(groups, parse); !reflect.DeepEqual(again, want) {
		t.Errorf("in another order they are\n%+v\nand not\n%+v", again, want)
	}
	if len(errs) != 1 || errs[0].Error() != `service discovery: target "!": none` {
		t.Errorf("errors %v", errs)
	}
	if got, errs := sd.Endpoints([]sd.Group{{Targets: make([]string, 100_001)}}, parse); got != nil || len(errs) != 1 {
		t.Errorf("too many targets: %d endpoints, %d errors", len(got), len(errs))
	}
}

func TestFetch(t *testing.T) {
	const good = `[{"targets": ["a:1"]}]`
	for _, row := range []struct{ about, kind, body, want string }{
		{"a list of groups", "application/json", good, ""},
		{"a type with its character set", "application/json; charset=utf-8", good, ""},
		{"another type", "text/html", good, `its Content-Type is "text/html", not application/json`},
		{"another status", "status", good, `it answered "503 Service Unavailable", not 200`},
		{"a mistake", "application/json", "[\n{\"target\": []}]", `line 2: json: unknown field "target"`},
		{"too much", "application/json", strings.Repeat(" ", 16<<20+1), "larger than 16 MiB"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("X-Prometheus-Refresh-Interval-Seconds"); got != "90" || r.Header.Get("Accept") != "application/json" {
				t.Errorf("%s: asked with %v", row.about, r.Header)
			}
			if row.kind == "status" {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			w.Header().Set("Content-Type", row.kind)
			_, _ = w.Write([]byte(row.body))
		}))
		groups, err := sd.Fetch(t.Context(), server.Client(), server.URL, 90*time.Second)
		server.Close()
		switch {
		case row.want == "" && (err != nil || len(groups) != 1):
			t.Errorf("%s: %+v, %v", row.about, groups, err)
		case row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), server.URL)):
			t.Errorf("%s: error %v, want %s", row.about, err, row.want)
		}
	}
	if _, err := sd.Fetch(t.Context(), &http.Client{}, "http://127.0.0.1:1/%zz", 0); err == nil {
		t.Error("a URL that is none gave no error")
	}
}

func TestFetchKeepsSecretsOutOfErrors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/mistake":
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("["))
		case "/round":
			http.Redirect(w, r, "/round?"+r.URL.RawQuery, http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	listening := server.Listener.Addr().String()
	for _, row := range []struct{ about, url, want string }{
		{"an answer that is none", "http://bob:hunter2@" + listening + "/missing?token=hunter2", "http_sd \"http://" + listening + "/missing\": it answered"},
		{"a mistake in the answer", "http://bob:hunter2@" + listening + "/mistake?token=hunter2#hunter2", "http_sd \"http://" + listening + "/mistake\": line 1"},
		{"redirects without end", "http://hunter2@" + listening + "/round?token=hunter2", "http_sd \"http://" + listening + "/round\": stopped"},
		{"nobody there", "http://bob:hunter2@127.0.0.1:1/?token=hunter2", "http_sd \"http://127.0.0.1:1/\": dial"},
		{"a URL that is none", "http://bob:hunter2/@127.0.0.1:1/", "http_sd: its URL cannot be read"},
		{"a scheme that is none", "ftp://bob:hunter2@127.0.0.1/?token=hunter2", "http_sd \"ftp://127.0.0.1/\": unsupported"},
	} {
		_, err := sd.Fetch(t.Context(), server.Client(), row.url, 0)
		if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s: %v, want %s", row.about, err, row.want)
		}
	}
}

func TestClientRefusesWhereSecretsAreServed(t *testing.T) {
	to := "http://169.254.169.254/latest/meta-data"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }))
	defer server.Close()
	client := sd.NewClient(5 * time.Second)
	if client.Transport.(*http.Transport).Proxy != nil {
		t.Error("the client takes a proxy from somewhere")
	}
	_, err := sd.Fetch(t.Context(), client, server.URL+"/?token=abc", 0)
	if err == nil || !strings.Contains(err.Error(), "169.254.169.254: addresses of this kind") || strings.Contains(err.Error(), "abc") {
		t.Errorf("error %v", err)
	}
}

// TestMemory shows that each source is asked at its own interval.
func TestMemory(t *testing.T) {
	for _, row := range []struct {
		about   string
		refresh time.Duration
		pause   time.Duration
		broken  bool
		asked   int32
	}{
		{"a second look soon after asks nobody", time.Hour, 59 * time.Minute, false, 1},
		{"one after the interval does", time.Hour, time.Hour, false, 2},
		{"also if it comes a little early", time.Hour, time.Hour - 100*time.Millisecond, false, 2},
		{"an error is kept too", time.Hour, 59 * time.Second, true, 1},
		{"but not for as long", time.Hour, time.Minute, true, 2},
		{"without an interval everything is asked", 0, 0, false, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := int32(0)
			client := &http.Client{Transport: roundTrip(func() (*http.Response, error) {
				asked++
				time.Sleep(time.Second)
				if row.broken {
					return nil, errors.New("no route")
				}
				answer := httptest.NewRecorder()
				answer.Header().Set("Content-Type", "application/json")
				_, _ = answer.WriteString(`[{"targets": ["a:1"]}]`)
				return answer.Result(), nil
			})}
			m := &sd.Memory{}
			for range 2 {
				groups, err := m.Fetch(t.Context(), client, sd.Server{URL: "http://a.test/", Refresh: row.refresh})
				if (err != nil) != row.broken || (len(groups) == 1) == row.broken {
					t.Errorf("%s: %v, %v", row.about, groups, err)
				}
				time.Sleep(row.pause - time.Second)
			}
			if asked != row.asked || m.Waited != time.Duration(asked)*time.Second {
				t.Errorf("%s: asked %d times, want %d; waited %s", row.about, asked, row.asked, m.Waited)
			}
		})
	}
}

// roundTrip answers every request.
type roundTrip func() (*http.Response, error)

func (f roundTrip) RoundTrip(*http.Request) (*http.Response, error) { return f() }

func TestMemoryOfLookups(t *testing.T) {
	z := zone{mx: map[string][]*net.MX{"a.test": {{Host: "mx.test."}}}}
	m, q := &sd.Memory{}, sd.Query{Names: []string{"a.test"}, Type: "MX", Refresh: time.Hour}
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Lookup(cut, zone{}, q); err == nil {
		t.Error("a name that is not there gave no error")
	}
	for _, row := range []struct {
		about string
		from  sd.Resolver
	}{{"after a lookup that was cut short", z}, {"from memory", zone{}}} {
		if found, err := m.Lookup(t.Context(), row.from, q); err != nil || len(found) != 1 {
			t.Errorf("%s: %v, %v", row.about, found, err)
		}
	}
	q.Port = 26
	if _, err := m.Lookup(t.Context(), zone{}, q); err == nil {
		t.Error("another question got the same answer")
	}
}

// zone answers lookups from tables.
type zone struct {
	srv map[string][]*net.SRV
	mx  map[string][]*net.MX
}

func (z zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	records, ok := z.srv[name]
	if !ok || service != "" || proto != "" {
		return "", nil, errors.New("no such name")
	}
	return name, records, nil
}

func (z zone) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	records, ok := z.mx[name]
	if !ok {
		return nil, errors.New("no such name")
	}
	return records, nil
}

func TestLookup(t *testing.T) {
	z := zone{
		srv: map[string][]*net.SRV{
			"_imaps._tcp.example.test":       {{Target: "m2.example.test.", Port: 994}, {Target: "M1.example.test.", Port: 993}},
			"_submission._tcp.example.test":  {{Target: "m1.example.test.", Port: 587}},
			"_xmpp-client._tcp.example.test": {{Target: "x.example.test.", Port: 5222}},
			"_own._tcp.example.test":         {{Target: "o.example.test.", Port: 1}},
			"_pop3._tcp.example.test":        {{Target: "."}},
		},
		mx: map[string][]*net.MX{"example.test": {{Host: "mx.example.test."}}, "null.test": {{Host: "."}}},
	}
	for _, row := range []struct {
		about string
		query sd.Query
		want  string
		err   string
	}{
		{"every target of a service, by its protocol, sorted", sd.Query{Names: []string{"_imaps._tcp.example.test"}}, "imaps m1.example.test:993, imaps m2.example.test:994", ""},
		{
			"services by other names",
			sd.Query{Type: "srv", Names: []string{"_submission._tcp.example.test", "_xmpp-client._tcp.example.test", "_own._tcp.example.test"}},
			"smtp m1.example.test:587, xmpp x.example.test:5222, tls o.example.test:1", "",
		},
		{"a protocol that is told", sd.Query{Protocol: "https", Names: []string{"_own._tcp.example.test"}}, "https o.example.test:1", ""},
		{"a service that is said not to be there", sd.Query{Names: []string{"_pop3._tcp.example.test"}}, "", ""},
		{"one name that fails hides no other", sd.Query{Names: []string{"gone", "_own._tcp.example.test"}}, "tls o.example.test:1", `looking up "gone": no such name`},
		{"mail exchangers", sd.Query{Type: "MX", Names: []string{"example.test", "null.test"}}, "smtp mx.example.test:25", ""},
		{"addresses", sd.Query{Type: "A", Port: 443, Names: []string{"www.test."}}, "tls www.test:443 ip4", ""},
		{"addresses of IPv6", sd.Query{Type: "AAAA", Port: 853, Protocol: "dot", Names: []string{"www.test"}}, "dot www.test:853 ip6", ""},
		{"addresses without a port", sd.Query{Type: "A", Names: []string{"www.test"}}, "", "a port is needed"},
		{"another type", sd.Query{Type: "TXT", Names: []string{"www.test"}}, "", `type "TXT" is none of SRV, MX, A, AAAA`},
	} {
		endpoints, err := sd.Lookup(t.Context(), z, row.query)
		var got []string
		for _, e := range endpoints {
			got = append(got, strings.TrimSpace(e.Protocol+" "+e.Address+" "+e.Family))
		}
		if strings.Join(got, ", ") != row.want {
			t.Errorf("%s: got %q, want %q", row.about, got, row.want)
		}
		if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
			t.Errorf("%s: error %v, want %q", row.about, err, row.err)
		}
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("t.yml", "- targets: [a]\n  labels: {x: y}\n")
	f.Add("t.json", `[{"targets": ["a"], "labels": {"x": "y"}}]`)
	f.Fuzz(func(t *testing.T, name, text string) {
		groups, err := sd.ParseFile(name, []byte(text))
		if err != nil && groups != nil {
			t.Errorf("groups with an error: %v", err)
		}
	})
}
