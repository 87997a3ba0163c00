package records

import (
	"crypto/x509"
	"slices"
	"strings"
)

// authority is who issued a certificate.
type authority struct {
	name    string   // as the certificate has it, quoted
	domains []string // by which CAA may name it, its own choice first; none: not known
}

// isNamedBy reports whether the value of a CAA record names the authority.
func (a authority) isNamedBy(value string) bool {
	return slices.Contains(a.domains, issuerDomain(value))
}

// authorityOf returns the authority by the organisation that is named as the issuer.
func authorityOf(leaf *x509.Certificate) authority {
	name := leaf.Issuer.CommonName
	if len(leaf.Issuer.Organization) > 0 {
		name = leaf.Issuer.Organization[0]
	}
	a := authority{name: quote(name)}
	name = strings.ToLower(name)
	for _, known := range authorities {
		isOne := func(organisation string) bool { return strings.HasPrefix(name, organisation) }
		if slices.ContainsFunc(known.organisations, isOne) {
			a.domains = known.domains
		}
	}
	return a
}

// authorities tells by which domains the public authorities may be named in CAA records.
// Organisations are the beginnings, in lower case, of what their issuing certificates
// have as O. The source is the CAA Identifiers report of the CCADB and the authorities'
// practice statements, as of 2026. Where these differ, or a brand belongs to another
// authority, all domains are listed: one too many hides a warning, one too few would
// give a false one.
var authorities = []struct {
	organisations []string
	domains       []string
}{
	{[]string{"let's encrypt", "(staging) let's encrypt", "internet security research group"}, []string{"letsencrypt.org"}},
	{[]string{"google trust services"}, []string{"pki.goog", "google.com"}},
	{[]string{"amazon"}, []string{"amazon.com", "amazontrust.com", "awstrust.com", "amazonaws.com", "aws.amazon.com"}},
	{[]string{"digicert", "thawte", "geotrust", "rapidssl", "symantec", "quovadis", "verokey", "encryption everywhere"}, []string{
		"digicert.com", "www.digicert.com", "digicert.ne.jp", "cybertrust.ne.jp", "thawte.com", "geotrust.com", "rapidssl.com",
		"symantec.com", "quovadisglobal.com", "digitalcertvalidation.com", "1and1.digitalcertvalidation.com",
		"stratossl.digitalcertvalidation.com", "volusion.digitalcertvalidation.com", "trustproviderbv.digitalcertvalidation.com",
		"intermediatecertificate.digitalcertvalidation.com", "amazon.com", "amazontrust.com", "awstrust.com", "amazonaws.com",
	}},
	{[]string{"sectigo", "comodo", "the usertrust", "zerossl", "gandi", "cpanel", "geant", "network solutions"}, []string{
		"sectigo.com", "comodo.com", "comodoca.com", "usertrust.com", "trust-provider.com", "entrust.net", "affirmtrust.com",
		"networksolutions.com", "web.com",
	}},
	{[]string{"entrust", "affirmtrust"}, []string{"entrust.net", "affirmtrust.com", "sectigo.com", "ssl.com"}},
	{[]string{"ssl corp"}, []string{"ssl.com", "entrust.net", "affirmtrust.com"}},
	{[]string{"cloudflare"}, []string{"ssl.com", "digicert.com"}},
	{[]string{"globalsign"}, []string{"globalsign.com"}},
	{[]string{"godaddy", "starfield"}, []string{"godaddy.com", "starfieldtech.com"}},
	{[]string{"identrust"}, []string{"identrust.com", "www.identrust.com"}},
	{[]string{"microsoft"}, []string{"microsoft.com", "ssladmin.microsoft.com", "digicert.com"}},
	{[]string{"apple inc"}, []string{"pki.apple.com"}},
	{[]string{"certainly"}, []string{"certainly.com"}},
	{[]string{"actalis"}, []string{"actalis.it"}},
	{[]string{"buypass"}, []string{"buypass.com", "buypass.no"}},
	{[]string{"hellenic academic", "harica", "greek universities"}, []string{"harica.gr"}},
	{[]string{"asseco", "certum", "unizeto"}, []string{"certum.pl", "certum.eu"}},
	{[]string{"krajowa izba"}, []string{"elektronicznypodpis.pl"}},
	{[]string{"swisssign"}, []string{"swisssign.com", "swisssign.net", "swisssign.ch"}},
	{[]string{"wisekey", "oiste"}, []string{"wisekey.com", "hightrusted.com", "certifyid.com", "oiste.org"}},
	{[]string{"d-trust"}, []string{"d-trust.net", "d-trust.de", "dtrust.de", "dtrust.net"}},
	{[]string{"deutsche telekom", "t-systems", "verein zur foerderung eines deutschen forschungsnetzes"}, []string{"telesec.de", "pki.dfn.de", "dfn.de"}},
	{[]string{"atos", "eviden"}, []string{"pki.eviden.com", "atos.net"}},
	{[]string{"certigna", "dhimyotis"}, []string{"certigna.fr", "certigna.com"}},
	{[]string{"telia"}, []string{"telia.com", "telia.fi", "telia.se", "trust.telia.com", "acme.trust.telia.com"}},
	{[]string{"viking cloud", "vikingcloud", "trustwave", "securetrust"}, []string{"vikingcloud.com", "trustwave.com", "securetrust.com"}},
	{[]string{"emudhra", "emsign"}, []string{"emsign.com"}},
	{[]string{"trustasia"}, []string{"trustasia.com", "digicert.com", "sectigo.com"}},
	{[]string{"taiwan-ca", "twca"}, []string{"twca.com.tw"}},
	{[]string{"chunghwa telecom"}, []string{
		"pki.hinet.net", "tls.hinet.net", "publicca.hinet.net", "eca.hinet.net", "ev.hinet.net", "evssl.hinet.net", "epki.com.tw",
	}},
	{[]string{"secom trust"}, []string{"secomtrust.net"}},
	{[]string{"cybertrust japan"}, []string{"cybertrust.co.jp", "cybertrust.ne.jp"}},
	{[]string{"japan registry services"}, []string{"jprs.jp", "acme.jprs.jp"}},
	{[]string{"naver cloud"}, []string{"navercloudtrust.com"}},
	{[]string{"china financial certification"}, []string{"cfca.com.cn"}},
	{[]string{"beijing certificate authority"}, []string{"bjca.cn"}},
	{[]string{"hongkong post"}, []string{"hongkongpost.gov.hk", "ecert.gov.hk"}},
	{[]string{"certsign"}, []string{"certsign.ro"}},
	{[]string{"disig"}, []string{"disig.sk"}},
	{[]string{"microsec"}, []string{"e-szigno.hu"}},
	{[]string{"netlock"}, []string{"netlock.hu", "netlock.net", "netlock.eu", "netlock.com"}},
	{[]string{"accv"}, []string{"accv.es"}},
	{[]string{"fnmt"}, []string{"fnmt.es"}},
	{[]string{"izenpe"}, []string{"izenpe.com", "izenpe.eus"}},
	{[]string{"firmaprofesional"}, []string{"firmaprofesional.com"}},
	{[]string{"ac camerfirma"}, []string{"camerfirma.com"}},
}
