package e2e_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/testhost"
)

// The one certificate of a world.
const (
	name     = "shop"              // as certmedic's configuration calls it
	domain   = "shop.example.test" // and certbot its lineage
	live     = "/etc/letsencrypt/live/" + domain
	hookFile = "/etc/letsencrypt/renewal-hooks/deploy/10-nginx"
	hookLog  = "/var/log/hook" // hooks add a line here each time they run
)

// patience bounds the waits for what is to happen soon.
const patience = 30 * time.Second

// world is a host with a CA, certbot that trusts it and got a certificate of it, and
// nginx that serves this certificate.
type world struct {
	*testhost.Host
	t      *testing.T
	tools  string
	alerts *alerts
}

// setting says how a world differs from the plain one.
type setting struct {
	days    int    // lifetime of certificates; certbot renews from 30 days before their end
	certbot string // further arguments of the first `certbot certonly`
	layer   string // the packages of the host; empty: web
}

// newWorld builds a world, in which nothing is wrong and certmedic does not run yet.
func newWorld(t *testing.T, s setting) *world {
	t.Helper()
	network := testhost.New(t)
	dir, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	host := network.Boot(testhost.Spec{Name: "web", Layer: cmp.Or(s.layer, "web"), Binds: []string{dir}})
	w := &world{Host: host, t: t, tools: dir}
	w.alerts = listen(t, host)
	if s.days == 0 {
		s.days = 90
	}
	w.startCA(s.days)
	w.must(`printf '%s\n' 'server = https://localhost:14000/dir' 'agree-tos = True' 'register-unsafely-without-email = True' 'no-random-sleep-on-renew = True' >>/etc/letsencrypt/cli.ini
		systemctl start nginx
		certbot certonly --quiet --webroot --webroot-path /var/www/html --domain ` + domain + " " + s.certbot)
	w.serveTLS("shop", domain, live+"/fullchain.pem", live+"/privkey.pem")
	return w
}

// startCA starts pebble, has the host trust it, and gives the certificate's name to the
// host, for the CA as for everybody else there.
func (w *world) startCA(days int) {
	w.t.Helper()
	w.WriteFile("/etc/pebble/config.json", fmt.Appendf(nil, `{"pebble": {
		"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
		"certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem", "httpPort": 80, "tlsPort": 443,
		"profiles": {"default": {"description": "all", "validityPeriod": %d}}}}`, days*24*60*60), 0o644)
	w.must(`cd /etc/pebble
		echo "127.0.0.1 ` + domain + ` other.example.test" >>/etc/hosts
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost \
			-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>/dev/null
		systemd-run --quiet --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_AUTHZREUSE=0 --setenv=PEBBLE_WFE_NONCEREJECT=0 ` + w.tools + `/pebble -config /etc/pebble/config.json
		for try in $(seq 400); do
			curl --silent --fail --cacert cert.pem https://localhost:15000/roots/0 >root.pem && break
			sleep 0.05
		done
		test -s root.pem
		cat cert.pem root.pem >>/etc/ssl/certs/ca-certificates.crt`)
}

// serveTLS gives nginx a virtual host and makes it load that.
func (w *world) serveTLS(file, serverName, cert, key string) {
	w.t.Helper()
	w.WriteFile("/etc/nginx/conf.d/"+file+".conf", fmt.Appendf(nil,
		"server { listen 443 ssl; server_name %s; ssl_certificate %s; ssl_certificate_key %s; }\n", serverName, cert, key), 0o644)
	w.must("nginx -t -q && systemctl reload nginx")
}

// hook writes the lineage's deploy hook. Each run of it adds a line to the log: the
// program that ran it.
func (w *world) hook(script string) {
	w.WriteFile(hookFile, []byte("#!/bin/sh\n"+caller+"echo $caller >>"+hookLog+"\n"+script), 0o755)
}

