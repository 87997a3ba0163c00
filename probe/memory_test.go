package probe

import (
	"crypto/x509"
	"encoding/binary"
	"testing"
)

// Intermediates are kept, leaves are not, and hostile servers cannot make it many or much.
func TestKeptIssuersAreBounded(t *testing.T) {
	certificate := func(i int) *x509.Certificate {
		return &x509.Certificate{RawSubjectPublicKeyInfo: binary.BigEndian.AppendUint32(nil, uint32(i))}
	}
	var m Memory
	m.keepIssuers([]*x509.Certificate{certificate(0)})
	if len(m.issuers) != 0 {
		t.Error("a leaf is kept")
	}
	for i := range 3 * maxIssuers {
		m.keepIssuers([]*x509.Certificate{certificate(0), certificate(i + 1)})
		if kept := m.issuers[string(certificate(i+1).RawSubjectPublicKeyInfo)]; kept == nil || len(m.issuers) > maxIssuers {
			t.Fatalf("after %d intermediates %d are kept, the last one: %v", i+1, len(m.issuers), kept != nil)
		}
	}
	m = Memory{}
	m.keepIssuers([]*x509.Certificate{certificate(0), {Raw: make([]byte, maxIssuerSize+1)}})
	if len(m.issuers) != 0 {
		t.Error("an intermediate that is far too large is kept")
	}
	(*Memory)(nil).keepIssuers([]*x509.Certificate{certificate(0), certificate(1)})
}
