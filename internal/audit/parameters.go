package audit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic/probe/host/service"
)

func parameterChecks() []check {
	return []check{
		{
			"weak-key", warning, "A certificate's key is too short.",
			"clients and CAs refuse RSA below 2048 bits, and curves below 256.", "certbot renew --cert-name NAME --key-type ecdsa --new-key --force-renewal", weakKey,
		},
		{
			"weak-signature", warning, "A certificate is signed with MD5 or SHA-1.",
			"clients do not trust it.", "have it issued anew", weakSignature,
		},
		{
			"must-staple-unstapled", warning, "A certificate demands a stapled OCSP response, and names no responder.",
			"clients that heed the demand refuse it, as nothing can be stapled.", "have it issued anew without must-staple", unstapled,
		},
		{
			"stapling-without-responder", info, "OCSP stapling is switched on for certificates that name no responder.",
			"nothing is stapled: Let's Encrypt and others have ended OCSP. The server says so in its log at each start.", "remove the directive", stapling,
		},
		{
			"old-protocol", warning, "A service accepts SSL 3, TLS 1.0 or TLS 1.1.",
			"they are broken or deprecated (RFC 8996, RFC 7568), and audits fail for them.", "accept TLS 1.2 and 1.3 only", oldProtocol,
		},
		{
			"weak-cipher", warning, "A service accepts ciphers that are broken.",
			"RC4, single and triple DES, NULL and export ciphers protect nothing (RFC 7465, RFC 9325).", "take them out of the list of ciphers", weakCipher,
		},
	}
}

func weakKey(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		kind := l.Cert().KeyType
		name := strings.TrimRight(kind, "0123456789")
		bits, err := strconv.Atoi(kind[len(name):])
		if err != nil || !(name == "rsa" && bits < 2048 || name == "ec" && bits < 256 || name == "dsa") {
			return none()
		}
		found := Finding{Place: Place{File: l.Stored.Path}, What: "its key is " + kind}
		if l.Client == "certbot" {
			found.Fix = command("certbot", "renew", "--cert-name", l.Name, "--key-type", "ecdsa", "--new-key", "--force-renewal")
		}
		return found, true
	})
}

func weakSignature(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		return Finding{Place: Place{File: l.Stored.Path}, What: "it is signed with " + l.Leaf.Signature}, l.Leaf.Weak
	})
}

func unstapled(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		return Finding{Place: Place{File: l.Stored.Path}, What: "it has the extension must-staple (RFC 7633), and no URL of a responder"}, l.Leaf.MustStaple && len(l.Leaf.OCSP) == 0
	})
}

// stapling finds services none of whose certificates name a responder.
func stapling(f *Facts) []Finding {
	return settingFindings(f, func(s service.Service, set service.Setting) string {
		on := len(set.Values) > 0 && strings.EqualFold(set.Values[0], "on")
		if !on || !slices.Contains([]string{"ssl_stapling", "sslusestapling", "ocsp-update", "ocsp-update.mode"}, strings.ToLower(set.Name)) {
			return ""
		}
		known := 0
		for _, u := range f.Used {
			if f.Services[u.Service].Conf != s.Conf || f.Services[u.Service].Kind != s.Kind || !u.Known {
				continue
			}
			if known++; u.OCSP {
				return ""
			}
		}
		if known == 0 {
			return ""
		}
		return "none of its certificates names a responder"
	})
}

// settingFindings asks a question of every setting of every service.
func settingFindings(f *Facts, ask func(service.Service, service.Setting) string) []Finding {
	var all []Finding
	for _, s := range f.Services {
		for _, set := range s.Settings {
			why := ask(s, set)
			found := Finding{Subject: string(s.Kind), Place: Place{set.File, set.Line}, What: strings.TrimSpace(set.Name+" "+strings.Join(set.Values, " ")) + ": " + why}
			if why != "" && len(all) < maxFindings && !slices.Contains(all, found) {
				all = append(all, found)
			}
		}
	}
	return all
}

func oldProtocol(f *Facts) []Finding {
	return settingFindings(f, func(s service.Service, set service.Setting) string {
		if overridden(s, set) {
			return ""
		}
		if old := oldVersions(s.Kind, set); len(old) > 0 {
			return "it accepts " + strings.Join(old, " and ")
		}
		return ""
	})
}

// overridden reports whether a setting of the whole service is replaced by one of each server.
func overridden(s service.Service, set service.Setting) bool {
	if set.Where != "" || len(s.Servers) == 0 || s.Kind != service.Nginx && s.Kind != service.Apache {
		return false
	}
	own := 0
	for _, o := range s.Settings {
		if strings.EqualFold(o.Name, set.Name) && o.Where != "" {
			own++
		}
	}
	return own >= len(s.Servers)
}

