package fleet_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/remediate/remote"
	"github.com/certmedic/certmedic/remediate/remote/rollout"
	"github.com/certmedic/certmedic/remediate/remote/session"
)

// Where things are on the hosts.
const (
	remoteCert   = "/etc/ssl/shop/fullchain.pem"
	remoteKey    = "/etc/ssl/shop/privkey.pem"
	remoteSlow   = "/usr/local/sbin/slow-sftp"
	remoteChild  = "/run/child" // the pid of the certmedic of the test
	remoteStall  = "/run/stalled"
	remoteBytes  = "/etc/slow-sftp.bytes"
	remoteKnown  = "/root/.ssh/known_hosts"
	remoteUser   = "deploy"
	remoteServer = "/usr/lib/openssh/sftp-server"
)

// remoteTask is what the certmedic of the test does on a host.
type remoteTask struct {
	Host  session.Host
	Order remote.Order
}

// remoteReport is what came of it.
type remoteReport struct {
	Outcome certmedic.Outcome
	Runs    []certmedic.Run
	Notes   []string
	Kept    string
	Error   string
}

// TestRemoteChild is no test of its own: it is the certmedic of the tests below, on a host.
func TestRemoteChild(t *testing.T) {
	task := os.Getenv("REMOTE_TASK")
	if task == "" {
		return
	}
	coordMust(t, os.WriteFile(remoteChild, fmt.Append(nil, os.Getpid()), 0o600))
	var in remoteTask
	coordMust(t, json.Unmarshal([]byte(task), &in))
	out, err := json.Marshal(in.run(t.Context()))
	coordMust(t, err)
	fmt.Printf("\nreport %s\n", out)
}

func (in remoteTask) run(ctx context.Context) remoteReport {
	s, err := session.Dial(ctx, in.Host, session.Limits{Keepalive: 300 * time.Millisecond, Silence: 2 * time.Second})
	if err != nil {
		return remoteReport{Error: err.Error()}
	}
	defer s.Close()
	d := remote.Deploy(ctx, s, in.Order)
	r := remoteReport{Outcome: d.Outcome, Runs: d.Runs, Notes: d.Notes}
	if d.Outcome.Reason == remote.ReasonInstalled {
		if err := d.Keep(ctx); err != nil {
			r.Kept = err.Error()
		}
	}
	return r
}

// remoteWorld is a host that deploys, and hosts with nginx that it deploys to.
type remoteWorld struct {
	t       *testing.T
	control *testhost.Host
	webs    map[string]*testhost.Host
	ca      *mint.CA
	token   uint64
	program string
}

func newRemoteWorld(t *testing.T, names ...string) *remoteWorld {
	t.Helper()
	network := testhost.New(t)
	dir := t.TempDir()
	self, err := os.Executable()
	coordMust(t, err)
	w := &remoteWorld{t: t, webs: map[string]*testhost.Host{}, ca: mint.Must(mint.NewCA("Fleet Root")), program: filepath.Join(dir, "fleet.test")}
	copyFile(t, self, w.program)
	w.control = network.Boot(testhost.Spec{Name: "control", Layer: "fleet", Binds: []string{dir}})
	w.control.Must(t.Context(), "mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id")
	public := w.control.ReadFile("/root/.ssh/id.pub")
	var known strings.Builder
	first := w.version()
	for _, name := range names {
		web := network.Boot(testhost.Spec{Name: name, Layer: "fleet"})
		w.webs[name] = web
		w.prepare(web, public, first)
		fmt.Fprintf(&known, "%s %s", name, web.ReadFile("/etc/ssh/ssh_host_ed25519_key.pub"))
	}
	w.control.WriteFile(remoteKnown, []byte(known.String()), 0o600)
	w.control.Must(t.Context(), "ssh-keygen -q -H -f "+remoteKnown+" && rm -f "+remoteKnown+".old && ! grep web1 "+remoteKnown)
	return w
}

