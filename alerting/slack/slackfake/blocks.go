package slackfake

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf16"
)

// The limits of Block Kit, in characters of escaped text.
const (
	maxBlocks      = 50
	maxBlockID     = 255
	maxHeader      = 150
	maxSection     = 3000
	maxFields      = 10
	maxField       = 2000
	maxContext     = 10
	maxActions     = 25
	maxButton      = 75
	maxActionID    = 255
	maxValue       = 2000
	maxURL         = 3000
	maxConfirm     = 300
	maxTitle       = 100
	maxChoice      = 30
	maxAllOfBlocks = 13_000 // of the JSON; Slack's own bound is not documented
)

// block is any block. Slack refuses keys that a type does not have.
type block struct {
	Type     string            `json:"type"`
	BlockID  string            `json:"block_id"`
	Text     *text             `json:"text"`
	Fields   []*text           `json:"fields"`
	Elements []json.RawMessage `json:"elements"`
}

type text struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji"`
	Verbatim *bool  `json:"verbatim"`
}

type button struct {
	Type     string   `json:"type"`
	Text     *text    `json:"text"`
	ActionID string   `json:"action_id"`
	Value    string   `json:"value"`
	URL      string   `json:"url"`
	Style    string   `json:"style"`
	Confirm  *confirm `json:"confirm"`
}

type confirm struct {
	Title   *text  `json:"title"`
	Text    *text  `json:"text"`
	Confirm *text  `json:"confirm"`
	Deny    *text  `json:"deny"`
	Style   string `json:"style"`
}

const invalid = refusal("invalid_blocks")

// checkBlocks refuses what Slack would refuse.
func checkBlocks(data json.RawMessage) error {
	var raw []json.RawMessage
	if json.Unmarshal(data, &raw) != nil {
		return refusal("invalid_blocks_format")
	}
	if len(raw) > maxBlocks {
		return invalid
	}
	if size(raw) > maxAllOfBlocks {
		return refusal("msg_blocks_too_long")
	}
	ids := map[string]bool{}
	for _, one := range raw {
		var b block
		if !strict(one, &b) || len(b.BlockID) > maxBlockID || b.BlockID != "" && ids[b.BlockID] || !b.valid() {
			return invalid
		}
		ids[b.BlockID] = true
	}
	return nil
}

func (b block) valid() bool {
	switch b.Type {
	case "header":
		return b.Text.is("plain_text", maxHeader) && b.Fields == nil && b.Elements == nil
	case "section":
		return b.validSection()
	case "context":
		return b.Text == nil && b.Fields == nil && each(b.Elements, maxContext, func(raw json.RawMessage) bool {
			var t text
			return strict(raw, &t) && t.is("", maxSection)
		})
	case "actions":
		return b.Text == nil && b.Fields == nil && validActions(b.Elements)
	case "divider":
		return b.Text == nil && b.Fields == nil && b.Elements == nil
	case "rich_text":
		return b.Text == nil && b.Fields == nil && each(b.Elements, maxBlocks, validRich)
	}
	return false
}

func (b block) validSection() bool {
	if b.Elements != nil || b.Text == nil && len(b.Fields) == 0 || len(b.Fields) > maxFields {
		return false
	}
	for _, f := range b.Fields {
		if !f.is("", maxField) {
			return false
		}
	}
	return b.Text == nil || b.Text.is("", maxSection)
}

func each(all []json.RawMessage, most int, valid func(json.RawMessage) bool) bool {
	for _, one := range all {
		if !valid(one) {
			return false
		}
	}
	return len(all) > 0 && len(all) <= most
}

func validActions(elements []json.RawMessage) bool {
	ids := map[string]bool{}
	return each(elements, maxActions, func(raw json.RawMessage) bool {
		var e button
		ok := strict(raw, &e) && e.Type == "button" && e.Text.is("plain_text", maxButton) && !ids[e.ActionID] &&
			length(e.ActionID) <= maxActionID && length(e.Value) <= maxValue && length(e.URL) <= maxURL &&
			validStyle(e.Style) && (e.Confirm == nil || e.Confirm.valid())
		ids[e.ActionID] = true
		return ok
	})
}

