package records

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/certmedic/certmedic"
)

// caa finds that the authority which issued the leaf may not do so again. A leaf that is
// its own issuer needs nobody's leave.
func (c *check) caa(ctx context.Context) []certmedic.Finding {
	leaf := c.Presented[0]
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) {
		return nil
	}
	by := authorityOf(leaf)
	var findings []certmedic.Finding
	for _, name := range certified(leaf.DNSNames, c.Names) {
		domain, wildcard := strings.CutPrefix(name, "*.")
		holder, set := c.relevantSet(ctx, domain)
		detail := set.forbids(holder, by, wildcard)
		f := certmedic.NewFinding(certmedic.CAAForbids, detail)
		if detail != "" && !slices.Contains(findings, f) {
			findings = append(findings, f)
		}
	}
	return findings
}

// maxNames bounds for how many names CAA is looked up.
const maxNames = 16

// certified returns the names of the leaf that cover those which clients ask for: a
// renewal is for them.
func certified(inLeaf, asked []string) []string {
	var names []string
	for _, name := range asked {
		name = canonical(name)
		_, parent, _ := strings.Cut(name, ".")
		for _, covering := range inLeaf {
			covering = canonical(covering)
			covers := covering == name || covering == "*."+parent
			if covers && inDNS(name) && !slices.Contains(names, covering) && len(names) < maxNames {
				names = append(names, covering)
			}
		}
	}
	return names
}

// relevantSet climbs from the domain towards the root, up to the first name that has
// CAA records (RFC 8659, section 3), and returns that name with them. Where a lookup
// fails there are none: an authority may refuse for that reason, but it asks other
// servers, and resolvers that do not know the type are common.
func (c *check) relevantSet(ctx context.Context, domain string) (string, caaSet) {
	for domain != "" {
		answer, err := c.ask(ctx, domain, dns.TypeCAA)
		if err != nil {
			return "", nil
		}
		if len(answer.Records) > 0 {
			return domain, caaRecords(answer.Records)
		}
		_, domain, _ = strings.Cut(domain, ".")
	}
	return "", nil
}

// caaSet are the CAA records of one name.
type caaSet []*dns.CAA

func caaRecords(records []dns.RR) caaSet {
	var set caaSet
	for _, record := range records {
		if caa, ok := record.(*dns.CAA); ok {
			set = append(set, caa)
		}
	}
	return set
}

// forbids says why the authority may not issue, and "" where it may, or where that
// cannot be told.
func (set caaSet) forbids(holder string, by authority, wildcard bool) string {
	if tag, ok := set.unknownCritical(); ok {
		return fmt.Sprintf("CAA of %q has the critical property %s, which authorities do not know; they will refuse the next renewal", holder, quote(tag))
	}
	tag, values := set.issuers(wildcard)
	if len(values) == 0 || slices.ContainsFunc(values, by.isNamedBy) {
		return ""
	}
	if !slices.ContainsFunc(values, func(v string) bool { return issuerDomain(v) != "" }) {
		return fmt.Sprintf("CAA of %q allows nobody to issue (%s); the next renewal by %s will be refused", holder, listQuoted(values), by.name)
	}
	if len(by.domains) == 0 {
		return "" // a private authority has names of its own, or asks for none
	}
	return fmt.Sprintf("CAA of %q allows only %s; the next renewal by %s will be refused: add the record 0 %s %q, or renew elsewhere",
		holder, listQuoted(values), by.name, tag, by.domains[0])
}

// critical is the flag by which an authority has to refuse what it does not understand.
const critical = 0x80

// unknownCritical returns a critical property that is in none of the standards: RFC 8659,
// RFC 9495 and the CA/Browser Forum's documents.
func (set caaSet) unknownCritical() (string, bool) {
	known := []string{"issue", "issuewild", "iodef", "issuemail", "issuevmc", "contactemail", "contactphone"}
	for _, r := range set {
		if r.Flag&critical != 0 && !slices.Contains(known, strings.ToLower(r.Tag)) {
			return r.Tag, true
		}
	}
	return "", false
}

// issuers returns the values of the property that counts, and its tag: for a wildcard
// issuewild, where there is any, else issue. Without values anybody may issue.
func (set caaSet) issuers(wildcard bool) (tag string, values []string) {
	if values = set.values("issuewild"); wildcard && len(values) > 0 {
		return "issuewild", values
	}
	return "issue", set.values("issue")
}

func (set caaSet) values(tag string) []string {
	var values []string
	for _, r := range set {
		if strings.EqualFold(r.Tag, tag) {
			values = append(values, r.Value)
		}
	}
	return values
}

// issuerDomain returns the domain that a value names; "" where it names none, as ";"
// does, or something that is no domain, which comes to the same (RFC 8659, section 4.2).
// Parameters such as accounturi and validationmethods (RFC 8657) narrow down what a
// named authority may do. Which account will renew is not known here, so they are shown
// with the value and judged by nobody.
func issuerDomain(value string) string {
	domain, _, _ := strings.Cut(value, ";")
	domain = strings.ToLower(strings.Trim(domain, " \t"))
	wrong := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	}
	if strings.ContainsFunc(domain, wrong) {
		return ""
	}
	return domain
}

func listQuoted(values []string) string {
	var items []string
	for _, v := range values {
		items = append(items, quote(v))
	}
	return list(items)
}

// quote escapes a string of DNS, and cuts it where it is long.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "..."
	}
	return strconv.QuoteToASCII(s)
}
