package app_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// TestBudget has a lineage that certbot had Let's Encrypt renew three times just now. A daemon
// tells what is left by its metrics and a rule, also once its state folder was lost.
func TestBudget(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", []string{"shop.example.com"}, disktest.Options{NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(90 * 24 * time.Hour)})
	for range 3 {
		tree.Renew("shop")
	}
	text, err := os.ReadFile(tree.Conf("shop"))
	if err != nil {
		t.Fatal(err)
	}
	production := strings.Replace(string(text), "https://acme.example.test/", "https://acme-v02.api.letsencrypt.org/", 1)
	if err := os.WriteFile(tree.Conf("shop"), []byte(production), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: t.TempDir()}
	s.write(t, "certmedic.yml", fmt.Sprintf(`state_dir: %s
probe: {ari: false}
certificates: [{name: shop, source: {certbot: {config_dir: %s, lineage: shop}}}]
`, s.path("state"), tree.ConfigDir))
	for _, life := range []string{"first", "second"} {
		d := s.start(t)
		waitFor(t, "the "+life+" budget", func() bool {
			_, page := d.get(t, "/metrics")
			return strings.Contains(page, `certmedic_ca_budget_remaining{limit="certificates_per_exact_set"} 1`+"\n")
		})
		waitFor(t, "the rule", func() bool {
			_, page := d.get(t, "/api/v1/incidents")
			return strings.Contains(page, "rate-limit-near")
		})
		if err := d.stop(); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(s.path("state"), s.path("state of the "+life)); err != nil {
			t.Fatal(err)
		}
	}
}
