package protocols_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

// TestDNS asks unbound, which validates DNSSEC, about a zone that ldns signed.
func TestDNS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.boot("services")
	names := []string{"good.example.test", "wrong.example.test", "nobody.example.test"}
	pair := h.issue("zone", mint.Leaf{Names: names})
	h.sign(names, string(spki(pair)))
	h.must("ln -s ../dns.conf /etc/nginx/conf.d/ && mv /etc/unbound/signed.conf /etc/unbound/zone.conf")
	h.start("nginx", "unbound")
	h.awaitPorts("4438", "53")

	for _, row := range []struct {
		target string
		code   int
		want   string
	}{
		{"good.example.test:4438", 0, ""},
		{"wrong.example.test:4438", 2, "dane_mismatch: "},
		{"nobody.example.test:4438", 1, "caa_forbids: "},
	} {
		results, code := h.check(t, row.target, "--resolver", h.IP())
		got := findings(results[row.target])
		if code != row.code || !strings.HasPrefix(got, row.want) || row.want == "" && got != "" {
			t.Errorf("%s: the exit code is %d, want %d, and the findings, which should begin with %q, are\n%s", row.target, code, row.code, row.want, got)
		}
	}
}

// sign makes and signs the zone in which these names lead to the host. The first has a
// TLSA record of the key that is served, the second one of another key, and the third
// lets nobody issue.
func (h *host) sign(names []string, key string) {
	h.world.t.Helper()
	zone := "$ORIGIN example.test.\n$TTL 60\n@ IN SOA ns hostmaster 1 60 60 600 60\n@ IN NS ns\nns IN A " + h.IP() + "\n"
	for _, name := range names {
		zone += fmt.Sprintf("%s. IN A %s\n", name, h.IP())
	}
	other := []rune(key)
	slices.Reverse(other)
	zone += fmt.Sprintf("_4438._tcp.%s. IN TLSA 3 1 1 %s\n_4438._tcp.%s. IN TLSA 3 1 1 %s\n%s. IN CAA 0 issue \";\"\n",
		names[0], key, names[1], string(other), names[2])
	h.WriteFile("/etc/unbound/example.test", []byte(zone), 0o644)
	h.must(`cd /etc/unbound
		key=$(ldns-keygen -a ECDSAP256SHA256 -k example.test)
		ldns-signzone example.test $key
		cp $key.key trust.key`)
}
