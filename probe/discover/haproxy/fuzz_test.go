package haproxy

import (
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

func FuzzParse(f *testing.F) {
	f.Add("global\n crt-base /x\n setenv A b\nfrontend f\n bind [::1]:443,:1 ssl crt \"${A-b}$C\" crt-list list\n", "a [b] c !d\n")
	f.Fuzz(func(t *testing.T, text, list string) {
		files := conf.InDump(map[string]string{"/etc/haproxy.cfg": text, "/etc/list": list, "/etc/a.rsa": "", "/etc/a.ecdsa": ""})
		servers, _ := parse("/etc/haproxy.cfg", files)
		for _, s := range servers {
			if len(s.Listen) == 0 || s.Line < 1 || len(s.Certificates) == 0 {
				t.Errorf("a server without an address, a place or a certificate: %+v", s)
			}
		}
	})
}
