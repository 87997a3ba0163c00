package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/check"
)

// textReport writes for people. Every string that it shows goes through oneLine.
type textReport struct {
	out   io.Writer
	style style
	at    time.Time // zero: the time of each check

	counts map[certmedic.Status]int
	count  int
}

func (t *textReport) add(r check.Result) error {
	if t.counts == nil {
		t.counts = map[certmedic.Status]int{}
	}
	b := &textBlock{style: t.style, now: asOf(r, t.at)}
	if t.count > 0 {
		b.line("")
	}
	t.counts[r.Status]++
	t.count++
	b.line(t.style.headline(r.Status, oneLine(r.Target)))
	for _, group := range groupsOf(r.Addresses) {
		b.group(group)
	}
	if r.Stored != nil {
		b.stored(r)
	}
	b.findings(r.Findings)
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *textReport) end() error {
	if t.count < 2 {
		return nil
	}
	_, err := fmt.Fprintf(t.out, "\n%d targets: %s\n", t.count, tally(t.counts))
	return err
}

// tally lists how many targets have which status, worst first.
func tally(counts map[certmedic.Status]int) string {
	var parts []string
	for _, s := range []certmedic.Status{certmedic.StatusCritical, certmedic.StatusUnknown, certmedic.StatusWarning, certmedic.StatusOK} {
		if counts[s] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[s], s))
		}
	}
	return strings.Join(parts, ", ")
}

// addressGroup holds addresses about which there is the same to say.
type addressGroup struct {
	addresses []string
	first     certmedic.AddressObservation
}

// groupsOf gathers addresses that serve the same in the same way with the same findings,
// in the order of the first of each.
func groupsOf(addresses []certmedic.AddressObservation) []addressGroup {
	var groups []addressGroup
	for _, a := range addresses {
		i := slices.IndexFunc(groups, func(g addressGroup) bool { return alike(g.first, a) })
		if i < 0 {
			groups = append(groups, addressGroup{first: a})
			i = len(groups) - 1
		}
		groups[i].addresses = append(groups[i].addresses, oneLine(a.Address))
	}
	return groups
}

func alike(a, b certmedic.AddressObservation) bool {
	sameTLS := (a.TLS == nil) == (b.TLS == nil) && (a.TLS == nil || *a.TLS == *b.TLS)
	sameChain := slices.EqualFunc(a.Chain, b.Chain, func(x, y certmedic.CertFacts) bool { return x.SHA256 == y.SHA256 })
	sameHTTP := (a.HTTP == nil) == (b.HTTP == nil) && (a.HTTP == nil || *a.HTTP == *b.HTTP)
	return sameTLS && sameChain && sameHTTP && a.Variant == b.Variant && slices.Equal(a.Findings, b.Findings)
}

// textBlock is what is written about one target.
type textBlock struct {
	strings.Builder
	style style
	now   time.Time
}

func (b *textBlock) line(text string) { b.WriteString(text + "\n") }

// field writes a word and what it stands for. Words are padded before they are coloured.
func (b *textBlock) field(word, text string) {
	b.line("  " + b.style.paint(sgrDim, fmt.Sprintf("%-11s", word)) + "  " + text)
}

func (b *textBlock) group(g addressGroup) {
	leaf, served := g.first.Leaf()
	switch {
	case g.first.Protocol == "file" && served:
		b.field("stored in", strings.Join(g.addresses, ", "))
	case served:
		b.field("served by", strings.Join(g.addresses, ", ")+clientsOf(g.first.Variant))
	default:
		b.field("address", strings.Join(g.addresses, ", ")+clientsOf(g.first.Variant))
	}
	if facts := g.first.TLS; facts != nil {
		b.field("connection", joined(facts.Version, facts.Cipher, facts.Group))
	}
	if answer := g.first.HTTP; answer != nil {
		b.field("http", httpOf(answer))
	}
	if served {
		b.leaf(leaf, certmedic.StatusOf(g.first.Findings...))
		b.publicity(g.first)
	}
	b.findings(g.first.Findings)
}

func (b *textBlock) leaf(leaf certmedic.CertFacts, status certmedic.Status) {
	b.field("certificate", namesOf(leaf))
	b.field("issuer", issuerOf(leaf.Issuer))
	b.field("valid", b.validity(leaf)+b.style.bar(leaf.RemainingRatio(b.now), status))
	b.field("version", leaf.SHA256.Short()+", "+oneLine(leaf.KeyType))
}

// publicity says what third parties say of the certificate.
func (b *textBlock) publicity(a certmedic.AddressObservation) {
	if a.OCSP != nil {
		how := "asked for"
		if a.OCSP.Stapled {
			how = "stapled"
		}
		b.field("ocsp", fmt.Sprintf("%s, %s, of %s", a.OCSP.Status, how, minute(a.OCSP.ThisUpdate)))
	}
	if len(a.SCTs) > 0 {
		b.field("logged", fmt.Sprintf("%d certificate timestamps", len(a.SCTs)))
	}
}