// prepare gives a host sshd, a user who may do by sudo what a deployment needs and no more, and nginx
// with a first version.
func (w *remoteWorld) prepare(web *testhost.Host, public []byte, first mint.Pair) {
	w.t.Helper()
	web.WriteFile("/etc/sudoers.d/deploy", fmt.Appendf(nil, "%[1]s ALL=(root) NOPASSWD: %[2]s, %[3]s, "+
		"/usr/bin/timeout -k 5s 30s nginx -t, /usr/bin/timeout -k 5s 30s systemctl reload nginx, /usr/bin/timeout -k 5s 30s systemctl is-active --quiet nginx\n",
		remoteUser, remoteServer, remoteSlow), 0o440)
	web.WriteFile(remoteSlow, fmt.Appendf(nil, "#!/bin/sh\n(dd bs=1 count=$(cat %s) status=none; touch %s; sleep 2; exec cat) | %s\n", remoteBytes, remoteStall, remoteServer), 0o755)
	web.WriteFile("/etc/nginx/conf.d/shop.conf", fmt.Appendf(nil, "server { listen 443 ssl; ssl_certificate %s; ssl_certificate_key %s; }\n", remoteCert, remoteKey), 0o644)
	web.WriteFile(remoteCert, first.FullchainPEM(), 0o644)
	web.WriteFile(remoteKey, mint.Must(first.KeyPEM()), 0o640)
	web.WriteFile("/home/"+remoteUser+"/.ssh/authorized_keys", public, 0o644)
	web.Must(w.t.Context(), `useradd --shell /bin/sh deploy && chown -R deploy:deploy /home/deploy && chmod 755 /home/deploy
		chgrp www-data `+remoteKey+` && ssh-keygen -q -A && mkdir -p /run/sshd && systemctl start ssh nginx`)
}

// version makes a certificate for the shop.
func (w *remoteWorld) version() mint.Pair {
	return mint.Must(w.ca.Leaf(mint.Leaf{Names: []string{"shop.example.test"}}))
}

