package apache

import (
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

func FuzzParse(f *testing.F) {
	f.Add("Listen 443\n<VirtualHost *:443 [::1]:1>\nSSLEngine on\nSSLCertificateFile \"a\\\"b\"\n</VirtualHost>\nInclude more*", "Define A ${B}", "VirtualHost configuration:\n*:443 x (f:1)\nDefine: A=b")
	f.Add("<Macro A $b>\nListen $b\n</Macro>\nUse A 1\n<IfFile x>\n</IfFile>\nDefine A ${A}\\\n\n</", "Include more", "")
	f.Fuzz(func(t *testing.T, text, more, output string) {
		known, _ := parseStatus(output)
		known.root = "/etc"
		files := conf.InDump(map[string]string{"/etc/httpd.conf": text, "/etc/more": more, "/etc/envvars": more})
		servers, _ := parse("/etc/httpd.conf", files, known)
		for _, s := range servers {
			if len(s.Listen) == 0 || s.Line < 1 {
				t.Errorf("a server without an address or a place: %+v", s)
			}
		}
	})
}
