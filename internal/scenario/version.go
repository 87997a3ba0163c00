package scenario

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// defaultLifetime is that of a version whose story does not say.
const defaultLifetime = 90 * 24 * time.Hour

// version is one version of a certificate: its dates, and what is wrong with it.
type version struct {
	form  versionForm
	facts certmedic.CertFacts
}

// issue makes the version of a name, issued an age ago.
func issue(name string, form versionForm, now time.Time) *version {
	life := time.Duration(form.Lifetime.value)
	if life <= 0 {
		life = defaultLifetime
	}
	begins := now.Add(-time.Duration(form.Age))
	return &version{form: form, facts: certmedic.CertFacts{
		Subject: "CN=" + append(form.Names, name)[0], Issuer: orElse(form.Issuer, "R11"), Serial: string(fingerprint("serial " + name)[:18]),
		SHA256: fingerprint(name), SPKISHA256: fingerprint("key of " + name), NotBefore: begins, NotAfter: begins.Add(life),
		DNSNames: form.Names, KeyType: orElse(form.KeyType.value, "ec256"),
	}}
}

func fingerprint(of string) certmedic.Fingerprint {
	sum := sha256.Sum256([]byte(of))
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// later returns the form of a later version of the same certificate: all that the story does
// not say otherwise is as it was, but it is new, and nothing is wrong with it.
func (f versionForm) later(own versionForm) versionForm {
	if len(own.Names) == 0 {
		own.Names = f.Names
	}
	if own.Lifetime.value == 0 {
		own.Lifetime = f.Lifetime
	}
	if own.KeyType.value == "" {
		own.KeyType = f.KeyType
	}
	own.Issuer = orElse(own.Issuer, f.Issuer)
	return own
}

// dated returns what a clock finds wrong with a version's dates.
func (v *version) dated(now time.Time) []certmedic.Finding {
	switch {
	case now.After(v.facts.NotAfter):
		return []certmedic.Finding{certmedic.NewFinding(certmedic.Expired, "it ended at "+v.facts.NotAfter.UTC().Format(time.RFC3339))}
	case now.Before(v.facts.NotBefore):
		return []certmedic.Finding{certmedic.NewFinding(certmedic.NotYetValid, "it begins at "+v.facts.NotBefore.UTC().Format(time.RFC3339))}
	}
	return nil
}

// turns returns when a date of the version has passed next, by a second: the daemon reads the
// source again then. It is zero where no date lies ahead.
func (v *version) turns(now time.Time) time.Time {
	for _, date := range []time.Time{v.facts.NotBefore, v.facts.NotAfter} {
		if passed := date.Add(time.Second); passed.After(now) {
			return passed
		}
	}
	return time.Time{}
}

// uncovered says that the version does not cover the name that clients ask for, where the
// story tells its names.
func (v *version) uncovered(ep certmedic.Endpoint) []certmedic.Finding {
	name, _, _ := strings.Cut(orElse(ep.ServerName, ep.Address), ":")
	if len(v.form.Names) == 0 || (&x509.Certificate{DNSNames: v.form.Names}).VerifyHostname(name) == nil {
		return nil
	}
	return []certmedic.Finding{certmedic.NewFinding(certmedic.NameMismatch, "it does not cover "+name)}
}

// findings makes findings of codes.
func findings(codes words) []certmedic.Finding {
	all := make([]certmedic.Finding, 0, len(codes))
	for _, code := range codes {
		all = append(all, certmedic.NewFinding(certmedic.FindingCode(code), "so the story says"))
	}
	return all
}
