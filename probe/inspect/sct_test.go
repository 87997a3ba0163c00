package inspect

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cryptobyteasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// sct is a serialized timestamp of a log whose ID repeats a byte.
func sct(log byte, at time.Time) []byte {
	var b cryptobyte.Builder
	b.AddUint8(0)
	b.AddBytes(bytes.Repeat([]byte{log}, 32))
	b.AddUint64(uint64(at.UnixMilli()))
	b.AddUint16(0)
	b.AddUint8(4)
	b.AddUint8(3)
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("signature")) })
	return b.BytesOrPanic()
}

// sctList is the value of the extension that holds the timestamps.
func sctList(scts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cryptobyteasn1.OCTET_STRING, func(b *cryptobyte.Builder) {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			for _, s := range scts {
				b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(s) })
			}
		})
	})
	return b.BytesOrPanic()
}

// extended returns an edit that adds an extension.
func extended(value []byte, id ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Value: value})
	}
}

func logged(scts ...[]byte) func(*x509.Certificate) {
	return extended(sctList(scts...), 1, 3, 6, 1, 4, 1, 11129, 2, 4, 2)
}

func TestSCTs(t *testing.T) {
	w := newWorld(t)
	leaf := w.leaf(t, logged(sct('a', now), []byte("no timestamp"), sct('b', days(-1)))).Cert
	got := SCTs(leaf, [][]byte{sct('c', now)}, [][]byte{{}, sct('d', now)})
	want := []certmedic.SCTFacts{{Source: "certificate"}, {Source: "certificate", Time: days(-1)}, {Source: "tls"}, {Source: "ocsp"}}
	if len(got) != len(want) {
		t.Fatalf("timestamps are %v, want %d", got, len(want))
	}
	for i, fact := range got {
		at, id := now, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{'a' + byte(i)}, 32))
		if !want[i].Time.IsZero() {
			at = want[i].Time
		}
		if fact.Source != want[i].Source || !fact.Time.Equal(at) || fact.Log != id {
			t.Errorf("timestamp %d is %+v", i, fact)
		}
	}
	if got := SCTs(nil, nil, nil); got != nil {
		t.Errorf("timestamps of nothing are %v", got)
	}
}

func TestSCTListRefusesWhatIsBroken(t *testing.T) {
	good := sctList(sct('a', now))
	many := make([][]byte, maxSCTs+1)
	for i := range many {
		many[i] = sct('a', now)
	}
	for about, value := range map[string][]byte{
		"nothing": nil, "cut off": good[:len(good)-1], "something after it": append(bytes.Clone(good), 0),
		"no octet string": append([]byte{0x30}, good[1:]...), "an empty timestamp": sctList(nil), "too many": sctList(many...),
	} {
		if got, err := SCTList(value); err == nil {
			t.Errorf("%s: the list is read as %v", about, got)
		}
	}
	if got, err := SCTList(good); err != nil || len(got) != 1 || !bytes.Equal(got[0], sct('a', now)) {
		t.Errorf("the list is read as %v, %v", got, err)
	}
}

func TestNoSCT(t *testing.T) {
	w := newWorld(t)
	bare, full := w.leaf(t, nil), w.leaf(t, logged(sct('a', now)))
	broken := w.leaf(t, extended([]byte{4, 0}, 1, 3, 6, 1, 4, 1, 11129, 2, 4, 2))
	public := func(edit func(*Options)) func(*Options) {
		return func(o *Options) {
			o.Public = certtest.Pool(w.root)
			if edit != nil {
				edit(o)
			}
		}
	}
	noSCT := codesList{certmedic.NoSCT}
	judge(t, w, []chainCase{
		{"a public chain without a timestamp", certs(bare, w.inter), public(nil), noSCT, `a certificate of "Inter" that is in no log`},
		{"a timestamp in the certificate", certs(full, w.inter), public(nil), codesList{}, ""},
		{"a timestamp in the handshake", certs(bare, w.inter), public(func(o *Options) { o.SCTs = [][]byte{sct('a', now)} }), codesList{}, ""},
		{"what is no timestamp does not count", certs(broken, w.inter), public(func(o *Options) { o.SCTs = [][]byte{{1}} }), noSCT, ""},
		{"a private chain needs none", certs(bare, w.inter), func(o *Options) { o.Public = certtest.Pool(w.other) }, codesList{}, ""},
		{"nothing is known of public roots", certs(bare, w.inter), nil, codesList{}, ""},
		{
			"a public chain that is not trusted here", certs(bare, w.inter), public(func(o *Options) { o.Roots[0].Pool = certtest.Pool(w.other) }),
			codesList{certmedic.Untrusted, certmedic.NoSCT},
			"",
		},
	})
}

func TestMustStaple(t *testing.T) {
	w := newWorld(t)
	feature := func(features ...int) *x509.Certificate {
		value, err := asn1.Marshal(features)
		if err != nil {
			t.Fatal(err)
		}
		return w.leaf(t, extended(value, 1, 3, 6, 1, 5, 5, 7, 1, 24)).Cert
	}
	tests := []struct {
		about string
		leaf  *x509.Certificate
		want  bool
	}{
		{"no extension", w.leaf(t, nil).Cert, false},
		{"status_request", feature(5), true},
		{"status_request among others", feature(17, 5), true},
		{"another feature", feature(17), false},
		{"an extension that cannot be read", w.leaf(t, extended([]byte{0x30, 9}, 1, 3, 6, 1, 5, 5, 7, 1, 24)).Cert, false},
	}
	for _, tt := range tests {
		if got := MustStaple(tt.leaf); got != tt.want {
			t.Errorf("%s: must staple is %v", tt.about, got)
		}
	}
}

func FuzzSCTs(f *testing.F) {
	f.Add(sctList(sct('a', now), sct('b', now)), sct('c', now))
	f.Add([]byte{4, 2, 0, 0}, []byte{})
	f.Fuzz(func(t *testing.T, extension, raw []byte) {
		scts, err := SCTList(extension)
		if err != nil && scts != nil || len(scts) > maxSCTs {
			t.Errorf("%d timestamps and the error %v", len(scts), err)
		}
		for _, fact := range SCTs(nil, append(scts, raw), scts) {
			if _, err := fact.Time.MarshalJSON(); err != nil || len(fact.Log) != 44 {
				t.Errorf("%+v cannot be written: %v", fact, err)
			}
		}
	})
}
