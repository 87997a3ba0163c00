package grafana_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/dnsd"
	"github.com/certmedic/certmedic/internal/lab/issuer"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/port"
	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/internal/lab/tree"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

const day = 24 * time.Hour

// fleet is what is watched: nodes, with the files that they serve.
type fleet struct {
	t     *testing.T
	dir   string
	ca    *mint.CA
	dns   *dnsd.Server
	nodes map[string]*tlsd.Node
	hook  *httptest.Server // takes what people are told
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), ca: mint.Must(mint.NewCA("Fleet Root")), nodes: map[string]*tlsd.Node{}}
	write(t, f.at("root.pem"), string(f.ca.PEM()))
	dns, err := dnsd.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Stop)
	f.dns = dns
	hook := http.NewServeMux()
	hook.HandleFunc("/refuse", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) })
	hook.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	f.hook = httptest.NewServer(hook)
	t.Cleanup(f.hook.Close)
	return f
}

func (f *fleet) at(parts ...string) string {
	return filepath.Join(append([]string{f.dir}, parts...)...)
}

// mint stores a new version for a name, of which so much has passed and so much is left.
func (f *fleet) mint(name string, passed, left time.Duration) {
	f.t.Helper()
	now := time.Now()
	pair := mint.Must(f.ca.Leaf(mint.Leaf{Names: []string{name + ".test"}, NotBefore: now.Add(-passed), NotAfter: now.Add(left)}))
	write(f.t, f.at(name, "key.pem"), string(mint.Must(pair.KeyPEM())))
	write(f.t, f.at(name, "cert.pem"), string(pair.FullchainPEM()))
}

// serve starts a node with a certificate's files, or with copies in another folder. It reloads
// them when the file named reload beside them is touched.
func (f *fleet) serve(name, folder string) {
	f.t.Helper()
	node, err := tlsd.Start(f.t.Context(), tlsd.Options{Name: name, CertFile: f.at(folder, "cert.pem"), KeyFile: f.at(folder, "key.pem")})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(node.Stop)
	f.nodes[name] = node
	go f.reloads(node, f.at(folder, "reload"))
}

// reloads reloads a node whenever somebody has asked for it, until the test ends.
func (f *fleet) reloads(node *tlsd.Node, asked string) {
	for f.t.Context().Err() == nil {
		if os.Remove(asked) == nil {
			_ = node.Reload() // what cannot be loaded is not served, and that is seen
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// issue has the laboratory's authority issue a lineage, which says when it wants it replaced.
func (f *fleet) issue(name string) tree.Tree {
	f.t.Helper()
	for key, value := range ca.Environment() {
		f.t.Setenv(key, value)
	}
	httpPort, err := port.Free(f.t.Context(), 0)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.dns.Set(name, "A 127.0.0.1"); err != nil {
		f.t.Fatal(err)
	}
	authority, err := ca.Start(f.t.Context(), ca.Options{HTTPPort: httpPort, Resolver: f.dns.Addr()})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(authority.Stop)
	write(f.t, f.at("root.pem"), string(slices.Concat(f.ca.PEM(), authority.RootPEM(), authority.ServicePEM())))
	lineages := tree.At(f.at("letsencrypt"))
	pool := mint.Must(issuerPool(authority.ServicePEM()))
	stand := issuer.Issuer{Tree: lineages, Client: ca.Client(pool), Out: io.Discard, Env: os.Environ()}
	if err := stand.Issue(f.t.Context(), issuer.Request{Server: authority.Directory(), Names: []string{name}, HTTPPort: httpPort}); err != nil {
		f.t.Fatal(err)
	}
	return lineages
}

// medic is a daemon.
type medic struct {
	t       *testing.T
	client  *api.Client
	address string
}

// start runs a daemon with a configuration until the test ends.
func (f *fleet) start(name, config string) *medic {
	f.t.Helper()
	state := f.at(name + "-state")
	write(f.t, f.at(name+".yml"), fmt.Sprintf("state_dir: %q\n%s", state, config))
	ready, done := make(chan string, 1), make(chan error, 1)
	log, err := os.Create(f.at(name + ".log"))
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	go func() {
		done <- app.Run(ctx, app.Options{
			ConfigFile: f.at(name + ".yml"), ListenAddresses: []string{"127.0.0.1:0"}, Version: "1.2.3", Environ: os.Environ(),
			Log: slog.New(slog.NewTextHandler(log, nil)), Ready: func(addresses []string) { ready <- addresses[0] },
		})
	}()
	f.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Error(err)
		}
		if text, err := os.ReadFile(f.at(name + ".log")); err == nil && f.t.Failed() {
			f.t.Logf("the log of %s:\n%s", name, text)
		}
	})
	select {
	case address := <-ready:
		return &medic{t: f.t, client: api.NewClient(state), address: address}
	case err := <-done:
		done <- nil
		f.t.Fatalf("%s did not start: %v", name, err)
		return nil
	}
}

