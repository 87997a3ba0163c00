package slack

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	goslack "github.com/slack-go/slack"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// What the blocks of the conversation's message may hold at most, in characters of escaped
// text. Together they are well below [maxBlocks]; where characters outside of ASCII or quotes
// make them more, all of them are halved, until they fit.
const (
	roomValue    = 300
	roomReason   = 900
	roomCause    = 600
	roomFix      = 1200
	roomMembers  = 2500
	roomEvidence = 1800
	roomAlso     = 1200
	roomLine     = 300 // of another incident
	maxLink      = 500 // longer addresses are left out
	maxFallback  = 600 // of the text that stands for the blocks, below [maxText]
)

// The signs in front of a message: the severity's colour, for those who see it, beside its name.
const (
	signResolved = "🟢"
	signAck      = "👀"
	signNews     = "🔹"
)

func sign(s certmedic.Severity) string {
	switch s {
	case certmedic.SeverityCritical:
		return "🔴"
	case certmedic.SeverityWarning:
		return "🟠"
	case certmedic.SeverityUnknown:
		return "🟣"
	}
	return "🔵"
}

// message is what one call posts. The text stands for the blocks in notifications.
type message struct {
	text   string
	blocks []goslack.Block
}

func (m message) options() []goslack.MsgOption {
	return []goslack.MsgOption{
		goslack.MsgOptionText(m.text, false), goslack.MsgOptionBlocks(m.blocks...), goslack.MsgOptionDisableMarkdown(),
		goslack.MsgOptionDisableLinkUnfurl(), goslack.MsgOptionDisableMediaUnfurl(),
	}
}

// hash tells messages apart that show something else.
func (m message) hash() string { return idOf(m.text, asJSON(m.blocks)) }

func asJSON(v any) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return out.String()
}

