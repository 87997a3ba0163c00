package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/config"
)

func TestClusterDefaults(t *testing.T) {
	c, _, err := config.Parse("x", []byte("cluster: {member: m1, etcd: {endpoints: [\"http://etcd:2379\"]}}\nwatch: [{address: a.test:443}]"))
	if err != nil {
		t.Fatal(err)
	}
	if m := c.Cluster; m.Lease != 10*time.Second || m.Shard || m.Emergency != "5%" || m.Etcd.Prefix != "/certmedic" {
		t.Errorf("the cluster is %+v", m)
	}
	if c, _, err := config.Parse("x", []byte("watch: [{address: a.test:443}]")); err != nil || c.Cluster != nil {
		t.Errorf("without the key there is a cluster: %v", err)
	}
}

func TestClusterRefuses(t *testing.T) {
	const etcd = `etcd: {endpoints: ["https://etcd:2379"]}`
	for _, row := range []struct{ about, text, want string }{
		{"no member", etcd, "cluster.member: is missing"},
		{"a member that is no name", `member: "m 1", ` + etcd, `x:1:19: cluster.member: "m 1" is no name`},
		{"a lease that is too short", "member: m1, lease: 1s, " + etcd, "cluster.lease: must be whole seconds between 2s and 10m0s"},
		{"a lease of half seconds", "member: m1, lease: 2500ms, " + etcd, "must be whole seconds"},
		{"a share that is none", "member: m1, emergency: 5, " + etcd, `cluster.emergency: "5" is no share`},
		{"two coordinators", "member: m1, dir: {path: /srv}, " + etcd, "has etcd and dir, of which only one may be there"},
		{"a folder by a relative path", "member: m1, dir: {path: srv}", `cluster.dir.path: "srv" is not an absolute path`},
		{"an address that is no URL", "member: m1, address: \"10.0.0.1:9879\", " + etcd, "cluster.address"},
		{"a user without a password", "member: m1, username: u, " + etcd, "username and password_file belong together"},
		{"no endpoints", "member: m1, etcd: {endpoints: []}", "cluster.etcd.endpoints: needs at least one"},
		{"an endpoint without a scheme", "member: m1, etcd: {endpoints: [\"etcd:2379\"]}", "cluster.etcd.endpoints[0]"},
		{"some endpoints with TLS", `member: m1, etcd: {endpoints: ["http://a:1", "https://b:1"]}`, "of 2 endpoints 1 have TLS"},
		{"roots for no TLS", `member: m1, etcd: {endpoints: ["http://a:1"], ca_file: /ca.pem}`, "need endpoints that begin with https://"},
		{"a client certificate without its key", `member: m1, etcd: {endpoints: ["https://a:1"], cert_file: /c.pem}`, "cert_file and key_file belong together"},
		{"no bucket", "member: m1, s3: {}", "cluster.s3.bucket: is missing"},
		{"a bucket that is none", "member: m1, s3: {bucket: a/b}", `cluster.s3.bucket: "a/b" is no name`},
		{"a word that is not known", "member: m1, leese: 3s, " + etcd, `did you mean "lease"?`},
	} {
		_, _, err := config.Parse("x", []byte("cluster: {"+row.text+"}\nwatch: [{address: a.test:443}]"))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
}

// TestClusterFiles refuses secrets that others can read.
func TestClusterFiles(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"password": 0o644, "ca.pem": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "certmedic.yml")
	text := strings.ReplaceAll(`
cluster:
  member: m1
  etcd: {endpoints: ["https://etcd:2379"], ca_file: DIR/ca.pem, key_file: DIR/none, cert_file: DIR/ca.pem, username: u, password_file: DIR/password}
watch: [{address: a.test:443}]
`, "DIR", dir)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := config.Load(file)
	for _, want := range []string{"cluster.etcd.password_file", "cluster.etcd.key_file"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it is %v, want %s", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "cluster.etcd.ca_file") {
		t.Errorf("what anybody may read is refused: %v", err)
	}
}