// entry returns the configuration of a certificate in files with one endpoint.
func (f *fleet) entry(name, more string) string {
	return fmt.Sprintf("  - name: %s\n    labels: {team: web}\n    source: {files: {cert: %q, key: %q}}\n    endpoints: [{address: %q, server_name: %s.test}]\n%s",
		name, f.at(name, "cert.pem"), f.at(name, "key.pem"), f.nodes[name].Addr(), name, more)
}

// acting returns the configuration of a certificate that is reloaded by a command.
func (f *fleet) acting(name, command string) string {
	return f.entry(name, fmt.Sprintf("    remediation: {mode: auto, allow: [reload, redeploy]}\n    deploy: [{name: web, reload: [sh, -c, %q]}]\n", command))
}

// build makes the files and nodes of the scene.
func (f *fleet) build() {
	f.t.Helper()
	for name, age := range map[string][2]time.Duration{
		"healthy": {30 * day, 60 * day}, "overdue": {78 * day, 12 * day}, "imminent": {87 * day, 3 * day}, "expired": {91 * day, -time.Hour},
		"healed": {30 * day, 60 * day}, "stuck": {30 * day, 60 * day}, "down": {30 * day, 60 * day}, "loaned": {30 * day, 60 * day}, "partner": {30 * day, 60 * day},
	} {
		f.mint(name, age[0], age[1])
		folder := name
		if name == "loaned" {
			folder = "loaned-web"
			f.copy(name, folder)
		}
		f.serve(name, folder)
	}
	f.split()
}

// copy copies a certificate's files as a deployment does.
func (f *fleet) copy(from, to string) {
	f.t.Helper()
	for _, name := range []string{"cert.pem", "key.pem"} {
		text, err := os.ReadFile(f.at(from, name))
		if err != nil {
			f.t.Fatal(err)
		}
		write(f.t, f.at(to, name), string(text))
	}
}

// split starts two nodes behind one name, of which one has not got the newest version.
func (f *fleet) split() {
	f.t.Helper()
	f.mint("split", 31*day, 59*day)
	f.copy("split", "split-old")
	nodes, err := tlsd.StartGroup(f.t.Context(), tlsd.Options{Name: "split", CertFile: f.at("split-old", "cert.pem"), KeyFile: f.at("split-old", "key.pem")}, "127.0.0.1", "127.0.0.2")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, n := range nodes {
		f.t.Cleanup(n.Stop)
	}
	f.mint("split", 30*day, 60*day)
	f.copy("split", "split-old")
	if err := nodes[0].Reload(); err != nil {
		f.t.Fatal(err)
	}
	f.nodes["split"] = nodes[0]
	if err := f.dns.Set("split.test", "A 127.0.0.1", "A 127.0.0.2"); err != nil {
		f.t.Fatal(err)
	}
}