func (c confirm) valid() bool {
	return c.Title.is("plain_text", maxTitle) && c.Text.is("", maxConfirm) && c.Confirm.is("plain_text", maxChoice) &&
		(c.Deny == nil || c.Deny.is("plain_text", maxChoice)) && validStyle(c.Style)
}

func validStyle(s string) bool { return s == "" || s == "primary" || s == "danger" }

// rich is an element of rich text; only preformatted text is known here.
type rich struct {
	Type     string `json:"type"`
	Border   int    `json:"border"`
	Elements []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"elements"`
}

func validRich(raw json.RawMessage) bool {
	var r rich
	if !strict(raw, &r) || r.Type != "rich_text_preformatted" || len(r.Elements) == 0 || r.Border < 0 || r.Border > 1 {
		return false
	}
	for _, e := range r.Elements {
		if e.Type != "text" || e.Text == "" {
			return false
		}
	}
	return true
}

// is reports whether a text has the type, or one of both, and neither is empty nor too long.
func (t *text) is(kind string, most int) bool {
	if t == nil || t.Type != "plain_text" && t.Type != "mrkdwn" || kind != "" && t.Type != kind {
		return false
	}
	if t.Type == "plain_text" && t.Verbatim != nil || t.Type == "mrkdwn" && t.Emoji != nil {
		return false
	}
	return t.Text != "" && length(t.Text) <= most && wellEscaped(t)
}

var (
	tokens   = regexp.MustCompile(`<[^<>]*>`)
	entities = regexp.MustCompile(`&(?:amp|lt|gt);`)
	token    = regexp.MustCompile(`^<(?:https?://[^|\s]+(?:\|[^|]+)?|!date\^\d+\^[^|^]+\|[^|]+|!here|!channel|!everyone|@[UW][A-Z0-9]+|!subteam\^S[A-Z0-9]+)>$`)
)

// wellEscaped reports whether the three characters that Slack reserves are escaped, or part of
// markup that it knows. Slack takes less, and shows something else than was meant.
func wellEscaped(t *text) bool {
	rest := t.Text
	if t.Type == "mrkdwn" {
		for _, found := range tokens.FindAllString(rest, -1) {
			if !token.MatchString(found) {
				return false
			}
		}
		rest = tokens.ReplaceAllString(rest, "")
	}
	return !strings.ContainsAny(entities.ReplaceAllString(rest, ""), "&<>")
}

func unescape(s string) string {
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

// textsOf returns all texts of blocks, in their order. Rich text comes escaped.
func textsOf(data json.RawMessage) []text {
	var blocks []block
	if json.Unmarshal(data, &blocks) != nil {
		return nil
	}
	var all []text
	for _, b := range blocks {
		if b.Text != nil {
			all = append(all, *b.Text)
		}
		for _, f := range b.Fields {
			all = append(all, *f)
		}
		for _, raw := range b.Elements {
			all = append(all, elementTexts(b.Type, raw)...)
		}
	}
	return all
}

func elementTexts(kind string, raw json.RawMessage) []text {
	var all []text
	switch kind {
	case "context":
		var t text
		if json.Unmarshal(raw, &t) == nil {
			all = append(all, t)
		}
	case "rich_text":
		var r rich
		if json.Unmarshal(raw, &r) == nil {
			for _, e := range r.Elements {
				all = append(all, text{Type: e.Type, Text: strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(e.Text)})
			}
		}
	case "actions":
		var e button
		if json.Unmarshal(raw, &e) == nil && e.Text != nil {
			all = append(all, *e.Text)
		}
	}
	return all
}

// strict decodes and refuses keys that are not known.
func strict(data json.RawMessage, into any) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into) == nil
}

// size is the length of values as JSON without needless escapes.
func size(raw []json.RawMessage) int {
	total := 0
	for _, one := range raw {
		var v any
		if json.Unmarshal(one, &v) != nil {
			continue
		}
		var out bytes.Buffer
		e := json.NewEncoder(&out)
		e.SetEscapeHTML(false)
		if e.Encode(v) == nil {
			total += length(out.String())
		}
	}
	return total
}

// length counts units of UTF-16, as Slack's limits do at their strictest.
func length(s string) int {
	n := 0
	for _, r := range s {
		n += max(1, utf16.RuneLen(r))
	}
	return n
}
