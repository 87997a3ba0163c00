package configs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/testhost"
	"github.com/certmedic/certmedic/probe/host/service"
	"github.com/certmedic/certmedic/probe/host/service/servicetest"
)

// tests are how each service tests its configuration; $1 is the main file, $2 its folder.
var tests = map[service.Kind]string{
	service.Nginx:   `nginx -t -q -c "$1"`,
	service.Apache:  `apache2 -t -f "$1"`,
	service.HAProxy: `haproxy -c -q -f "$1"`,
	service.Postfix: `postfix -c "$2" check`,
	service.Dovecot: `doveconf -n -c "$1" >/dev/null`,
}

// starts tell whether a service starts with its configuration and gives a client a handshake.
var starts = map[service.Kind]string{
	service.Apache: `apache2 -f "$1" -k start && apache2 -f "$1" -k stop && sleep 0.3`,
	service.Postfix: `trap 'postfix -c "$2" stop 2>/dev/null' EXIT
		postfix -c "$2" start
		grep -q sni_maps "$1" && name="-servername shop.example.test"
		echo QUIT | timeout 10 openssl s_client -connect 127.0.0.1:25 -starttls smtp $name -brief`,
	service.Dovecot: `trap 'doveadm -c "$1" stop 2>/dev/null' EXIT
		dovecot -c "$1"
		echo | timeout 10 openssl s_client -connect 127.0.0.1:993 -brief`,
}

// TestRealPrograms has the real programs judge every configuration.
func TestRealPrograms(t *testing.T) {
	dir, err := os.MkdirTemp("", "certmedic-configs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := testhost.New(t).Boot(testhost.Spec{Name: "stack", Layer: "stack", Binds: []string{dir}})
	h.Must(t.Context(), "mkdir -p /run/dovecot; chown root: "+dir)
	for _, kind := range service.Kinds() {
		found, refused := 0, 0
		for i, c := range servicetest.Cases(t, string(kind)) {
			main := servicetest.Write(t, c, string(kind), filepath.Join(dir, string(kind), fmt.Sprint(i)))
			if c.Verdict != servicetest.Accepted {
				refused++
			}
			if sure(service.Read(kind, main), c) {
				found++
			}
			if !asked(kind, i) {
				continue
			}
			r := run(t, h, tests[kind], main)
			if got := r.Code != 0; got != (c.Verdict == servicetest.Refused || c.Verdict == servicetest.Unseen) {
				t.Errorf("%s: %s is to be %s, but its test exits %d: %s%s", kind, c.About, c.Verdict, r.Code, r.Stdout, r.Stderr)
			}
			if c.Verdict == servicetest.Late {
				if r = run(t, h, starts[kind], main); r.Code == 0 {
					t.Errorf("%s: %s, yet it starts and serves: %s%s", kind, c.About, r.Stdout, r.Stderr)
				}
			}
		}
		t.Logf("%s: %d of %d mistakes are found", kind, found, refused)
	}
}

// asked reports whether a service's own program is asked about its i-th case: about each in the
// long proofs, else about each fourth of postfix, which takes seconds for one.
func asked(kind service.Kind, i int) bool {
	return kind != service.Postfix || i%4 == 0 || os.Getenv("CERTMEDIC_CHAOS") != ""
}

// run runs a script for a configuration on the host.
func run(t *testing.T, h *testhost.Host, script, main string) testhost.Result {
	t.Helper()
	r, err := h.Run(t.Context(), "/bin/sh", "-ec", script, "sh", main, filepath.Dir(main))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sure reports whether a service's configuration has a sure mistake of the kind and text that
// a case has.
func sure(s service.Service, c servicetest.Case) bool {
	for _, p := range s.Problems {
		if p.Sure && p.Late == (c.Verdict == servicetest.Late) && c.Verdict != servicetest.Accepted && strings.Contains(p.Text, c.Says) {
			return true
		}
	}
	return false
}
