package protocols_test

import (
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

// TestDiscovery has `config init` look at a host with nginx, apache, haproxy and an FTP server:
// the first three are read, the last is found by its socket, and every endpoint is bound to
// the file that it serves without anybody saying so.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.boot("services")
	h.openOffice()
	h.must("a2enmod -q ssl; ln -s ../web.conf /etc/nginx/conf.d/; sed -i '/rsa/d' /etc/apache2/sites-enabled/000-default.conf")
	h.start("haproxy", "nginx", "apache2", "vsftpd")
	h.awaitPorts("8443", "8445", "4433", "21")

	text := h.must(w.tools + "/certmedic config init 2>/root/notes")
	c, _, err := config.Parse("init", []byte(text))
	if err != nil {
		t.Fatalf("%v, in\n%s", err, text)
	}
	bound := map[string]certmedic.Certificate{}
	for _, cert := range config.Certificates(c) {
		for _, ep := range cert.Endpoints {
			bound[ep.Protocol+" "+ep.Address] = cert
		}
	}
	for _, row := range []struct{ service, endpoint, file string }{
		{"nginx", "tls 127.0.0.1:4433", tlsDir + "/good.pem"},
		{"nginx, on one address", "tls 127.0.0.3:4432", tlsDir + "/rsa.pem"},
		{"apache", "tls 127.0.0.1:8443", tlsDir + "/ecdsa.pem"},
		{"haproxy", "tls 127.0.0.1:8445", tlsDir + "/ecdsa.both"},
		{"vsftpd, by its socket", "ftp 127.0.0.1:21", tlsDir + "/rsa.pem"},
	} {
		cert, ok := bound[row.endpoint]
		if !ok || cert.Source.Cert != row.file {
			t.Errorf("%s: %q is bound to %+v, want %s; found was\n%s\n%s", row.service, row.endpoint, cert, row.file, text, h.must("cat /root/notes"))
			return
		}
	}
}
