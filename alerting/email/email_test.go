package email_test

import (
	"context"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/alerting/body"
	"github.com/certmedic/certmedic/alerting/email"
	"github.com/certmedic/certmedic/alerting/template"
)

func build(t *testing.T, s *server, c email.Config) *email.Notifier {
	t.Helper()
	c.Smarthost, c.Roots = s.address(), s.roots
	if c.From == "" {
		c.From = "certmedic <certmedic@example.com>"
	}
	if c.To == nil {
		c.To = []string{"ops@example.com", "Ann <ann@example.com>"}
	}
	n, err := email.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// send hands a notification over and returns the mail that the server took.
func send(t *testing.T, c email.Config, notification alerting.Notification) message {
	t.Helper()
	s := serve(t, behaviour{starttls: true})
	if retry, err := build(t, s, c).Notify(t.Context(), notification); retry || err != nil {
		t.Fatalf("retry %v, error %v", retry, err)
	}
	mails := s.taken()
	if len(mails) != 1 {
		t.Fatalf("%d mails, want one", len(mails))
	}
	return read(t, mails[0].data)
}

// message is a mail as a mail program sees it.
type message struct {
	raw        string
	header     mail.Header
	subject    string
	text, html string
}

func read(t *testing.T, raw string) message {
	t.Helper()
	parsed, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	m := message{raw: raw, header: parsed.Header}
	if m.subject, err = new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	kind, parameters, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind == "text/plain" {
		m.text = plain(t, parsed.Body)
		return m
	}
	parts := multipart.NewReader(parsed.Body, parameters["boundary"])
	for {
		part, err := parts.NextPart()
		if err == io.EOF {
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(part) // quoted-printable is decoded by the reader of parts
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/html") {
			m.html = string(content)
		} else {
			m.text = string(content)
		}
	}
}

func plain(t *testing.T, r io.Reader) string {
	t.Helper()
	content, err := io.ReadAll(quotedprintable.NewReader(r))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestAMail(t *testing.T) {
	n := alertingtest.Notification()
	e := &n.Events[0]
	e.Certificate.NotAfter = e.Time.Add(36 * time.Hour)
	e.Incident.Members = nil
	for i := range 300 {
		e.Incident.Members = append(e.Incident.Members, fmt.Sprintf("web-%03d.example.com:443", i))
	}
	e.Incident.Runbook, e.Incident.NextStep = "expired", "renew at 12:00"
	n.Open = append(slices.Clone(n.Events), alerting.Event{Kind: alerting.KindFiring, Severity: certmedic.SeverityWarning, Incident: alertingtest.Incident("i2", "chain", certmedic.SeverityWarning)})
	n.Ack = &alerting.Ack{By: "ann", At: e.Time}
	m := send(t, email.Config{BaseURL: "https://certmedic.example.com/", RunbookURL: "https://wiki/"}, n)
	for header, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "Date": "Sun, 01 Mar 2026 00:00:00 +0000", "User-Agent": "certmedic",
		"To": `<ops@example.com>, "Ann" <ann@example.com>`, "From": `"certmedic" <certmedic@example.com>`,
	} {
		if got := m.header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if m.subject != "[FIRING] critical: shop: sümmary" {
		t.Errorf("subject %q", m.subject)
	}
	for _, want := range []string{
		"critical: sümmary", "reason", "shop.example.com", "2026-03-02 12:00 UTC (1 day left)", "CN=R11", "affected (300):", "web-000.example.com:443",
		"web-299.example.com:443", "hook: exit 1", "renew at 12:00", "https://wiki/expired", "Still open", "ann since 2026-03-01 00:00 UTC",
		"certmedic/shop/e1", "https://certmedic.example.com/",
	} {
		if !strings.Contains(m.text, want) {
			t.Errorf("the text lacks %q:\n%s", want, m.text)
		}
		if !strings.Contains(m.html, strings.ReplaceAll(want, ":\r\n", "")) && want != "affected (300):" {
			t.Errorf("the HTML lacks %q", want)
		}
	}
}

func TestSubjects(t *testing.T) {
	firing := alertingtest.Notification()
	worse := firing.Events[0]
	worse.Incident = alertingtest.Incident("i2", "expired", certmedic.SeverityCritical)
	worse.Incident.Summary = "shop has expired"
	with := func(change func(n *alerting.Notification)) alerting.Notification {
		n := alertingtest.Notification()
		change(&n)
		return n
	}
	for name, tt := range map[string]struct {
		n    alerting.Notification
		want string
	}{
		"an incident":          {firing, "[FIRING] critical: shop: sümmary"},
		"the worst that fires": {with(func(n *alerting.Notification) { n.Open = []alerting.Event{worse, n.Events[0]} }), "[FIRING] critical: shop has expired"},
		"the end": {with(func(n *alerting.Notification) {
			n.Status, n.Events[0].Kind = alerting.StatusResolved, alerting.KindResolved
		}), "[RESOLVED] shop: sümmary"},
		"an end while another one fires": {with(func(n *alerting.Notification) {
			n.Events[0].Kind, n.Open = alerting.KindResolved, []alerting.Event{worse}
		}), "[FIRING] critical: shop has expired"},
		"a drill":            {with(func(n *alerting.Notification) { n.Events[0].Drill = true }), "[DRILL] [FIRING] critical: shop: sümmary"},
		"an acknowledgement": {with(func(n *alerting.Notification) { n.Events[0].Kind = alerting.KindAcknowledged }), "[ACKNOWLEDGED] shop: sümmary"},
		"good news": {with(func(n *alerting.Notification) {
			n.Status, n.Events[0] = alerting.StatusResolved, alerting.Event{Kind: alerting.KindRolledBack, Incident: certmedic.Incident{Summary: "back"}}
		}), "[ROLLED BACK] back"},
		"what others wrote": {with(func(n *alerting.Notification) {
			n.Events[0].Incident.Summary = "a\r\nBcc: eve@example.com\r\n\r\n\x1b[31mhello\u202e" + strings.Repeat("é", 500)
		}), "[FIRING] critical: shop: a Bcc: eve@example.com hello" + strings.Repeat("é", 200-len("[FIRING] critical: shop: a Bcc: eve@example.com hello")-1) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			m := send(t, email.Config{}, tt.n)
			if m.subject != tt.want {
				t.Errorf("subject %q, want %q", m.subject, tt.want)
			}
			if m.header.Get("Bcc") != "" {
				t.Error("a header was smuggled in")
			}
		})
	}
}

func TestMarkupStaysText(t *testing.T) {
	n := alertingtest.Notification()
	const evil = `<script>alert(1)</script><img src=x onerror=y> "' {{.Subject}}`
	e := &n.Events[0]
	e.Incident.Summary, e.Incident.Reason, e.Incident.NextStep, e.Incident.Runbook = evil, evil, evil, "javascript:alert(1)"
	e.Incident.Members, e.Incident.Evidence = []string{evil}, []certmedic.Evidence{{Source: evil, Line: evil}}
	e.Certificate.Issuer, e.Certificate.Domains = evil, []string{evil}
	n.Open, n.Ack, n.Conversation = n.Events, &alerting.Ack{By: evil}, evil
	html := send(t, email.Config{RunbookURL: "https://wiki/"}, n).html
	for _, markup := range []string{"<script", "<img", "javascript:alert(1)\""} {
		if strings.Contains(html, markup) {
			t.Errorf("the HTML holds %q:\n%s", markup, html)
		}
	}
}

func TestThreads(t *testing.T) {
	n := alertingtest.Notification()
	first, again := send(t, email.Config{}, n), send(t, email.Config{}, n)
	n.Events[0].Kind, n.Status = alerting.KindResolved, alerting.StatusResolved
	end := send(t, email.Config{}, n)
	n.Conversation = "certmedic/other/e1"
	other := send(t, email.Config{}, n)
	id := func(m message) string { return m.header.Get("Message-ID") }
	thread := func(m message) string { return m.header.Get("References") }
	switch {
	case id(first) != id(again):
		t.Error("a repetition cannot be recognised")
	case id(first) == id(end):
		t.Error("another event has the same Message-ID")
	case thread(first) != thread(end) || thread(end) != end.header.Get("In-Reply-To"):
		t.Error("a conversation makes several threads")
	case thread(first) == thread(other):
		t.Error("two conversations make one thread")
	case !strings.HasPrefix(id(first), "<certmedic.") || !strings.HasSuffix(id(first), "@example.com>"):
		t.Errorf("Message-ID %s", id(first))
	}
}

func TestEncryptionAndLogin(t *testing.T) {
	ann := email.Config{Username: "ann", Password: "s3cr3t"}
	with := func(c email.Config, encryption string) email.Config { c.Encryption = encryption; return c }
	for name, tt := range map[string]struct {
		server behaviour
		config email.Config
		want   string // what the server took, or a part of the error
		retry  bool
	}{
		"STARTTLS":                          {behaviour{starttls: true}, email.Config{}, "encrypted", false},
		"no mail without STARTTLS":          {behaviour{}, email.Config{}, "does not support STARTTLS", true},
		"TLS from the beginning":            {behaviour{implicit: true}, with(email.Config{}, email.TLS), "encrypted", false},
		"without encryption, as asked for":  {behaviour{starttls: true}, with(email.Config{}, email.Plain), "open", false},
		"a login by PLAIN":                  {behaviour{starttls: true, mechanism: "CRAM-MD5 LOGIN PLAIN"}, ann, "encrypted ann", false},
		"a login by LOGIN":                  {behaviour{starttls: true, mechanism: "LOGIN"}, ann, "encrypted ann", false},
		"a login over TLS":                  {behaviour{implicit: true, mechanism: "PLAIN"}, with(ann, email.TLS), "encrypted ann", false},
		"a wrong password is final":         {behaviour{starttls: true, mechanism: "PLAIN"}, email.Config{Username: "ann", Password: "wr0ng"}, "535", false},
		"a server that takes no logins":     {behaviour{starttls: true}, ann, "does not support SMTP AUTH", true},
		"a password never goes unencrypted": {behaviour{mechanism: "PLAIN"}, ann, "does not support STARTTLS", true},
	} {
		t.Run(name, func(t *testing.T) {
			running := serve(t, tt.server)
			retry, err := build(t, running, tt.config).Notify(t.Context(), alertingtest.Notification())
			got := fmt.Sprint(err)
			if mails := running.taken(); err == nil {
				got = strings.TrimSpace(map[bool]string{true: "encrypted ", false: "open "}[mails[0].encrypted] + mails[0].user)
			}
			if !strings.Contains(got, tt.want) || retry != tt.retry || strings.Contains(got, "s3cr3t") || strings.Contains(got, "wr0ng") {
				t.Errorf("%s, retry %v; want %s, retry %v", got, retry, tt.want, tt.retry)
			}
		})
	}
}

func TestAServerThatNoRootVouchesForGetsNothing(t *testing.T) {
	s := serve(t, behaviour{starttls: true})
	n, err := email.New(email.Config{Smarthost: s.address(), From: "a@example.com", To: []string{"b@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	if retry, err := n.Notify(t.Context(), alertingtest.Notification()); !retry || err == nil || len(s.taken()) != 0 {
		t.Errorf("retry %v, error %v", retry, err)
	}
}

func TestReplies(t *testing.T) {
	for name, tt := range map[string]struct {
		server behaviour
		fails  bool
		retry  bool
	}{
		"taken":                             {behaviour{}, false, false},
		"taken, but then it forgets itself": {behaviour{replies: map[string]string{"RSET": "500 what", "QUIT": "500 what"}}, false, false},
		"busy at once":                      {behaviour{replies: map[string]string{"EHLO": "421 4.3.2 come back later"}}, true, true},
		"the sender is not liked":           {behaviour{replies: map[string]string{"MAIL": "550 5.7.1 go away"}}, true, false},
		"greylisted":                        {behaviour{replies: map[string]string{"RCPT": "450 4.7.1 come back later"}}, true, true},
		"a recipient who is not there":      {behaviour{replies: map[string]string{"TO:<ops@example.com>": "550 5.1.1 who"}}, true, false},
		"no room":                           {behaviour{replies: map[string]string{"DATA": "452 4.3.1 no room"}}, true, true},
		"too large":                         {behaviour{replies: map[string]string{"DATA": "552 5.3.4 too large"}}, true, false},
		"the answer is lost":                {behaviour{drop: true}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			tt.server.starttls = true
			running := serve(t, tt.server)
			retry, err := build(t, running, email.Config{}).Notify(t.Context(), alertingtest.Notification())
			if (err != nil) != tt.fails || retry != tt.retry {
				t.Errorf("retry %v, error %v; want an error %v, retry %v", retry, err, tt.fails, tt.retry)
			}
			if err != nil && !strings.Contains(err.Error(), running.address()) {
				t.Errorf("the error does not name the server: %v", err)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	s := serve(t, behaviour{})
	n := build(t, s, email.Config{})
	_ = s.listener.Close()
	if retry, err := n.Notify(t.Context(), alertingtest.Notification()); !retry || err == nil {
		t.Errorf("retry %v, error %v", retry, err)
	}
}

func TestTheEndOfTheContextEndsSending(t *testing.T) {
	for _, verb := range []string{"EHLO", "MAIL", "DATA"} {
		s := serve(t, behaviour{starttls: true, silent: verb})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		retry, err := build(t, s, email.Config{Timeout: time.Minute}).Notify(ctx, alertingtest.Notification())
		cancel()
		if !retry || err == nil {
			t.Errorf("no answer to %s: retry %v, error %v", verb, retry, err)
		}
	}
}

const ownWords = `{{.certificate}}: {{.summary}}
{{define "subject"}}[{{upper .status}}]
{{.summary}}{{end}}
{{define "html"}}<p title="{{.reason}}">{{.summary}}</p>{{end}}`

func TestTemplate(t *testing.T) {
	parsed, err := template.Parse("mail.tmpl", ownWords)
	if err != nil {
		t.Fatal(err)
	}
	n := alertingtest.Notification()
	n.Events[0].Incident.Summary, n.Events[0].Incident.Reason = "<b>it</b>", `" onclick="x`
	m := send(t, email.Config{Template: parsed}, n)
	if m.subject != "[FIRING] <b>it</b>" || !strings.HasPrefix(m.text, "shop: <b>it</b>") {
		t.Errorf("subject %q, text %q", m.subject, m.text)
	}
	if !strings.Contains(m.html, `<p title="&#34; onclick=&#34;x">&lt;b&gt;it&lt;/b&gt;</p>`) {
		t.Errorf("HTML %q", m.html)
	}
	if parsed, err = template.Parse("mail.tmpl", "{{.summary}}"); err != nil {
		t.Fatal(err)
	}
	if m := send(t, email.Config{Template: parsed}, n); m.html != "" || !strings.HasPrefix(m.text, "<b>it</b>") {
		t.Errorf("text %q, HTML %q; want text alone", m.text, m.html)
	}
}

func TestPreview(t *testing.T) {
	n, err := email.New(email.Config{Smarthost: "127.0.0.1:25", From: "a@example.com", To: []string{"b@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := n.Preview(body.Sample())
	if err != nil || !strings.Contains(string(shown), "shop was renewed, but the old certificate is served") {
		t.Errorf("%v:\n%s", err, shown)
	}
}

func TestNewRefuses(t *testing.T) {
	fine := email.Config{Smarthost: "mx:25", From: "a@example.com", To: []string{"b@example.com"}}
	for name, change := range map[string]func(*email.Config){
		"a server without a port":        func(c *email.Config) { c.Smarthost = "mx" },
		"a sender that is none":          func(c *email.Config) { c.From = "a" },
		"no recipient":                   func(c *email.Config) { c.To = nil },
		"a recipient with a line break":  func(c *email.Config) { c.To = []string{"b@example.com\r\nBcc: eve@example.com"} },
		"an unknown way to encrypt":      func(c *email.Config) { c.Encryption = "ssl" },
		"a login without any encryption": func(c *email.Config) { c.Encryption, c.Username = email.Plain, "ann" },
	} {
		c := fine
		change(&c)
		if _, err := email.New(c); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestACauseWithItsFix(t *testing.T) {
	n := alertingtest.Notification()
	n.Events[0].Incident = alertingtest.Diagnosed(n.Events[0].Incident)
	m := send(t, email.Config{}, n)
	for _, want := range []string{`failed with exit code 1 (hook_failed)`, "    # mend the hook, then\r\n    certmedic redeploy shop && echo '<b> & done'"} {
		if !strings.Contains(m.text, want) {
			t.Errorf("the text lacks %q:\n%s", want, m.text)
		}
	}
	if strings.Contains(m.html, "<b>") || !strings.Contains(m.html, "&lt;b&gt; &amp; done") {
		t.Errorf("the HTML does not show the fix as text:\n%s", m.html)
	}
}