// jsonLength is the length of escaped text in JSON.
func jsonLength(s string) int {
	return escapedLength(s) + strings.Count(s, `"`) + strings.Count(s, `\`) + strings.Count(s, "\n")
}

// render returns the message, and the members for which it has no room.
func (t *telling) render() (m message, hidden []string) {
	m.text = t.fallback(t.v)
	for share := 1; ; share *= 2 {
		m.blocks, hidden = t.blocks(t.v, share)
		if length(asJSON(m.blocks)) <= maxBlocks || share > 64 {
			return m, hidden
		}
	}
}

func (t *telling) blocks(v view, share int) (blocks []goslack.Block, hidden []string) {
	add := func(text string, most int) {
		if text != "" {
			blocks = append(blocks, goslack.NewSectionBlock(plainText(text, most), nil, nil))
		}
	}
	if call := t.calling(v); call != "" {
		blocks = append(blocks, goslack.NewSectionBlock(markup(call), nil, nil))
	}
	blocks = append(blocks, goslack.NewHeaderBlock(plainText(t.headline(v), maxHeader)))
	blocks = append(blocks, rows(t.fields(v, roomValue/share))...)
	if v.news() {
		add(also(v, roomLine), roomAlso/share)
		return append(blocks, t.links(v)...), nil
	}
	add(prefixed("Undelivered: ", plain(v.undelivered())), roomLine)
	add(prefixed("Because: ", plain(v.main.Incident.Reason)), roomReason/share)
	add(prefixed("Cause: ", oneLine(v.main.Incident.CauseText())), roomCause/share)
	add(also(v, roomLine), roomAlso/share)
	list, hidden := members(v, roomMembers/share)
	add(list, maxSection)
	blocks = append(blocks, evidence(v.main.Incident.Evidence, roomEvidence/share)...)
	if fix := code(plain(v.main.Incident.Fix), roomFix/share); len(fix) > 0 && !v.over {
		add("Fix:", roomLine)
		blocks = append(blocks, fix...)
	}
	blocks = append(blocks, t.links(v)...)
	if a := v.approval(); a != nil {
		add(fmt.Sprintf("Waits for approval until %s: %s", utc(a.Expires), plain(a.Summary)), roomLine)
	}
	return append(blocks, t.buttons(v)...), hidden
}

// headline is the message in one line.
func (t *telling) headline(v view) string {
	summary := oneLine(v.main.Incident.Summary)
	line := sign(v.main.Severity) + " " + summary
	switch {
	case v.over:
		line = signResolved + " Resolved: " + cmp.Or(t.memory.Title, summary)
	case v.news():
		line = signNews + " " + title(string(v.main.Kind)) + ": " + cmp.Or(summary, oneLine(v.main.Certificate.Name), "certmedic")
	}
	if v.drill() {
		line = "DRILL " + line
	}
	return line
}

// fallback is what notifications and screen readers say.
func (t *telling) fallback(v view) string {
	text := t.headline(v)
	if !v.over && !v.news() {
		text += ". " + oneLine(cmp.Or(v.main.Incident.CauseText(), v.main.Incident.Reason))
	}
	text = fit(text, maxFallback)
	if call := t.calling(v); call != "" {
		text = call + " " + text
	}
	return text
}

// calling is the mention that the message holds. That of an edited message calls nobody; an
// incoming webhook, which cannot edit, calls again only when it gets worse.
func (t *telling) calling(v view) string {
	if v.over || v.news() || t.n.config.WebhookURL != "" && v.main.Severity.Rank() <= t.memory.Called.Rank() {
		return ""
	}
	return t.n.config.Mention[v.main.Severity]
}

// field is a row of the table: a label of ours, and a value that is plain text or, where we
// made all of it, markup.
type field struct {
	label string
	value *goslack.TextBlockObject
}

func (t *telling) fields(v view, room int) []field {
	e := v.main
	var all []field
	add := func(label string, value *goslack.TextBlockObject) { all = append(all, field{label, value}) }
	text := func(label, s string) {
		if s != "" {
			add(label, plainText(oneLine(s), room))
		}
	}
	if v.beats() {
		add("Last sign", markup(date(e.Time)))
		return all
	}
	text("Certificate", cmp.Or(e.Certificate.Name, e.Incident.Subject.String()))
	if v.news() {
		text("Domains", strings.Join(e.Certificate.Domains, ", "))
	}
	if !e.Certificate.NotAfter.IsZero() {
		add(expiry(e))
	}
	if v.news() {
		text("Issuer", e.Certificate.Issuer)
		text("Serial", e.Certificate.Serial)
		return all
	}
	text("Stage", string(e.Certificate.Stage))
	since := v.since()
	if !t.memory.Since.IsZero() && t.memory.Since.Before(since) {
		since = t.memory.Since
	}
	add("Since", markup(date(since)))
	if v.over {
		text("Lasted", lasted(v.newest().Sub(since)))
	} else {
		text("Severity", string(e.Severity))
		if step := oneLine(e.Incident.NextStep); step != "" {
			add("Next", next(step, room))
		}
	}
	if t.of.Ack != nil {
		text("Acknowledged", who(t.of.Ack))
	}
	return all
}

// expiry says how long a certificate is still valid, or since when it is not.
func expiry(e alerting.Event) (label string, value *goslack.TextBlockObject) {
	at := date(e.Certificate.NotAfter)
	days, _ := e.Certificate.DaysLeft(e.Time)
	switch {
	case days < 0:
		return "Expired since", markup(at)
	case days == 0:
		return "Expires", markup(at + " (less than a day left)")
	case days == 1:
		return "Expires", markup(at + " (1 day left)")
	}
	return "Expires", markup(fmt.Sprintf("%s (%d days left)", at, days))
}

// rows shows fields as a table, in as few sections as Slack allows.
func rows(fields []field) []goslack.Block {
	const most = 5 // of a section, which has ten fields
	var blocks []goslack.Block
	for len(fields) > 0 {
		n := min(most, len(fields))
		var cells []*goslack.TextBlockObject
		for _, f := range fields[:n] {
			cells = append(cells, markup("*"+f.label+"*"), f.value)
		}
		blocks = append(blocks, goslack.NewSectionBlock(nil, cells, nil))
		fields = fields[n:]
	}
	return blocks
}

// also lists the further incidents of the conversation, one in a line.
func also(v view, line int) string {
	var lines []string
	for _, e := range v.also {
		text := oneLine(e.Incident.Summary)
		if v.news() {
			lines = append(lines, cut(title(string(e.Kind))+": "+text, line))
			continue
		}
		if v.over {
			lines = append(lines, cut("Also: "+text, line))
			continue
		}
		lines = append(lines, cut(fmt.Sprintf("Also %s: %s. %s", e.Severity, text, oneLine(e.Incident.Reason)), line))
	}
	return strings.Join(lines, "\n")
}

// members names as many as there is room for, and returns the others.
func members(v view, room int) (list string, hidden []string) {
	names := v.places
	if len(names) == 0 || v.over {
		return "", nil
	}
	used, shown := 0, 0
	for _, name := range names {
		if used += jsonLength(name) + 2; used > room {
			break
		}
		shown++
	}
	list = fmt.Sprintf("Affected (%d): %s", len(names), strings.Join(names[:shown], ", "))
	if shown < len(names) {
		list += fmt.Sprintf(" and %d more, listed below", len(names)-shown)
	}
	return list, names[shown:]
}

// evidence shows lines as they are. In preformatted rich text nothing is markup, neither
// brackets nor backticks.
func evidence(lines []certmedic.Evidence, room int) []goslack.Block {
	var all []string
	for _, e := range lines {
		all = append(all, prefixed(plain(e.Source), ": ")+plain(e.Line))
	}
	return code(strings.Join(all, "\n"), room)
}

// code is preformatted text.
func code(text string, room int) []goslack.Block {
	text = cut(strings.TrimSpace(text), room)
	if text == "" {
		return nil
	}
	return []goslack.Block{goslack.NewRichTextBlock("", &goslack.RichTextPreformatted{
		Type: goslack.RTEPreformatted, Elements: []goslack.RichTextSectionElement{goslack.NewRichTextSectionTextElement(text, nil)},
	})}
}

// links leads to the runbook, certmedic's page and the message before this one.
func (t *telling) links(v view) []goslack.Block {
	runbook := v.main.Incident.Runbook
	if runbook != "" && !isWebAddress(runbook) {
		prefix := t.n.config.RunbookURL
		runbook = prefixed(prefix, url.PathEscape(runbook))
	}
	var all []string
	for _, l := range []struct{ address, label string }{
		{runbook, "Runbook"}, {t.n.config.BaseURL, "certmedic"}, {t.memory.Continues, "Earlier message"},
	} {
		if text := link(l.address, l.label); text != "" {
			all = append(all, text)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return []goslack.Block{goslack.NewContextBlock("", markup(strings.Join(all, " · ")))}
}

// link is markup for an address with a label of ours. Addresses that are none, or too long,
// are left out.
func link(address, label string) string {
	u, err := url.Parse(address)
	if err != nil || !isWebAddress(address) {
		return ""
	}
	safe := strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", "&", "&amp;", " ", "%20").Replace(plain(u.String()))
	if strings.ContainsRune(safe, '\n') || length(safe) > maxLink {
		return ""
	}
	return "<" + safe + "|" + label + ">"
}

// buttons are there where somebody listens to them.
func (t *telling) buttons(v view) []goslack.Block {
	if !t.n.config.Buttons || v.over {
		return nil
	}
	value := Value{Conversation: t.of.Conversation, Certificate: v.main.Certificate.Name}
	var all []goslack.BlockElement
	add := func(action, label string, v Value, style goslack.Style, confirm *goslack.ConfirmationBlockObject) {
		if encoded, ok := v.encode(); ok {
			b := goslack.NewButtonBlockElement(action, encoded, plainText(label, maxHeader))
			b.Style, b.Confirm = style, confirm
			all = append(all, b)
		}
	}
	if t.of.Ack == nil {
		add(ActionAck, "Acknowledge", value, "", nil)
	}
	if value.Certificate != "" {
		add(ActionSilence, "Silence 1 h", value, "", nil)
	}
	if a := v.approval(); a != nil {
		value.Approval, value.Hash = a.ID, a.Hash
		confirm := goslack.NewConfirmationBlockObject(plainText("Approve this plan?", maxConfirmTitle),
			plainText(plain(a.Summary), maxConfirm), plainText("Approve", maxConfirmButton), plainText("Cancel", maxConfirmButton))
		add(ActionApprove, "Approve", value, goslack.StylePrimary, confirm)
		add(ActionReject, "Reject", value, goslack.StyleDanger, nil)
	}
	if len(all) == 0 {
		return nil
	}
	return []goslack.Block{goslack.NewActionBlock("", all...)}
}

// plainText is text in which nothing is markup, not even names of emoji.
func plainText(s string, most int) *goslack.TextBlockObject {
	if s = strings.TrimSpace(s); s == "" {
		s = "-" // Slack refuses empty text
	}
	return goslack.NewTextBlockObject(goslack.PlainTextType, escape(cut(s, most)), false, false)
}

// markup is text that we made: dates, links and labels. Slack adds none to it.
func markup(s string) *goslack.TextBlockObject {
	return goslack.NewTextBlockObject(goslack.MarkdownType, s, false, true)
}

// date is a time in the reader's own zone, and in UTC where that is not known.
func date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} at {time}|%s>", t.Unix(), utc(t))
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

var (
	timestamp = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	harmless  = regexp.MustCompile(`^[A-Za-z ,.]*$`)
)

// next says what happens next, its times in the reader's zone. The engine's sentences have but
// letters beside them; any other one is shown as plain text.
func next(step string, room int) *goslack.TextBlockObject {
	if escapedLength(step) > room || !harmless.MatchString(timestamp.ReplaceAllString(step, "")) {
		return plainText(step, room)
	}
	return markup(timestamp.ReplaceAllStringFunc(step, func(s string) string {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return s
		}
		return date(at)
	}))
}

// lasted says a duration as people do.
func lasted(d time.Duration) string {
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// who says who looks after a conversation, and how they said so.
func who(a *alerting.Ack) string {
	if a == nil {
		return "somebody"
	}
	return oneLine(a.By) + prefixed(" via ", oneLine(a.Via))
}

// takenBackBy says who took an acknowledgement back; empty: nobody, its time was over.
func takenBackBy(a *alerting.Ack) string {
	if a == nil || a.By == "" {
		return ""
	}
	return who(a)
}

// prefixed joins two texts, neither of which is shown without the other.
func prefixed(a, b string) string {
	if a == "" || b == "" {
		return ""
	}
	return a + b
}

// title is a word with a capital, its underscores as blanks.
func title(word string) string {
	word = strings.ReplaceAll(word, "_", " ")
	if word == "" {
		return ""
	}
	return strings.ToUpper(word[:1]) + word[1:]
}