// clientsOf says to which clients a variant is served.
func clientsOf(v certmedic.Variant) string {
	switch v {
	case certmedic.VariantUsual:
		return ""
	case certmedic.VariantNoSNI:
		return ", to clients that send no name"
	default:
		return ", to clients that ask for " + strings.ToUpper(string(v))
	}
}

func httpOf(h *certmedic.HTTPFacts) string {
	text := fmt.Sprintf("%s, status %d", oneLine(h.Version), h.Status)
	if h.Location != "" {
		text += ", redirects to " + oneLine(h.Location)
	}
	return text
}

// validity says how long a certificate lasts.
func (b *textBlock) validity(leaf certmedic.CertFacts) string {
	switch {
	case b.now.After(leaf.NotAfter):
		return fmt.Sprintf("until %s, which was %s ago", minute(leaf.NotAfter), span(b.now.Sub(leaf.NotAfter)))
	case b.now.Before(leaf.NotBefore):
		return fmt.Sprintf("from %s, which is in %s", minute(leaf.NotBefore), span(leaf.NotBefore.Sub(b.now)))
	default:
		return fmt.Sprintf("until %s, %s left (%.0f%%)", minute(leaf.NotAfter), span(leaf.NotAfter.Sub(b.now)), 100*leaf.RemainingRatio(b.now))
	}
}

// stored names the version that was compared with, and says when it is the one.
func (b *textBlock) stored(r check.Result) {
	s := r.Stored
	text := fmt.Sprintf("%s, version %s, until %s", oneLine(s.Path), oneLine(s.Version), minute(s.Chain[0].NotAfter))
	seen := slices.ContainsFunc(r.Addresses, certmedic.AddressObservation.Reached)
	if seen && !certmedic.HasFinding(r.Findings, certmedic.Drift) {
		text += "; this is what is served"
	}
	b.field("stored", text)
}

// findings writes what is wrong, worst first, and what to do.
func (b *textBlock) findings(findings []certmedic.Finding) {
	advised := ""
	for _, f := range worstFirst(findings) {
		severity := fmt.Sprintf("%-11s", f.Severity)
		b.line("  " + b.style.paint(sgrOf(certmedic.StatusOf(f)), severity) + "  " + string(f.Code) + ": " + oneLine(f.Detail))
		if text := advice(f); text != "" && text != advised {
			b.line(strings.Repeat(" ", 15) + b.style.paint(sgrBold, b.style.arrow()+" "+text))
			advised = text
		}
	}
}

// worstFirst sorts findings by severity.
func worstFirst(findings []certmedic.Finding) []certmedic.Finding {
	sorted := slices.Clone(findings)
	slices.SortStableFunc(sorted, func(a, b certmedic.Finding) int { return b.Severity.Rank() - a.Severity.Rank() })
	return sorted
}

func joined(parts ...string) string {
	var present []string
	for _, part := range parts {
		if part != "" {
			present = append(present, oneLine(part))
		}
	}
	return strings.Join(present, ", ")
}

// maxNames bounds how many names of a certificate are shown.
const maxNames = 6

func namesOf(leaf certmedic.CertFacts) string {
	names := slices.Concat(leaf.DNSNames, leaf.IPAddresses)
	if len(names) == 0 {
		return "no names; subject " + oneLine(leaf.Subject)
	}
	more := ""
	if len(names) > maxNames {
		more = fmt.Sprintf(" and %d more", len(names)-maxNames)
		names = names[:maxNames]
	}
	return oneLine(strings.Join(names, ", ")) + more
}

// issuerOf returns the common name and the organisation of a name in RFC 2253 form, or
// all of it where it has no common name.
func issuerOf(dn string) string {
	name, organisation := attribute(dn, "CN="), attribute(dn, "O=")
	switch {
	case name == "":
		return oneLine(dn)
	case organisation == "":
		return oneLine(name)
	default:
		return oneLine(name + " (" + organisation + ")")
	}
}

// attribute returns the value of the first attribute of that kind, with its escapes
// removed; empty where there is none.
func attribute(dn, kind string) string {
	start := true // whether an attribute begins here
	for i := 0; i < len(dn); i++ {
		if start && strings.HasPrefix(dn[i:], kind) {
			return value(dn[i+len(kind):])
		}
		start = dn[i] == ',' || dn[i] == '+'
		if dn[i] == '\\' {
			i++ // the next character is part of a value
		}
	}
	return ""
}

// value reads an attribute's value up to its unescaped end.
func value(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && s[i] != ',' && s[i] != '+'; i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
