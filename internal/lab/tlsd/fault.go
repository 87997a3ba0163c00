package tlsd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
)

// Fault is a way in which a node misbehaves.
type Fault string

// The faults of nodes. Those about the certificate are made from the one that is
// loaded, so that names stay right where only the dates are wrong.
const (
	None                Fault = ""
	Expired             Fault = "expired"              // a leaf that ended an hour ago
	NotYetValid         Fault = "not_yet_valid"        // a leaf that begins tomorrow
	WrongName           Fault = "wrong_name"           // a leaf for another name
	SelfSigned          Fault = "self_signed"          // a leaf that signs itself
	MissingIntermediate Fault = "missing_intermediate" // the loaded leaf, without its chain
	Stall               Fault = "stall"                // accepts the connection, says nothing
	StallHandshake      Fault = "stall_handshake"      // takes the ClientHello, says nothing
	Reset               Fault = "reset"                // RST at once
	Slow                Fault = "slow"                 // one byte at a time
	Garbage             Fault = "garbage"              // bytes that are not TLS
	PlainHTTP           Fault = "plain_http"           // an HTTP error in clear text
	ClientCert          Fault = "client_cert"          // demands a certificate from the client
	OldTLS              Fault = "old_tls"              // speaks TLS 1.0 only
	Stale               Fault = "stale"                // says that it reloaded, but keeps what it had
)

// Faults lists every fault, without [None].
func Faults() []Fault {
	return []Fault{
		Expired, NotYetValid, WrongName, SelfSigned, MissingIntermediate, Stall, StallHandshake,
		Reset, Slow, Garbage, PlainHTTP, ClientCert, OldTLS, Stale,
	}
}

// ParseFault returns the fault of that name. The empty name and "none" are [None].
func ParseFault(name string) (Fault, error) {
	if name == "" || name == "none" {
		return None, nil
	}
	if !slices.Contains(Faults(), Fault(name)) {
		return None, fmt.Errorf("unknown fault %q, there are %q", name, Faults())
	}
	return Fault(name), nil
}

// present returns what a node shows under the fault instead of the loaded certificate.
func present(fault Fault, loaded tls.Certificate, issuer *mint.CA) (tls.Certificate, error) {
	if fault == MissingIntermediate {
		loaded.Certificate = loaded.Certificate[:1]
		return loaded, nil
	}
	spec := mint.Leaf{Names: names(loaded)}
	switch fault {
	case Expired:
		spec.NotAfter = time.Now().Add(-time.Hour)
	case NotYetValid:
		spec.NotBefore = time.Now().Add(24 * time.Hour)
	case WrongName:
		spec.Names = []string{"somebody-else.invalid"}
	case SelfSigned:
		pair, err := mint.SelfSigned(spec)
		return pair.TLS(), err
	default:
		return loaded, nil
	}
	pair, err := issuer.Leaf(spec)
	return pair.TLS(), err
}

// names returns the DNS names and addresses of a certificate.
func names(certificate tls.Certificate) []string {
	if certificate.Leaf == nil {
		return nil
	}
	all := slices.Clone(certificate.Leaf.DNSNames)
	for _, ip := range certificate.Leaf.IPAddresses {
		all = append(all, ip.String())
	}
	return all
}

var errNothingLoaded = errors.New("no certificate is loaded")

// configFor returns the TLS settings of one connection.
func configFor(fault Fault, certificate tls.Certificate) (*tls.Config, error) {
	if len(certificate.Certificate) == 0 {
		return nil, errNothingLoaded
	}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   []string{"http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}
	switch fault {
	case ClientCert:
		config.ClientAuth = tls.RequireAnyClientCert
	case OldTLS:
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
	}
	return config, nil
}
