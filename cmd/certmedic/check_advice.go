package main

import (
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

// advice says in a line what to do about a finding; empty where its detail says it all.
func advice(f certmedic.Finding) string {
	switch f.Code {
	case certmedic.Expired, certmedic.Expiring, certmedic.RenewalOverdue:
		return "renew the certificate; where a newer one is stored already, reload the service (see --compare)"
	case certmedic.NotYetValid:
		return "set the clocks right, or wait before it is deployed"
	case certmedic.NameMismatch:
		return "serve the certificate of this name, or reissue it with the name in it"
	case certmedic.SelfSigned, certmedic.Untrusted:
		return "use a certificate of a trusted authority; name a private one's root with --ca"
	case certmedic.IncompleteChain:
		return "serve fullchain.pem in place of cert.pem"
	case certmedic.WrongUsage, certmedic.NameConstraint:
		return "reissue the certificate, and check who issued it"
	case certmedic.Revoked:
		return "reissue the certificate with a new key"
	case certmedic.KeyMismatch:
		return "install the certificate and the key of the same version together"
	case certmedic.PinMismatch, certmedic.DANEMismatch:
		return "publish the new key, or go back to the old one"
	case certmedic.ChainOrder, certmedic.ChainExtra, certmedic.ChainExpiring:
		return "serve the fullchain.pem that came with the certificate, and nothing else"
	case certmedic.MustStapleMissing:
		return "switch OCSP stapling on in the server, or reissue without must-staple"
	case certmedic.CAAForbids:
		return "let the CAA record allow this issuer before the next renewal"
	case certmedic.WeakKey, certmedic.WeakSignature:
		return "reissue it with a key and a signature of today's strength"
	case certmedic.Drift:
		if strings.HasSuffix(f.Detail, inspect.NewerServed) {
			return "see why what is stored is behind: another machine may have renewed it, or this is not its source"
		}
		return "reload the service, so that it serves what is stored"
	case certmedic.SplitServing:
		return "reload the service on the nodes that serve the old version"
	default:
		return adviceOnReach(f.Code)
	}
}

// adviceOnReach is for what kept a target from being seen, and for what is stored.
func adviceOnReach(code certmedic.FindingCode) string {
	switch code {
	case certmedic.NotACertificate:
		return "see whether it is the right place, and whether what is there was written in full"
	case certmedic.LineageBroken:
		return "repair the lineage before its next renewal"
	case certmedic.FilePermissions:
		return "take the key away from others: chmod 0600"
	case certmedic.Unreachable, certmedic.Timeout:
		return "see whether the service runs, and whether a firewall is in the way"
	case certmedic.DNSFailed:
		return "see whether the name is right and its DNS servers answer"
	case certmedic.HandshakeFailed, certmedic.StartTLSFailed:
		return "see whether this port speaks TLS, and which versions"
	case certmedic.ClientCertRequired:
		return "present one with --cert to see what lies behind it"
	case certmedic.FileMissing, certmedic.FileUnreadable:
		return "check the path, and who may read it"
	default:
		return ""
	}
}
