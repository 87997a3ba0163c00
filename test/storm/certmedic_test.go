package storm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/store"
)

// trouble is what can be wrong with a certificate. The worse includes the other.
type trouble string

const (
	fine trouble = ""
	soon trouble = "soon" // it ends in three days; after two seconds that is critical
	gone trouble = "gone" // it has expired
)

// theRules are those of the storm.
const theRules = `rules:
  - name: soon
    about: certificate
    when: certificate.served_expires_in < days(7)
    severity: warning
    summary: "{{.Certificate}} ends soon"
    ladder: [{do: notify}, {after: 2s, do: notify, severity: critical}]
  - name: gone
    about: certificate
    when: certificate.expired
    severity: critical
    summary: "{{.Certificate}} has expired"
`

// medic is certmedic, which watches one file for each certificate.
type medic struct {
	t       *testing.T
	fakes   *fakes
	dir     string
	program string
	address string // of its listener
	client  *api.Client
	ca      *mint.CA
}

func newMedic(t *testing.T, s scale, f *fakes, program string) *medic {
	t.Helper()
	dir := t.TempDir()
	m := &medic{t: t, fakes: f, dir: dir, program: program, address: freeAddress(t), client: api.NewClient(filepath.Join(dir, "state")), ca: mint.Must(mint.NewCA("Storm"))}
	m.write("rules.yml", theRules)
	m.write("hook.secret", "storm-secret\n")
	m.write("certmedic.yml", m.config(s))
	m.hear(t)
	return m
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *medic) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		m.t.Fatal(err)
	}
}

// mostOpen is how many incidents are asked for.
const mostOpen = 500

// config has a receiver of each kind for every team, and all certificates.
func (m *medic) config(s scale) string {
	var b strings.Builder
	fmt.Fprintf(&b, "state_dir: %s/state\nprobe: {ari: false}\nrules: {defaults: false, files: [%s/rules.yml]}\n", m.dir, m.dir)
	fmt.Fprintf(&b, "alerting:\n  group_wait: %v\n  receivers:\n", groupWait)
	for team := range s.teams {
		m.write(fmt.Sprintf("slack%d", team), token(team)+"\n")
		m.write(fmt.Sprintf("pager%d", team), routingKey(team)+"\n")
		fmt.Fprintf(&b, "    - {name: slack%d, slack: {token_file: %s/slack%d, channel: %q, api_url: %q}}\n", team, m.dir, team, "#certs", m.fakes.channels[team].APIURL())
		fmt.Fprintf(&b, "    - {name: pager%d, pagerduty: {routing_key_file: %s/pager%d, webhook_secret_file: %s/hook.secret, api_url: %q}}\n", team, m.dir, team, m.dir, m.fakes.pagerURL)
	}
	b.WriteString("  routes:\n")
	for team := range s.teams {
		fmt.Fprintf(&b, "    - {match: {team: t%d}, to: [pager%d, slack%d]}\n", team, team, team)
	}
	b.WriteString("certificates:\n")
	for _, c := range s.fleet() {
		m.write(filepath.Join("tls", c.name, "cert.pem"), string(mint.Must(m.leaf(fine))))
		fmt.Fprintf(&b, "  - {name: %s, labels: {team: t%d}, source: {files: {cert: %s/tls/%s/cert.pem}}}\n", c.name, c.team, m.dir, c.name)
	}
	return b.String()
}

// hear brings what people do in PagerDuty to certmedic: each webhook until it is taken, as PagerDuty
// does for twenty minutes, and not one after the other.
func (m *medic) hear(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		all.Go(func() {
			for ctx.Err() == nil && !taken(ctx, client, "http://"+m.address+r.URL.Path, r.Header, body) {
				pause(ctx, 100*time.Millisecond)
			}
		})
		w.WriteHeader(http.StatusAccepted)
	}))
	m.fakes.pager.Subscribe(relay.URL+"/api/v1/pagerduty/webhook", "storm-secret")
	all.Go(func() {
		for ctx.Err() == nil {
			m.fakes.pager.Deliver(ctx, client)
			pause(ctx, 20*time.Millisecond)
		}
	})
	t.Cleanup(func() { cancel(); relay.Close(); all.Wait() })
}

// taken reports whether a webhook was answered with success.
func taken(ctx context.Context, client *http.Client, url string, header http.Header, body []byte) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false
	}
	r.Header = header
	answer, err := client.Do(r)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil && answer.StatusCode == http.StatusAccepted
}

