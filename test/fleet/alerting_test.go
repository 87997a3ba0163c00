package fleet_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// voices is two members that share a folder, judge the same file, and tell the same Slack and PagerDuty.
type voices struct {
	t       *testing.T
	dir     string
	ca      *mint.CA
	slack   *slackfake.Server
	pager   *pdfake.Service
	members []*clusterMember
}

// voicesLease is the lease of the members, and voicesQuiet longer than a silent one waits for the speaker.
const (
	voicesLease = 2 * time.Second
	voicesQuiet = 8 * time.Second
)

func newVoices(t *testing.T) *voices {
	t.Helper()
	v := &voices{t: t, dir: t.TempDir(), ca: mint.Must(mint.NewCA("voices")), slack: slackfake.New(slackfake.Options{}), pager: pdfake.New(pdfake.Options{})}
	t.Cleanup(v.slack.Close)
	pager := httptest.NewServer(v.pager)
	t.Cleanup(pager.Close)
	coordMust(t, os.Mkdir(v.path("shared"), 0o700))
	v.write("slack.token", v.slack.Token+"\n")
	v.write("pager.key", strings.Repeat("k", 32)+"\n")
	v.write("rules.yml", `rules:
  - {name: gone, about: certificate, when: certificate.expired, severity: critical, summary: "{{.Certificate}} has expired", ladder: [{do: notify}]}
`)
	v.stores(time.Hour)
	for _, name := range []string{"m1", "m2"} {
		m := &clusterMember{name: name, dir: v.path(name), client: api.NewClient(v.path(name + "/state"))}
		coordMust(t, os.Mkdir(m.dir, 0o700))
		m.log = mint.Must(os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600))
		v.write(name+"/certmedic.yml", fmt.Sprintf(`state_dir: %[1]s/state
probe: {interval: 1s, ari: false, revocation: "off"}
cluster: {member: %[2]s, lease: %[3]s, dir: {path: %[4]s/shared}}
rules: {defaults: false, files: [%[4]s/rules.yml]}
certificates: [{name: shop, source: {files: {cert: %[4]s/cert.pem}}}]
alerting:
  receivers:
    - {name: ops, slack: {token_file: %[4]s/slack.token, channel: "#certs", api_url: %[5]q}}
    - {name: oncall, pagerduty: {routing_key_file: %[4]s/pager.key, api_url: %[6]q}}
  routes: [{to: [ops, oncall]}]
`, m.dir, name, voicesLease, v.dir, v.slack.APIURL(), pager.URL))
		v.members = append(v.members, m)
	}
	t.Cleanup(v.end)
	return v
}

func (v *voices) path(name string) string { return filepath.Join(v.dir, name) }

func (v *voices) write(name, text string) {
	v.t.Helper()
	coordMust(v.t, os.WriteFile(v.path(name), []byte(text), 0o600))
}

// stores has the file hold a version that ends after a time, which may be in the past.
func (v *voices) stores(left time.Duration) {
	v.t.Helper()
	now := time.Now()
	leaf := mint.Must(v.ca.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(left)}))
	v.write("cert.pem", string(leaf.FullchainPEM()))
}

func (v *voices) start(all ...*clusterMember) {
	v.t.Helper()
	program := mint.Must(onceProgram())
	for _, m := range all {
		m.cmd, m.ended = exec.Command(program, "--config", filepath.Join(m.dir, "certmedic.yml"), "serve", "--web.listen-address", "127.0.0.1:0"), make(chan struct{})
		m.cmd.Stdout, m.cmd.Stderr = m.log, m.log
		coordMust(v.t, m.cmd.Start())
		go func() {
			_ = m.cmd.Wait()
			close(m.ended)
		}()
	}
}

func (v *voices) end() {
	for _, m := range v.members {
		if m.cmd != nil {
			m.kill()
		}
		_ = m.log.Close()
		if said, _ := os.ReadFile(m.log.Name()); v.t.Failed() {
			v.t.Logf("%s said:\n%s", m.name, said[max(0, len(said)-6000):])
		}
	}
}