// caller has a hook find out which program runs it, shells left out.
const caller = `pid=$PPID caller=sh
while [ $caller = sh ]; do read -r caller </proc/$pid/comm; read -r _ _ _ pid _ </proc/$pid/stat; done
`

// failOnce is a hook that fails when certbot runs it, and works when it is run again.
const failOnce = `if [ ! -e /run/failed ]; then touch /run/failed; echo "nginx is busy" >&2; exit 3; fi
rm /run/failed
systemctl reload nginx
`

// hookRuns returns how often a hook was run by certbot, and how often by certmedic.
func (w *world) hookRuns() (certbot, certmedic int) {
	w.t.Helper()
	log := w.must("cat " + hookLog + " 2>/dev/null || true")
	return strings.Count(log, "certbot\n"), strings.Count(log, "certmedic\n")
}

// renew has certbot renew the certificate, due or not. It returns the new version and
// when certbot had ended: with exit code 0, whatever its hooks did.
func (w *world) renew(args ...string) (certmedic.Fingerprint, time.Time) {
	w.t.Helper()
	before := w.stored()
	out := w.must("certbot renew --force-renewal " + strings.Join(args, " ") + " 2>&1")
	ended := time.Now()
	if !strings.Contains(out, "all renewals succeeded") {
		w.t.Fatalf("certbot does not claim that all renewals succeeded:\n%s", out)
	}
	after := w.stored()
	if after == before {
		w.t.Fatalf("certbot renewed, and the stored version still is %s:\n%s", after.Short(), out)
	}
	return after, ended
}

// stored returns the version that live/ leads to.
func (w *world) stored() certmedic.Fingerprint {
	w.t.Helper()
	block, _ := pem.Decode(w.ReadFile(live + "/cert.pem"))
	if block == nil {
		w.t.Fatal("the stored certificate is no PEM")
	}
	return fingerprint(block.Bytes)
}

func fingerprint(der []byte) certmedic.Fingerprint {
	sum := sha256.Sum256(der)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

// served returns the version that nginx presents for a name, by a handshake of our own;
// empty where there was none.
func (w *world) served(serverName string) certmedic.Fingerprint {
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
	defer cancel()
	conn, err := w.Dial(ctx, "tcp", "localhost:443")
	if err != nil {
		return ""
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{ServerName: serverName, InsecureSkipVerify: true}) // what is served is the question
	if err := client.HandshakeContext(ctx); err != nil {
		return ""
	}
	return fingerprint(client.ConnectionState().PeerCertificates[0].Raw)
}

// awaitServed waits until nginx presents a version and returns when that was.
func (w *world) awaitServed(version certmedic.Fingerprint) time.Time {
	w.t.Helper()
	w.await(version.Short()+" is served", patience, 20*time.Millisecond, func() bool { return w.served(domain) == version })
	return time.Now()
}

// await waits until something holds, and fails the test with the daemon's log if it does
// not in time.
func (w *world) await(what string, limit, every time.Duration, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(every) {
		if time.Now().After(deadline) {
			w.fatalf("after %s it is not so that %s", limit, what)
		}
	}
}

// stays checks, for a while, that something holds all the time.
func (w *world) stays(what string, long time.Duration, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if !holds() {
			w.fatalf("it is no longer so that %s", what)
		}
	}
}

// must runs a script on the host, and fails the test with the daemon's log where the
// script fails.
func (w *world) must(script string) string {
	w.t.Helper()
	r, err := w.Sh(w.t.Context(), script)
	if err != nil || r.Code != 0 {
		w.fatalf("%s\nended with exit code %d, error %v\n%s%s", script, r.Code, err, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// fatalf fails the test, with what certmedic logged last.
func (w *world) fatalf(format string, args ...any) {
	w.t.Helper()
	log, _ := w.Sh(context.Background(), "journalctl --sync; journalctl --unit certmedic --no-pager --lines 50 --output cat")
	w.t.Fatalf("%s\n--- certmedic:\n%s", fmt.Sprintf(format, args...), log.Stdout)
}
