package live

import (
	"crypto/tls"
	"errors"
	"slices"

	"github.com/certmedic/certmedic"
)

// offer is what one attempt offers to the peer.
type offer struct {
	minVersion, maxVersion uint16
	groups                 []tls.CurveID // nil offers Go's defaults
	suites                 []uint16      // of TLS 1.2 and before; those of TLS 1.3 are always offered
	alpn                   []string
	capture                bool // keep the plain records, to read certificates that crypto/tls rejects
}

// classicGroups are the groups without the post-quantum ones, whose key shares cost
// time on both sides. crypto/tls sends a share for the first, whatever their order.
var classicGroups = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// fastGroups is the one whose arithmetic costs least, about a third of X25519's where Go has
// it in assembly. Nearly every server has it; the others refuse and get the full offer. It is
// alone because crypto/tls would send a share of X25519 if that were among them.
var fastGroups = []tls.CurveID{tls.CurveP256}

// FastGroup is the name of the group that a fast offer leads to.
const FastGroup = "CurveP256"

// ladder holds the offers in the order in which they are tried: the fast one, the full
// one, one for peers that fail on the large ClientHello of a post-quantum key share or on
// TLS 1.3, and one for peers that fail on every version that they do not know.
var ladder = []offer{
	{maxVersion: tls.VersionTLS13, groups: fastGroups},
	{maxVersion: tls.VersionTLS13},
	{maxVersion: tls.VersionTLS12, groups: classicGroups, capture: true},
	{maxVersion: tls.VersionTLS10, groups: classicGroups, capture: true},
}

// where a request enters the ladder.
const (
	fromFast = iota
	fromFull
	fromOlder
)

// suites holds every cipher suite before TLS 1.3 that crypto/tls knows, secure or not:
// first those of servers with an ECDSA (or Ed25519) key, then those with an RSA key.
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA,

	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA256,
	tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	tls.TLS_RSA_WITH_AES_256_CBC_SHA,
	tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
	tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA,
	tls.TLS_RSA_WITH_RC4_128_SHA,
}

const ecdsaSuites = 7 // at the beginning of suites

var errNoVersion = errors.New("no version of TLS is left to offer: the types of key are told apart by TLS 1.2 and before, QUIC has TLS 1.3, and the settings may allow fewer versions")

// offersFor returns the offers to make, at least one, in their order.
func offersFor(r *Request, protocol Protocol) ([]offer, error) {
	from, wanted := fromFull, suites
	switch {
	case r.Variant == certmedic.VariantECDSA:
		from, wanted = fromOlder, suites[:ecdsaSuites]
	case r.Variant == certmedic.VariantRSA:
		from, wanted = fromOlder, suites[ecdsaSuites:]
	case r.Fast && !protocol.wary:
		from = fromFast
	}
	oldest := uint16(tls.VersionTLS10)
	if protocol.QUIC {
		oldest = tls.VersionTLS13
	}
	settings := r.settings()
	offers := slices.Clone(ladder[from:])
	for i := range offers {
		o := &offers[i]
		o.suites, o.alpn, o.minVersion = wanted, protocol.ALPN, max(settings.MinVersion, oldest)
		if settings.MaxVersion != 0 {
			o.maxVersion = min(o.maxVersion, settings.MaxVersion)
		}
	}
	offers = slices.DeleteFunc(offers, func(o offer) bool { return o.maxVersion < o.minVersion })
	switch {
	case len(offers) == 0:
		return nil, errNoVersion
	case protocol.wary, from == fromOlder: // who has no such key needs no second refusal
		return offers[:1], nil
	}
	return offers, nil
}

// config returns what crypto/tls needs to make the offer.
func (o offer) config(serverName string) *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // facts first; package inspect verifies
		ServerName:         serverName,
		MinVersion:         o.minVersion,
		MaxVersion:         o.maxVersion,
		CurvePreferences:   o.groups,
		CipherSuites:       o.suites,
		NextProtos:         o.alpn,
		Renegotiation:      tls.RenegotiateOnceAsClient, // some servers ask for a client certificate only then
	}
}

// alpnInstead returns what to offer to a peer that refused what the protocol offers by
// ALPN: nothing, which no peer refuses; over QUIC, where that is no choice (RFC 9001
// section 8.1), the other protocols that are spoken over it.
func alpnInstead(protocol Protocol) []string {
	if protocol.QUIC {
		return []string{"h3", "doq", "smb", "hq-interop"}
	}
	return nil
}