func (v *voices) await(what string, holds func() bool) {
	v.t.Helper()
	for start := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > clusterPatience {
			v.t.Fatalf("after %s it is not so that %s: Slack %+v, PagerDuty %+v", clusterPatience, what, v.slack.Messages(), v.pager.Incidents())
		}
	}
}

// speaker waits until exactly one of the members speaks, and returns it and, if there is one, another.
func (v *voices) speaker(of ...*clusterMember) (speaks, silent *clusterMember) {
	v.t.Helper()
	v.await("one speaks", func() bool {
		speaks, silent = nil, nil
		n := 0
		for _, m := range of {
			s, ok := m.status()
			switch {
			case !ok || s.Cluster == nil:
				return false
			case s.Cluster.Speaks:
				speaks, n = m, n+1
			default:
				silent = m
			}
		}
		return n == 1
	})
	return speaks, silent
}

// wants waits until there are so many messages and incidents, of which so many are open, and wants that to stay so.
func (v *voices) wants(about string, all, open int) {
	v.t.Helper()
	is := func() bool {
		over := 0
		for _, m := range v.slack.Messages() {
			if strings.Contains(m.Text, "Resolved") {
				over++
			}
		}
		return len(v.slack.Messages()) == all && over == all-open && len(v.pager.Incidents()) == all && len(v.pager.Open()) == open
	}
	v.await(about, is)
	for start := time.Now(); time.Since(start) < voicesQuiet; time.Sleep(100 * time.Millisecond) {
		if !is() {
			v.t.Fatalf("%s, but not for long: Slack %+v, PagerDuty %+v", about, v.slack.Messages(), v.pager.Incidents())
		}
	}
}

// TestOneSpeaks has two members judge the same certificate. Whoever is killed, or paused, people are told once.
func TestOneSpeaks(t *testing.T) {
	t.Parallel()
	v := newVoices(t)
	v.start(v.members...)
	first, second := v.speaker(v.members...)

	v.stores(-time.Hour)
	v.wants("that it expired is told once", 1, 1)

	first.kill()
	v.speaker(second)
	v.wants("the other one does not tell it again", 1, 1)
	v.stores(time.Hour)
	v.wants("the other one tells the end of what the first told", 1, 0)

	v.start(first)
	paused, _ := v.speaker(v.members...)
	v.wants("who comes back tells nothing again", 1, 0)

	paused.signal(syscall.SIGSTOP)
	v.stores(-2 * time.Hour)
	v.wants("while the speaker is paused the other one tells", 2, 1)
	paused.signal(syscall.SIGCONT)
	v.wants("who goes on does not tell it again", 2, 1)
	v.stores(time.Hour)
	v.wants("the end is told once", 2, 0)

	speaks, silent := v.speaker(v.members...)
	added, err := silent.client.AddSilence(t.Context(), api.SilenceRequest{Matchers: []string{"certificate=shop"}, Until: time.Now().Add(time.Hour), Why: "work"})
	coordMust(t, err)
	v.await("the speaker knows the silence", func() bool {
		all, err := speaks.client.Silences(t.Context(), false)
		return err == nil && len(all) == 1 && all[0].ID == added.ID
	})
	v.stores(-3 * time.Hour)
	v.wants("a silence that was added on a silent member holds", 2, 0)
	_, err = speaks.client.EndSilence(t.Context(), api.EndRequest{ID: added.ID})
	coordMust(t, err)
	v.wants("its end on the speaker is one", 3, 1)

	_, err = silent.client.Acknowledge(t.Context(), api.AckRequest{About: "shop", Why: "mine"})
	coordMust(t, err)
	v.await("people hear who looks after it although they said so to a silent member", func() bool {
		return strings.Contains(v.slack.Messages()[2].Shown(), "Acknowledged") && v.pager.Open()[0].Status == pdfake.Acknowledged
	})
}