func (m *medic) command() *exec.Cmd {
	return exec.Command(m.program, "--config", filepath.Join(m.dir, "certmedic.yml"), "serve", "--web.listen-address", m.address)
}

func (m *medic) ready() bool {
	c, err := net.Dial("unix", filepath.Join(m.dir, "state", api.SocketName))
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// leaf makes a certificate, another one each time: the rules damp what happens to one and the same again
// and again.
func (m *medic) leaf(what trouble) ([]byte, error) {
	const day = 24 * time.Hour
	now := time.Now()
	end := map[trouble]time.Time{fine: now.Add(60 * day), soon: now.Add(3 * day), gone: now.Add(-time.Hour)}[what]
	pair, err := m.ca.Leaf(mint.Leaf{Names: []string{"storm.test"}, NotBefore: now.Add(-30 * day), NotAfter: end})
	if err != nil {
		return nil, err
	}
	return pair.FullchainPEM(), nil
}

// set changes the file of a certificate as certbot would: in one step.
func (m *medic) set(c certificate, _ string, what trouble) error {
	data, err := m.leaf(what)
	if err != nil {
		return err
	}
	next := filepath.Join(m.dir, "next-"+c.name)
	if err := os.WriteFile(next, data, 0o600); err != nil {
		return err
	}
	return os.Rename(next, filepath.Join(m.dir, "tls", c.name, "cert.pem"))
}

// look asks certmedic what fires, and the fakes what they were told.
func (m *medic) look(ctx context.Context) (firing map[string]string, all map[string]*told) {
	if open, err := m.client.Incidents(ctx, "", mostOpen); err == nil {
		firing = map[string]string{}
		for _, in := range open {
			if in.State == certmedic.StateFiring {
				firing[in.Subject.Certificate] = in.DedupKey
			}
		}
	}
	all = map[string]*told{}
	m.fakes.pages(all, func(in pdfake.Incident) string { return in.Key })
	m.fakes.conversations(all)
	return firing, all
}

func (m *medic) silence(ctx context.Context, c certificate) (id string, err error) {
	s, err := m.client.AddSilence(ctx, api.SilenceRequest{Matchers: []string{"certificate=" + c.name}, Until: time.Now().Add(time.Hour), Why: "the storm"})
	return s.ID, err
}

func (m *medic) silenced(ctx context.Context, id string) (bool, error) {
	all, err := m.client.Silences(ctx, false)
	for _, s := range all {
		if s.ID == id {
			return true, err
		}
	}
	return false, err
}

func (m *medic) unsilence(ctx context.Context, c certificate) error {
	all, err := m.client.Silences(ctx, false)
	for _, s := range all {
		if s.Matchers[0].Value == c.name {
			_, ended := m.client.EndSilence(ctx, api.EndRequest{ID: s.ID})
			err = errors.Join(err, ended)
		}
	}
	return err
}

// acknowledges reports that there is such a thing.
func (m *medic) acknowledges() bool { return true }

func (m *medic) acknowledge(ctx context.Context, conversation string) error {
	_, err := m.client.Acknowledge(ctx, api.AckRequest{About: conversation, Why: "the storm"})
	return err
}

func (m *medic) acknowledged(ctx context.Context, conversation string) (bool, error) {
	all, err := m.client.Acknowledged(ctx)
	for _, a := range all {
		if a.Conversation == conversation {
			return true, err
		}
	}
	return false, err
}

// forget takes out of the state what was delivered, what waits, and what people said: for the proof
// that this storm notices.
func (m *medic) forget() error {
	s, err := store.Open(filepath.Join(m.dir, "state"), 5*time.Second)
	if err != nil {
		return err
	}
	outbox := s.Outbox()
	waiting, err1 := outbox.Pending()
	for _, e := range waiting {
		err1 = errors.Join(err1, outbox.Done(e.ID))
	}
	delivered, err2 := outbox.Deliveries()
	for _, d := range delivered {
		d.Told, d.Memory, d.Ack = nil, nil, nil
		err2 = errors.Join(err2, outbox.Settle(d, nil))
	}
	silences, err3 := s.Silences()
	for _, one := range silences {
		err3 = errors.Join(err3, s.ForgetSilence(one.ID))
	}
	acks, err4 := s.Acks()
	for conversation := range acks {
		err4 = errors.Join(err4, s.ForgetAck(conversation))
	}
	return errors.Join(err1, err2, err3, err4, s.Close())
}
