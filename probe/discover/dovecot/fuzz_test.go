package dovecot

import (
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

func FuzzParse(f *testing.F) {
	f.Add("protocols = imap\nssl_cert = </a # b\nlocal_name \"a b\" {\n ssl_server {\n cert_file = /b\n }\n}\n!include more\n", "service imap-login {\n inet_listener x {\n port = 1\n }\n}\nlocal ::1 {\nssl_cert=</c\n}\n")
	f.Fuzz(func(t *testing.T, main, more string) {
		files := conf.InDump(map[string]string{"/etc/dovecot.conf": main, "/etc/more": more})
		p, err := parse("/etc/dovecot.conf", files)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.servers() {
			if s.Line < 1 || len(s.Certificates) == 0 {
				t.Errorf("a server without a place or a certificate: %+v", s)
			}
		}
	})
}
