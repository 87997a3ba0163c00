package disk

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// FuzzBytes reads whatever comes as PEM, DER, a kubeconfig and a private key.
func FuzzBytes(f *testing.F) {
	tree := disktest.New(f)
	tree.Issue("shop", []string{"shop.example.test"}, disktest.Options{})
	for _, kind := range []string{"fullchain", "privkey"} {
		data, err := readFile(tree.Live("shop", kind), maxPEMSize)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----"))
	f.Add([]byte("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {certificate-authority-data: QUFB}}]\nusers: [{name: b, user: {client-certificate: /x}}]\n"))
	f.Add([]byte(`{"apiVersion": "v1", "kind": "Config", "clusters": [], "users": &a [*a, *a]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := Reader{}.builder(time.Unix(0, 0))
		certs, errs := b.parseCertificates(data)
		if len(certs) == 0 && len(errs) == 0 {
			t.Error("neither a certificate nor a reason why there is none")
		}
		if _, err := parseKey(data, [][]byte{[]byte("x")}); err != nil && strings.Contains(err.Error(), "-----") {
			t.Errorf("an error quotes the file: %v", err)
		}
		conf, err := parseKubeconfig(data)
		if err == nil && conf.Kind != "Config" {
			t.Error("what is no kubeconfig was taken for one")
		}
		holdsCertificates(data)
	})
}