// oldVersions returns the versions before TLS 1.2 that a setting allows.
func oldVersions(kind service.Kind, set service.Setting) []string {
	name := strings.ToLower(set.Name)
	switch {
	case kind == service.Nginx && name == "ssl_protocols":
		return listed(set.Values)
	case kind == service.Apache && name == "sslprotocol":
		return apacheVersions(set.Values)
	case kind == service.HAProxy && (name == "ssl-min-ver" || strings.HasPrefix(name, "force-")):
		return listed(append([]string{strings.TrimPrefix(name, "force-")}, set.Values...))
	case kind == service.HAProxy && name == "ssl-default-bind-options":
		for i, word := range set.Values {
			if word == "ssl-min-ver" && i+1 < len(set.Values) {
				return listed(set.Values[i+1 : i+2])
			}
		}
	case kind == service.Dovecot && name == "ssl_min_protocol":
		return listed(set.Values)
	case kind == service.Postfix && (name == "smtpd_tls_mandatory_protocols" || name == "smtpd_tls_protocols"):
		return postfixVersions(set.Values)
	}
	return nil
}

// listed returns the old ones of some versions, as OpenSSL calls them.
func listed(words []string) []string {
	var old []string
	for _, word := range words {
		switch strings.ToLower(strings.TrimPrefix(word, "+")) {
		case "sslv2", "sslv3", "tlsv1", "tlsv1.0", "tlsv1.1", "tlsv10", "tlsv11":
			old = append(old, strings.TrimPrefix(word, "+"))
		}
	}
	return old
}

// apacheVersions follows SSLProtocol: words with + add, with - take away, others replace. In
// words that stand alone, all has every version from TLS 1.0 on.
func apacheVersions(words []string) []string {
	on := map[string]bool{}
	for i, word := range words {
		sign, name := word[:min(1, len(word))], strings.ToLower(strings.TrimLeft(word, "+-"))
		if sign != "+" && sign != "-" && i == 0 {
			on = map[string]bool{}
		}
		names := []string{name}
		if name == "all" {
			names = []string{"tlsv1", "tlsv1.1", "tlsv1.2", "tlsv1.3"}
		}
		for _, n := range names {
			on[n] = sign != "-"
		}
	}
	var old []string
	for _, name := range []string{"SSLv3", "TLSv1", "TLSv1.1"} {
		if on[strings.ToLower(name)] {
			old = append(old, name)
		}
	}
	return old
}

// postfixVersions finds SSL only: where TLS is not demanded, an old version is better than none.
func postfixVersions(words []string) []string {
	var old []string
	for _, word := range strings.FieldsFunc(strings.Join(words, " "), func(r rune) bool { return r == ',' || r == ' ' || r == ':' }) {
		if name := strings.TrimPrefix(word, ">="); strings.EqualFold(name, "SSLv2") || strings.EqualFold(name, "SSLv3") {
			old = append(old, name)
		}
	}
	return old
}

func weakCipher(f *Facts) []Finding {
	return settingFindings(f, func(s service.Service, set service.Setting) string {
		if overridden(s, set) {
			return ""
		}
		var weak []string
		switch name := strings.ToLower(set.Name); {
		case slices.Contains([]string{"ssl_ciphers", "sslciphersuite", "ssl-default-bind-ciphers", "ciphers", "ssl_cipher_list"}, name):
			weak = weakIn(strings.Join(set.Values, ":"))
		case s.Kind == service.Postfix && (name == "smtpd_tls_mandatory_ciphers" || name == "smtpd_tls_ciphers"):
			for _, value := range set.Values {
				if slices.Contains([]string{"export", "low", "null"}, strings.ToLower(value)) {
					weak = append(weak, value)
				}
			}
		}
		if len(weak) == 0 {
			return ""
		}
		return fmt.Sprintf("%s protects nothing", strings.Join(weak, ", "))
	})
}

// weakIn returns the words of a cipher list of OpenSSL that let broken ciphers in.
func weakIn(list string) []string {
	words := strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ' ' || r == ',' })
	broken := []string{"RC4", "3DES", "DES", "DES-CBC3", "NULL", "eNULL", "aNULL", "EXP", "EXPORT", "EXPORT40", "LOW", "MD5", "ADH", "AECDH"}
	off := func(part string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, "!"+part) })
	}
	var weak []string
	for _, word := range words {
		if word[0] == '!' || word[0] == '-' || word[0] == '+' || word[0] == '@' {
			continue
		}
		parts := strings.FieldsFunc(word, func(r rune) bool { return r == '-' || r == '+' })
		bad := slices.ContainsFunc(parts, func(p string) bool {
			return slices.ContainsFunc(broken, func(b string) bool { return strings.EqualFold(b, p) })
		})
		if bad && !slices.ContainsFunc(parts, off) && !off(word) {
			weak = append(weak, word)
		}
	}
	return weak
}
