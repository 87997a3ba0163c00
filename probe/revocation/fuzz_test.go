package revocation

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	encoding "encoding/asn1"
	"testing"

	"golang.org/x/crypto/ocsp"
)

// FuzzList holds our reading of lists to that of crypto/x509: what one takes with all of
// its entries, the other finds.
func FuzzList(f *testing.F) {
	w := newWorld(f)
	leaf := w.leaf(nil)
	f.Add(w.list(w.inter, nil))
	f.Add(w.list(w.inter, both(revoking(leaf, 1), revoking(leaf, 8), scoped([]string{"http://x"}, 1))))
	f.Fuzz(func(t *testing.T, data []byte) {
		header, entries, err := splitList(data)
		if err != nil {
			return
		}
		records, err := index(entries)
		if err != nil {
			return
		}
		_, _ = scopeOf(header.Extensions)
		whole, err := x509.ParseRevocationList(data)
		if err != nil {
			return
		}
		if !bytes.Equal(whole.RawTBSRevocationList, header.RawTBSRevocationList) || !bytes.Equal(whole.Signature, header.Signature) ||
			whole.SignatureAlgorithm != header.SignatureAlgorithm || !whole.ThisUpdate.Equal(header.ThisUpdate) || !whole.NextUpdate.Equal(header.NextUpdate) {
			t.Error("the header differs from that of crypto/x509")
		}
		l := &list{records: records}
		for _, e := range whole.RevokedCertificateEntries {
			if e.SerialNumber.Sign() < 0 || e.ReasonCode == reasonRemove {
				continue
			}
			if r := l.lookUp(e.SerialNumber); r == nil || r.at.After(e.RevocationTime) && r.at.Unix() > 0 {
				t.Errorf("the entry of %x at %s became %v", e.SerialNumber, e.RevocationTime, r)
			}
		}
	})
}

// FuzzScope reads issuing distribution points.
func FuzzScope(f *testing.F) {
	w := newWorld(f)
	for _, edit := range []func(*x509.RevocationList){scoped([]string{"http://x", "ldap://y"}, 1, 4), scoped(nil, 2), scoped(nil, 3, 5)} {
		l, err := x509.ParseRevocationList(w.list(w.inter, edit))
		check(f, err)
		f.Add(l.Extensions[len(l.Extensions)-1].Value)
	}
	leaf := w.leaf(nil)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := scopeOf([]pkix.Extension{{Id: encoding.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: data}})
		if err != nil {
			return
		}
		if why := s.excludes(leaf); s.named && why == "" {
			t.Errorf("the leaf points to none of %q", s.urls)
		}
	})
}

// FuzzStaple reads responses; none but those that were signed may be believed.
func FuzzStaple(f *testing.F) {
	w := newWorld(f)
	leaf := w.leaf(nil)
	good := w.response(leaf, nil)
	f.Add(good)
	f.Add(w.delegated(w.inter, leaf, nil))
	f.Add(w.response(leaf, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now }))
	f.Add(ocsp.TryLaterErrorResponse)
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readAnswer(data, subject{cert: leaf, issuer: w.inter.Cert, leaf: true})
		if err == nil {
			_ = a.judge(now, source{what: "the response"}).facts.Status
		}
		_, _, _ = issuerHashes(data, leaf)
	})
}

// FuzzFile reads what is kept on disk.
func FuzzFile(f *testing.F) {
	const url = "http://crl.example.com/1.crl"
	f.Add(keptFile{now, []byte("list")}.bytes(url))
	f.Add([]byte(fileMagic + " x \"y\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		kept, err := parseFile(data, url)
		if err != nil {
			return
		}
		again, err := parseFile(kept.bytes(url), url)
		if err != nil || !again.fetched.Equal(kept.fetched) || !bytes.Equal(again.list, kept.list) {
			t.Errorf("it reads %v differently the second time: %v %v", kept, again, err)
		}
	})
}