// lineageNode serves the lineage of the laboratory's authority.
func (f *fleet) lineageNode(lineages tree.Tree, name string) {
	f.t.Helper()
	live := lineages.Live(name)
	node, err := tlsd.Start(f.t.Context(), tlsd.Options{Name: "ari", CertFile: live + "/fullchain.pem", KeyFile: live + "/privkey.pem"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(node.Stop)
	f.nodes["ari"] = node
}

// startMain starts the daemon that watches nearly all of it.
func (f *fleet) startMain() *medic {
	const lineage = "ari.test"
	lineages := f.issue(lineage)
	f.lineageNode(lineages, lineage)
	write(f.t, f.at("rules.yml"), `rules:
  - {name: odd, about: certificate, when: 'certificate.labels.nobody == "x"', severity: info, summary: "odd", runbook: "https://example.test/odd"}
`)
	_, splitPort, _ := strings.Cut(f.nodes["split"].Addr(), ":")
	touch := "touch " + f.at("healed", "reload")
	once := fmt.Sprintf("if [ -e %[1]s ]; then %[2]s; else : >%[1]s; exit 3; fi", f.at("failed-once"), touch)
	return f.start("main", fmt.Sprintf(`remediation: {mode: auto}
probe: {interval: 1s, timeout: 2s, roots: %q, resolvers: [%q]}
rules: {files: [%q], adjust: {unreachable: {for: 1s}}}
alerting:
  group_wait: 100ms
  receivers:
    - {name: ops, webhook: {url: %q}}
    - {name: refusing, webhook: {url: "%s/refuse"}}
    - {name: away, webhook: {url: "http://%s/"}}
  routes: [{to: [ops, refusing, away], events: true}]
watch: [{address: %q, server_name: partner.test}, {file: %q}]
certificates:
`, f.at("root.pem"), f.dns.Addr(), f.at("rules.yml"), f.hook.URL, f.hook.URL, free(f.t), f.nodes["partner"].Addr(), f.at("partner", "cert.pem"))+
		f.entry("healthy", fmt.Sprintf("    deploy: [{name: web, test: [\"true\"], reload: [sh, -c, %q]}]\n", "touch "+f.at("healthy", "reload")))+
		f.entry("overdue", "    deploy: [{name: web, reload: [\"false\"]}]\n")+f.entry("imminent", "")+f.entry("expired", "")+f.entry("down", "")+
		f.acting("healed", once)+f.acting("stuck", "exit 4")+f.loaned()+
		strings.Replace(f.entry("split", ""), f.nodes["split"].Addr(), "split.test:"+splitPort, 1)+
		fmt.Sprintf("  - name: ari\n    source: {certbot: {config_dir: %q, lineage: %s}}\n    endpoints: [{address: %q, server_name: %s}]\n", lineages.ConfigDir, lineage, f.nodes["ari"].Addr(), lineage))
}

// loaned is a certificate with a deployment of its own, which can be rolled back.
func (f *fleet) loaned() string {
	return f.entry("loaned", fmt.Sprintf(`    remediation: {mode: plan, allow: [rollback]}
    deploy:
      - name: web
        files: [{from: fullchain, to: %q}, {from: privkey, to: %q, mode: "0600"}]
        reload: [touch, %q]
`, f.at("loaned-web", "cert.pem"), f.at("loaned-web", "key.pem"), f.at("loaned-web", "reload")))
}

// startOther starts a daemon that watches one certificate that the first one watches as well, and
// a lineage of a CA with limits.
func (f *fleet) startOther() *medic {
	lineages := disktest.New(f.t)
	lineages.Issue("budget", []string{"budget.test"}, disktest.Options{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(89 * day)})
	lineages.Renew("budget")
	text, err := os.ReadFile(lineages.Conf("budget"))
	if err != nil {
		f.t.Fatal(err)
	}
	write(f.t, lineages.Conf("budget"), strings.Replace(string(text), "https://acme.example.test/", "https://acme-v02.api.letsencrypt.org/", 1))
	return f.start("other", fmt.Sprintf("probe: {interval: 1s, ari: false, roots: [%q]}\ncertificates:\n", f.at("root.pem"))+f.entry("healthy", "")+
		fmt.Sprintf("  - {name: budget, source: {certbot: {config_dir: %q, lineage: budget}}}\n", lineages.ConfigDir))
}

// live goes through what happens, and returns when that is over.
func (f *fleet) live(m *medic) {
	f.t.Helper()
	for _, name := range []string{"healthy", "healed", "stuck", "down", "loaned", "ari"} {
		m.awaitStage(name, certmedic.StageServed)
	}
	await(f.t, "the first version of loaned is kept", func() bool { return m.kept("loaned") == 1 })
	time.Sleep(3 * scrapeEvery) // so that there is a time before
	for _, name := range []string{"healed", "stuck", "loaned"} {
		f.mint(name, time.Hour, 90*day)
	}
	f.copy("loaned", "loaned-web")
	write(f.t, f.at("loaned-web", "reload"), "")
	f.nodes["down"].Stop()
	for _, name := range []string{"healthy", "overdue"} {
		if _, err := m.client.Rehearse(f.t.Context(), api.RehearsalRequest{Certificate: name}); err != nil {
			f.t.Error(err)
		}
	}
	await(f.t, "the second version of loaned is kept", func() bool { return m.kept("loaned") == 2 })
	m.rollBack("loaned")
	await(f.t, "healed is healed", func() bool { return m.outcome("healed") == certmedic.OutcomeHealed })
	await(f.t, "stuck is not", func() bool { return m.outcome("stuck") != "" })
	for _, line := range []string{`certmedic_time_to_heal_seconds_count [1-9]`, `certmedic_receiver_failing\{receiver="away"\} 1`, `certmedic_receiver_failing\{receiver="refusing"\} 1`} {
		await(f.t, "the metrics have "+line, func() bool { return regexp.MustCompile(line).MatchString(m.page()) })
	}
	time.Sleep(6 * scrapeEvery) // so that all of it was scraped, and the rules were asked
}

func (m *medic) stage(name string) certmedic.Stage {
	s, err := m.client.Status(m.t.Context())
	if err != nil {
		return ""
	}
	for _, v := range s.Certificates {
		if v.Name == name {
			return v.Stage
		}
	}
	return ""
}

func (m *medic) awaitStage(name string, stage certmedic.Stage) {
	m.t.Helper()
	await(m.t, fmt.Sprintf("%s is %s", name, stage), func() bool { return m.stage(name) == stage })
}

// kept returns how many good versions of a certificate are kept.
func (m *medic) kept(name string) int {
	all, err := m.client.Snapshots(m.t.Context(), name)
	if err != nil {
		return 0
	}
	return len(all)
}

// rollBack rolls a certificate back by hand, to the version before.
func (m *medic) rollBack(name string) {
	m.t.Helper()
	all, err := m.client.Snapshots(m.t.Context(), name)
	if err != nil || len(all) != 2 {
		m.t.Fatal(all, err)
	}
	answer, err := m.client.Act(m.t.Context(), api.ActionRequest{Certificate: name, Action: certmedic.ActionRollback, To: all[1].Version, Force: true})
	if err != nil || answer.Action == nil || answer.Action.Outcome.Kind != certmedic.OutcomeHealed {
		m.t.Fatalf("rolling back: %+v %v", answer.Action.Outcome, err)
	}
}

// outcome returns how the last action for a certificate that has ended came out.
func (m *medic) outcome(name string) certmedic.OutcomeKind {
	all, err := m.client.History(m.t.Context(), name, 10)
	if err != nil {
		return ""
	}
	for _, a := range all {
		if a.Outcome.Kind != certmedic.OutcomeRunning {
			return a.Outcome.Kind
		}
	}
	return ""
}

// page returns the metrics of a daemon.
func (m *medic) page() string {
	m.t.Helper()
	resp, err := (&http.Client{Timeout: patience}).Get("http://" + m.address + "/metrics")
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// issuerPool trusts what vouches for the ACME service.
func issuerPool(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate")
	}
	return pool, nil
}
