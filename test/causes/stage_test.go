package causes_test

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/ca"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
)

//go:embed stage.sh
var stage string

//go:embed gate.py
var gate []byte

const (
	domain = "shop.example.test" // the certificate that every host has
	layer  = "stack"             // the packages of every host
	acme   = "127.0.0.1:14000"   // where a host finds the CA
)

// troupe is what all scenes share.
type troupe struct {
	tools string // the folder of certmedic and pebble
	ca    string // host:port of the CA on the machine
	disk  string // of a healthy host
}

// gather starts the CA and makes the healthy host that every scene begins with.
func gather(t *testing.T) *troupe {
	t.Helper()
	for key, value := range ca.Environment() {
		t.Setenv(key, value)
	}
	t.Setenv("PEBBLE_VA_ALWAYS_VALID", "1") // the hosts of different scenes have the same name
	authority, err := ca.Start(t.Context(), ca.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	tr := &troupe{tools: dir, disk: filepath.Join(t.TempDir(), "healthy.tar")}
	tr.ca = strings.TrimSuffix(strings.TrimPrefix(authority.Directory(), "https://"), "/dir")
	t.Cleanup(authority.Stop)
	h := &host{t: t, Host: testhost.New(t).Boot(testhost.Spec{Name: "healthy", Layer: layer, Binds: []string{dir}})}
	h.forward(tr.ca)
	h.WriteFile("/root/trusted.pem", append(authority.ServicePEM(), authority.RootPEM()...), 0o644)
	h.WriteFile("/root/gate", gate, 0o755)
	h.WriteFile("/root/named.yml", []byte(named), 0o644)
	h.sh(prepare)
	h.mint()
	h.SaveDisk(tr.disk)
	return tr
}

// prepare makes a healthy host.
const prepare = `
cat /root/trusted.pem >>/etc/ssl/certs/ca-certificates.crt
printf '%s\n' 'server = https://` + acme + `/dir' 'agree-tos = True' 'register-unsafely-without-email = True' >>/etc/letsencrypt/cli.ini
rm -f /etc/nginx/sites-enabled/default
printf 'server { listen 80 default_server; root /var/www/html; }\n' >/etc/nginx/conf.d/plain.conf
systemctl enable --quiet --now nginx certbot.timer
certbot certonly --quiet --webroot --webroot-path /var/www/html --domain $domain
printf '#!/bin/sh\nset -e\nnginx -t -q\nsystemctl reload nginx\n' | hook 10-nginx
site $domain $live/fullchain.pem $live/privkey.pem
`

// named is a configuration that has the endpoint by its name, where discovery would have it by the
// addresses of the host.
const named = `certificates:
  - name: ` + domain + `
    source: {certbot: {lineage: ` + domain + `}}
    endpoints: [{address: "` + domain + `:443"}]
`

// play boots a host for a scene, with nothing wrong on it.
func (tr *troupe) play(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, Host: testhost.New(t).Boot(testhost.Spec{Name: "web", Layer: layer, Disk: tr.disk, Binds: []string{tr.tools}})}
	h.forward(tr.ca)
	h.sh(`echo "127.0.0.1 $domain" >>/etc/hosts; install ` + tr.tools + `/* /usr/local/bin/; await is_stored`)
	return h
}

// host is a host with a scene on it.
type host struct {
	*testhost.Host
	t *testing.T
}

// sh runs steps, and fails the test where one of them fails.
func (h *host) sh(steps string) {
	h.t.Helper()
	r, err := h.Run(h.t.Context(), "/bin/bash", "-ec", stage+steps)
	if err != nil || r.Code != 0 {
		h.t.Fatalf("%s\nended with exit code %d, error %v\n%s%s", steps, r.Code, err, r.Stdout, r.Stderr)
	}
}

// mint writes versions of the certificate that nobody ordered, and has the host trust their root.
func (h *host) mint() {
	h.t.Helper()
	const day = 24 * time.Hour
	root := mint.Must(mint.NewCA("Staged Root"))
	issuing := mint.Must(root.Intermediate("Staged Issuing"))
	for kind, age := range map[string]time.Duration{"fresh": 0, "due": 80 * day, "expired": 100 * day} {
		begin := time.Now().Add(-age)
		pair := mint.Must(issuing.Leaf(mint.Leaf{Names: []string{domain}, NotBefore: begin, NotAfter: begin.Add(90 * day)}))
		files := map[string][]byte{
			"cert": pair.CertPEM(), "chain": pair.ChainPEM(), "fullchain": pair.FullchainPEM(), "privkey": mint.Must(pair.KeyPEM()),
		}
		for file, data := range files {
			h.WriteFile("/root/minted/"+kind+"/"+file+".pem", data, 0o600)
		}
	}
	h.WriteFile("/root/minted/root.pem", root.PEM(), 0o644)
	h.sh("cat /root/minted/root.pem >>/etc/ssl/certs/ca-certificates.crt")
}

// forward lets the host reach the CA, as long as the test goes on.
func (h *host) forward(to string) {
	h.t.Helper()
	listener, err := h.Listen("tcp", acme)
	if err != nil {
		h.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // it was closed
			}
			wg.Go(func() { join(h.t.Context(), client, to) })
		}
	})
	h.t.Cleanup(func() { _ = listener.Close(); wg.Wait() })
}

// join passes bytes between a client and an address, until one of them ends, or the test does.
func join(ctx context.Context, client net.Conn, to string) {
	defer client.Close()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { _ = client.Close(); _ = server.Close() })
	defer stop()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_, _ = io.Copy(client, server)
}

// tools builds certmedic and pebble, once for all tests, and returns the folder that holds them.
// They are static, so that they run on any host.
var tools = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", "e2e")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/",
		"./cmd/certmedic", "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building certmedic and pebble: %w: %s", err, out)
	}
	return dir, nil
})
