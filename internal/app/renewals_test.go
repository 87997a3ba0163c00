package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

// TestRenewals shows how certificates are renewed, by what their configuration and certbot's
// files say, and that nothing is run that others may change.
func TestRenewals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const conf = "version = 2.1.0\n[renewalparams]\nauthenticator = webroot\nlogs_dir = /srv/logs\nwork_dir = /srv/work\n"
	write("renewal/shop.conf", conf)
	lineage := func(name string) certmedic.Source {
		return certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: dir, Lineage: name}
	}
	c := &config.Config{Certificates: []config.Certificate{
		{Name: "shop", Renew: &config.Renew{Certbot: &config.RenewCertbot{Args: []string{"-v"}, Env: map[string]string{"A": "b"}}}},
		{Name: "by command", Renew: &config.Renew{Command: []string{"step", "renew"}}},
	}}
	ways := renewals(c)

	way, err := ways(certmedic.Certificate{Name: "shop", Source: lineage("shop")})
	if b := way.Certbot; err != nil || b == nil || b.Lineage != "shop" || b.ConfigDir != dir || b.WorkDir != "/srv/work" || b.LogsDir != "/srv/logs" || !slices.Equal(b.Args, []string{"-v"}) || b.Env["A"] != "b" {
		t.Errorf("as configured: %+v, %v", b, err)
	}
	if way, err := ways(certmedic.Certificate{Name: "discovered", Source: lineage("shop")}); err != nil || way.Certbot == nil || len(way.Certbot.Args) > 0 {
		t.Errorf("a lineage without a configuration: %+v, %v", way, err)
	}
	if way, err := ways(certmedic.Certificate{Name: "by command", Source: lineage("none")}); err != nil || way.Certbot != nil || !slices.Equal(way.Command, []string{"step", "renew"}) {
		t.Errorf("by a command: %+v, %v", way, err)
	}
	if way, err := ways(certmedic.Certificate{Name: "files", Source: certmedic.Source{Kind: certmedic.SourceFiles}}); err != nil || way.Certbot != nil || way.Command != nil {
		t.Errorf("files without a configuration: %+v, %v", way, err)
	}
	if _, err := ways(certmedic.Certificate{Name: "gone", Source: lineage("gone")}); err == nil {
		t.Error("a lineage that certbot does not know is renewed")
	}
	for _, path := range []string{write("renewal-hooks/pre/stop", ""), write("renewal-hooks/post/start", ""), write("cli.ini", ""), write("renewal/shop.conf", conf)} {
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := ways(certmedic.Certificate{Name: "shop", Source: lineage("shop")}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("others may write %s: %v", path, err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
