package postfix

import (
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

func FuzzParse(f *testing.F) {
	f.Add("smtpd_tls_security_level = ${a?{may}:{$b}}\nsmtpd_tls_cert_file = a\ntls_server_sni_maps = hash:table\n  b\n", "smtp inet n - n - - smtpd -o { a = b } -oc=d\n", "a b, c\n.d e\n")
	f.Fuzz(func(t *testing.T, main, master, table string) {
		files := conf.InDump(map[string]string{"/etc/main.cf": main, "/etc/master.cf": master, "/etc/table": table})
		p, err := parse("/etc/main.cf", files)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.servers() {
			if len(s.Listen) == 0 || s.Line < 1 || len(s.Certificates) == 0 {
				t.Errorf("a server without an address, a place or a certificate: %+v", s)
			}
		}
		p.directives()
	})
}
