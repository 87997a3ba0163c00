package email_test

import (
	"io"
	"mime"
	"mime/multipart"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/email"
	"github.com/certmedic/certmedic/alerting/template"
)

// ownForm is a template as people write one.
const ownForm = `{{.certificate}}: {{.summary}}
{{define "subject"}}{{.summary}} of {{.certificate}}{{end}}
{{define "html"}}<p title="{{.summary}}">{{.summary}}</p><a href="{{.runbook}}">runbook</a>{{end}}`

// FuzzMail lets every string of a notification be anything: the mail has the headers that it always
// has, a subject of one line and bounded length, and HTML of no other elements than ours.
func FuzzMail(f *testing.F) {
	for _, s := range []string{
		"", "shop", "a\r\nBcc: evil@example.com\r\n\r\nbody", "\nSubject: other", "=?utf-8?q?=0d=0aBcc:_x?=", "\x00\x1b[31m\u202e\u2028", "\xff\xfe",
		"<script>alert(1)</script>", `" onload="x`, "javascript:alert(1)", "https://x/\" onclick=\"y", "</title></head><img src=x>", "--boundary--",
		strings.Repeat("🔒", 300), strings.Repeat("e\u0301", 300), strings.Repeat("a", 2000), ".\r\n.\r\nMAIL FROM:<a>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		own, err := template.Parse("mail", ownForm)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []email.Config{{BaseURL: "https://certmedic.example.com/", RunbookURL: "https://wiki.example.com/"}, {Template: own}} {
			c.Smarthost, c.From, c.To = "127.0.0.1:25", "a@example.com", []string{"b@example.com"}
			n, err := email.New(c)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := n.Preview(hostile(s))
			if err != nil {
				t.Fatal(err)
			}
			checkMail(t, string(raw))
		}
	})
}

// hostile is a notification in which every string is s.
func hostile(s string) alerting.Notification {
	n := alertingtest.Notification()
	e := &n.Events[0]
	e.Incident.Summary, e.Incident.Reason, e.Incident.NextStep, e.Incident.Runbook, e.Incident.Rule = s, s, s, s, s
	e.Incident.Members, e.Incident.Evidence = []string{s}, []certmedic.Evidence{{Source: s, Line: s, Output: true}}
	e.Certificate.Name, e.Certificate.Issuer, e.Certificate.Domains, e.Certificate.Serial = s, s, []string{s}, s
	e.Undelivered, e.Approval = s, &alerting.Approval{ID: s, Summary: s}
	n.Open, n.Ack, n.Conversation = n.Events, &alerting.Ack{By: s}, s
	return n
}

func checkMail(t *testing.T, raw string) {
	t.Helper()
	parsed, err := netmail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	known := []string{
		"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "In-Reply-To", "Message-Id", "Mime-Version", "References", "Subject", "To",
		"User-Agent", "X-Auto-Response-Suppress", "X-Mailer",
	}
	for name, values := range parsed.Header {
		if !slices.Contains(known, name) || len(values) != 1 {
			t.Errorf("the mail has the header %q: %q", name, values)
		}
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil || !utf8.ValidString(subject) || utf8.RuneCountInString(subject) > 200 || strings.ContainsFunc(subject, unicode.IsControl) {
		t.Errorf("the subject is %q, %v", subject, err)
	}
	kind, parameters, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%q, %v", kind, err)
	}
	checkParts(t, multipart.NewReader(parsed.Body, parameters["boundary"]))
}

// checkParts wants a mail's text and HTML, and nothing else.
func checkParts(t *testing.T, parts *multipart.Reader) {
	t.Helper()
	var kinds []string
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(part.Header.Get("Content-Type"), ";")
		if kinds = append(kinds, kind); kind == "text/html" {
			checkHTML(t, part)
		}
	}
	if !slices.Equal(kinds, []string{"text/plain", "text/html"}) {
		t.Errorf("the parts are %q", kinds)
	}
}

// checkHTML wants elements and attributes that do nothing, and links that run nothing.
func checkHTML(t *testing.T, r io.Reader) {
	t.Helper()
	tokens := html.NewTokenizer(r)
	for {
		kind := tokens.Next()
		if kind == html.ErrorToken {
			return
		}
		token := tokens.Token()
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		if !slices.Contains([]string{"html", "head", "meta", "title", "body", "div", "h2", "table", "tr", "th", "td", "a", "p"}, token.Data) {
			t.Errorf("the HTML has an element %q", token.Data)
		}
		for _, a := range token.Attr {
			scheme, _, absolute := strings.Cut(a.Val, ":")
			runs := absolute && !strings.Contains(scheme, "/") && !slices.Contains([]string{"http", "https", "mailto"}, strings.ToLower(scheme))
			if !slices.Contains([]string{"lang", "charset", "style", "href", "title"}, a.Key) || a.Key == "href" && runs {
				t.Errorf("the HTML has an attribute %s=%q", a.Key, a.Val)
			}
		}
	}
}