func remoteFingerprint(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

// task is the deployment of a version to a host, with a token that is higher than the last.
func (w *remoteWorld) task(name string, v mint.Pair) remoteTask {
	w.token++
	return remoteTask{
		Host: session.Host{Address: name, User: remoteUser, KnownHosts: []string{remoteKnown}, KeyFiles: []string{"/root/.ssh/id"}, Sudo: true},
		Order: remote.Order{
			Certificate: "shop", Version: remoteFingerprint(v.Cert.Raw), Token: w.token, Timeout: 30 * time.Second,
			Destination: certmedic.Destination{
				Name: "web", Test: []string{"nginx", "-t"}, Reload: []string{"systemctl", "reload", "nginx"}, Alive: []string{"systemctl", "is-active", "--quiet", "nginx"},
			},
			Files: []remote.File{
				{InstalledFile: certmedic.InstalledFile{From: certmedic.PartFullchain, To: remoteCert, Mode: "0644"}, Data: v.FullchainPEM()},
				{InstalledFile: certmedic.InstalledFile{From: certmedic.PartPrivkey, To: remoteKey, Mode: "0640", Owner: "root:www-data"}, Data: mint.Must(v.KeyPEM())},
			},
		},
	}
}

// run carries out a task on the control host. Where that program was killed there is no report.
func (w *remoteWorld) run(ctx context.Context, task remoteTask) (r remoteReport, reported bool) {
	in, err := json.Marshal(task)
	if err != nil {
		return remoteReport{Error: err.Error()}, true
	}
	result, err := w.control.Run(ctx, "env", "REMOTE_TASK="+string(in), w.program, "-test.run=^TestRemoteChild$", "-test.timeout=90s")
	if err != nil {
		return remoteReport{Error: err.Error()}, true
	}
	_, report, reported := strings.Cut(result.Stdout, "\nreport ")
	report, _, _ = strings.Cut(report, "\n")
	if err := json.Unmarshal([]byte(report), &r); reported && err != nil {
		r.Error = err.Error()
	}
	return r, reported
}

// deploy carries out a task that ends by itself.
func (w *remoteWorld) deploy(task remoteTask) remoteReport {
	w.t.Helper()
	r, reported := w.run(w.t.Context(), task)
	if !reported {
		w.t.Fatal("there is no report")
	}
	return r
}

// install deploys a version that has to arrive.
func (w *remoteWorld) install(name string, v mint.Pair) {
	w.t.Helper()
	if r := w.deploy(w.task(name, v)); r.Outcome.Reason != remote.ReasonInstalled || r.Kept != "" || r.Error != "" {
		w.t.Errorf("on %s: %+v", name, r)
	}
}

// serves proves that a host serves a version, that its files hold it, and that no deployment left
// anything but its token.
func (w *remoteWorld) serves(name string, v mint.Pair) {
	w.t.Helper()
	web := w.webs[name]
	if got := w.served(web); got != remoteFingerprint(v.Cert.Raw) {
		w.t.Errorf("%s serves %s, not %s", name, got.Short(), remoteFingerprint(v.Cert.Raw).Short())
	}
	if string(web.ReadFile(remoteCert)) != string(v.FullchainPEM()) || string(web.ReadFile(remoteKey)) != string(mint.Must(v.KeyPEM())) {
		w.t.Errorf("the files of %s are of another version", name)
	}
	if got := web.Must(w.t.Context(), "stat -c '%a %U:%G' "+remoteKey); got != "640 root:www-data\n" {
		w.t.Errorf("the key of %s has %s", name, got)
	}
	left := web.Must(w.t.Context(), "find /etc/ssl/shop /var/lib/certmedic-remote -mindepth 1 ! -name token-* | grep -e .certmedic-remote- -e journal -e file || true")
	if left != "" {
		w.t.Errorf("on %s there is left: %s", name, left)
	}
}

// served returns the version that a host presents; empty where there was no handshake.
func (w *remoteWorld) served(web *testhost.Host) (leaf certmedic.Fingerprint) {
	for range 50 { // a reload of nginx takes a moment
		conn, err := web.Dial(w.t.Context(), "tcp", "localhost:443")
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // what is served is the question
		err = client.HandshakeContext(w.t.Context())
		if err == nil {
			leaf = remoteFingerprint(client.ConnectionState().PeerCertificates[0].Raw)
		}
		conn.Close()
		if leaf != "" {
			return leaf
		}
	}
	return leaf
}

// awaitServed waits until a host serves a version, which a reload makes it do in its own time.
func (w *remoteWorld) awaitServed(name string, v mint.Pair) {
	w.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); w.served(w.webs[name]) != remoteFingerprint(v.Cert.Raw); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s does not serve %s", name, remoteFingerprint(v.Cert.Raw).Short())
		}
	}
}

// TestRemoteRollout rolls a version out to three hosts with Debian's sshd, sudo and nginx. One has a
// configuration that is broken already, one is unplugged in the middle of the upload, and is brought up
// to date when it is back.
func TestRemoteRollout(t *testing.T) {
	t.Parallel()
	w := newRemoteWorld(t, "web1", "web2", "web3")
	first, second, third := w.version(), w.version(), w.version()
	for name := range w.webs {
		w.install(name, first)
		w.awaitServed(name, first)
		w.serves(name, first)
	}
	w.webs["web2"].WriteFile("/etc/nginx/conf.d/other.conf", []byte("server { listen 444 ssl; ssl_certificate /none; }\n"), 0o644)
	plan := rollout.Plan{Hosts: []string{"web1", "web2", "web3"}, Wave: 100}
	record := rollout.Record{}
	for range 10 {
		step := plan.Next(record)
		for _, h := range step.Joined {
			record[h] = rollout.Progress{Wave: step.Wave, State: rollout.NotBegun}
		}
		for _, h := range step.Begin {
			record[h] = rollout.Progress{Wave: step.Wave, State: w.rolledOut(h, second)}
		}
		if step.Over {
			break
		}
	}
	if got, want := fmt.Sprint(plan.Results(record)), "[{web1 done} {web2 put_back} {web3 unreachable}]"; got != want {
		t.Errorf("the results are %s, want %s", got, want)
	}
	w.serves("web2", first)
	w.webs["web3"].Heal()
	w.webs["web2"].Must(t.Context(), "rm /etc/nginx/conf.d/other.conf")
	for name := range w.webs {
		w.install(name, third)
		w.awaitServed(name, third)
		w.serves(name, third)
	}
	late := w.task("web1", second)
	late.Order.Token = 1
	if r := w.deploy(late); r.Outcome.Kind != certmedic.OutcomeRefused {
		t.Errorf("a lower token has the outcome %+v", r)
	}
	w.serves("web1", third)
}

