package protocols_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
)

const (
	tlsDir   = "/etc/tls" // where every host has its certificates
	rootFile = tlsDir + "/root.pem"
)

// world is a network of hosts with a CA of its own.
type world struct {
	t       *testing.T
	network *testhost.Network
	tools   string
	root    *mint.CA
	issuing *mint.CA
}

// host is a host with certificates for its name.
type host struct {
	*testhost.Host
	world   *world
	rsa     mint.Pair
	ecdsa   mint.Pair
	expired mint.Pair // RSA, and over for a day
}

func newWorld(t *testing.T) *world {
	t.Helper()
	network := testhost.New(t)
	dir, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	root := mint.Must(mint.NewCA("Test Root"))
	return &world{t: t, network: network, tools: dir, root: root, issuing: mint.Must(root.Intermediate("Test Issuing"))}
}

// boot boots the host of a folder of testdata, with its files and with certificates for
// its name. Nothing is started yet.
func (w *world) boot(name string) *host {
	w.t.Helper()
	h := &host{Host: w.network.Boot(testhost.Spec{Name: name, Layer: name, Binds: []string{w.tools}}), world: w}
	files := os.DirFS("testdata/" + name)
	err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		if err == nil {
			h.WriteFile("/"+path, data, 0o644)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	h.WriteFile(rootFile, w.root.PEM(), 0o644)
	yesterday := time.Now().Add(-24 * time.Hour)
	h.rsa = h.issue("rsa", mint.Leaf{Names: []string{name}, KeyType: mint.RSA2048})
	h.ecdsa = h.issue("ecdsa", mint.Leaf{Names: []string{name}})
	h.expired = h.issue("expired", mint.Leaf{Names: []string{name}, KeyType: mint.RSA2048, NotAfter: yesterday})
	return h
}

// issue makes a certificate and writes it as FILE.pem, with its chain, FILE.key, and
// FILE.both, which holds key and chain.
func (h *host) issue(file string, leaf mint.Leaf) mint.Pair {
	h.world.t.Helper()
	pair, err := h.world.issuing.Leaf(leaf)
	if err != nil {
		h.world.t.Fatal(err)
	}
	key := mint.Must(pair.KeyPEM())
	h.WriteFile(tlsDir+"/"+file+".pem", pair.FullchainPEM(), 0o644)
	h.WriteFile(tlsDir+"/"+file+".key", key, 0o644) // servers run as many users
	h.WriteFile(tlsDir+"/"+file+".both", append(key, pair.FullchainPEM()...), 0o644)
	return pair
}

// start starts units, or again those that came up by themselves, with what the host's
// files say. Where that fails it says what was logged.
func (h *host) start(units ...string) {
	h.world.t.Helper()
	h.must("systemctl daemon-reload; systemctl restart " + strings.Join(units, " ") +
		" || { journalctl --sync; journalctl --no-pager --lines 100 >&2; exit 1; }")
}

func (h *host) must(script string) string {
	h.world.t.Helper()
	return h.Must(h.world.t.Context(), script)
}

// awaitPorts waits until something listens on every one of these TCP ports. It connects to
// none of them: some servers have one client at a time.
func (h *host) awaitPorts(ports ...string) {
	h.world.t.Helper()
	h.must(`for port in ` + strings.Join(ports, " ") + `; do
			for try in $(seq 600); do ss -ltnH "sport = :$port" | grep -q . && continue 2; sleep 0.05; done
			echo "nothing listens on port $port" >&2; journalctl --sync; journalctl --no-pager --lines 100 >&2; exit 1
		done`)
}

// check runs `certmedic check --json` on the host, with the CA as the only root, and
// returns the results by target and the exit code.
func (h *host) check(t *testing.T, args ...string) (map[string]check.Result, int) {
	t.Helper()
	r, err := h.Run(t.Context(), append([]string{h.world.tools + "/certmedic", "check", "--json", "--ca", rootFile}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var all []check.Result
	if err := json.Unmarshal([]byte(r.Stdout), &all); err != nil {
		t.Fatalf("certmedic check %q: exit code %d, %v\n%s%s", args, r.Code, err, r.Stdout, r.Stderr)
	}
	results := map[string]check.Result{}
	for _, result := range all {
		results[result.Target] = result
	}
	return results, r.Code
}

func fingerprint(pair mint.Pair) certmedic.Fingerprint {
	sum := sha256.Sum256(pair.Cert.Raw)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

// served returns the versions that a result shows, each once, in the order of its
// addresses.
func served(r check.Result) []certmedic.Fingerprint {
	var all []certmedic.Fingerprint
	seen := map[certmedic.Fingerprint]bool{}
	for _, a := range r.Addresses {
		if leaf, ok := a.Leaf(); ok && !seen[leaf.SHA256] {
			seen[leaf.SHA256] = true
			all = append(all, leaf.SHA256)
		}
	}
	return all
}

// findings returns all findings of a result, a line each.
func findings(r check.Result) string {
	all := r.Findings
	for _, a := range r.Addresses {
		all = append(all[:len(all):len(all)], a.Findings...)
	}
	var lines []string
	for _, f := range all {
		lines = append(lines, string(f.Code)+": "+f.Detail)
	}
	return strings.Join(lines, "\n")
}

// spki returns the SHA-256 of a certificate's key.
func spki(pair mint.Pair) certmedic.Fingerprint {
	sum := sha256.Sum256(pair.Cert.RawSubjectPublicKeyInfo)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}