// rolledOut deploys to a host and tells its result. web3 is unplugged while its files are written.
func (w *remoteWorld) rolledOut(name string, v mint.Pair) rollout.State {
	w.t.Helper()
	task := w.task(name, v)
	if name == "web3" {
		web := w.webs[name]
		w.stall(web, &task, 9000)
		go func() { // ends with the deployment, at the latest
			for !w.stalled(web) {
				time.Sleep(20 * time.Millisecond)
			}
			web.Cut()
		}()
	}
	r := w.deploy(task)
	switch {
	case r.Error != "" || r.Outcome.Reason == remote.ReasonConnectionLost:
		return rollout.Unreachable
	case r.Outcome.Kind == certmedic.OutcomePutBack:
		if !strings.Contains(fmt.Sprint(r.Outcome.Evidence), "/none") && !strings.Contains(fmt.Sprint(r.Outcome.Evidence), "test failed") {
			w.t.Errorf("on %s the evidence is %+v", name, r.Outcome.Evidence)
		}
		return rollout.PutBack
	case r.Outcome.Reason == remote.ReasonInstalled && r.Kept == "":
		w.awaitServed(name, v)
		return rollout.Done
	}
	w.t.Errorf("on %s: %+v", name, r)
	return rollout.Failed
}

// stall has the sftp server of a task wait for two seconds once it got so many bytes.
func (w *remoteWorld) stall(web *testhost.Host, task *remoteTask, bytes int) {
	w.t.Helper()
	web.WriteFile(remoteBytes, fmt.Append(nil, bytes), 0o644)
	web.Must(w.t.Context(), "rm -f "+remoteStall)
	task.Host.SFTPServer = remoteSlow
}

func (w *remoteWorld) stalled(web *testhost.Host) bool {
	r, err := web.Run(w.t.Context(), "test", "-e", remoteStall)
	return err != nil || r.Code == 0
}

// TestRemoteKill ends the certmedic that deploys by SIGKILL at some points of its way, and has another
// one deploy: it ends what was begun, and nothing is torn in between.
func TestRemoteKill(t *testing.T) {
	t.Parallel()
	w := newRemoteWorld(t, "web1")
	web, last := w.webs["web1"], w.version()
	w.install("web1", last)
	points := []int{700, 6000, 10000, 13000, 15000, 16000}
	if os.Getenv("CERTMEDIC_CHAOS") == "1" {
		points = nil
		for n := 200; n < 18000; n += 200 {
			points = append(points, n)
		}
	}
	for _, n := range points {
		next := w.version()
		task := w.task("web1", next)
		w.stall(web, &task, n)
		ended := make(chan bool, 1)
		go func() {
			_, reported := w.run(t.Context(), task)
			ended <- reported
		}()
		killed := w.killStalled(web, ended)
		web.Must(t.Context(), "systemctl reload nginx") // as an administrator does at the worst moment
		if got := string(web.ReadFile(remoteCert)); got != string(last.FullchainPEM()) && got != string(next.FullchainPEM()) {
			t.Errorf("after %d bytes the certificate is torn", n)
		}
		after := w.version()
		w.install("web1", after)
		w.awaitServed("web1", after)
		w.serves("web1", after)
		last = after
		t.Logf("after %d bytes: killed %v", n, killed)
	}
}

// killStalled kills the certmedic of the test once its host waits, and reports whether it did.
func (w *remoteWorld) killStalled(web *testhost.Host, ended chan bool) bool {
	w.t.Helper()
	for {
		select {
		case reported := <-ended:
			return !reported
		default:
		}
		if w.stalled(web) {
			w.control.Must(w.t.Context(), "kill -9 $(cat "+remoteChild+") || true")
			return !<-ended
		}
		time.Sleep(20 * time.Millisecond)
	}
}
