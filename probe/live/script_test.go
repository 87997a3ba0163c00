package live

import (
	"errors"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func expect(pattern string) *regexp.Regexp { return regexp.MustCompile(pattern) }

func TestRunScript(t *testing.T) {
	smtp := []Step{
		{Expect: expect("^220 ([^ ]+) "), Send: "EHLO ${1}"},
		{Expect: expect("^250[- ]STARTTLS"), Send: "STARTTLS"},
		{Expect: expect("^220"), StartTLS: true},
		{Send: "QUIT"},
	}
	tests := []struct {
		name  string
		steps []Step
		talk  talk
		rest  int
		fails bool
		words string
	}{
		{"a start of TLS, with what was captured", smtp, talk{"<220 mail.example.com ESMTP\r\n", ">EHLO mail.example.com\n", "<250-mail\r\n250-STARTTLS\r\n250 DSN\r\n", ">STARTTLS\n", "<220 go\r\n"}, 1, false, ""},
		{"no start of TLS at all", []Step{{Send: "PING"}, {Expect: expect("PONG")}}, talk{">PING\n", "<hello\r\nPONG\r\n"}, 0, false, ""},
		{"a last line without an end", []Step{{Expect: expect("^ready$")}}, talk{"<ready"}, 0, false, ""},
		{"nothing to match in what was said", smtp, talk{"<554 no\r\n"}, 0, true, `no line of it matched "^220 ([^ ]+) "; its last one was "554 no"`},
		{"nothing said", smtp, talk{}, 0, true, `its last one was ""`},
		{"an injection", []Step{{Expect: expect("^220"), StartTLS: true}}, talk{"<220 go\r\ninjected\r\n", hold}, 0, false, "after it had agreed to TLS"},
		{"a line without end", []Step{{Expect: expect("^220")}}, talk{"<" + strings.Repeat("x", maxPlainLine+1), hold}, 0, false, "more than 4096 bytes"},
		{"lines without end", []Step{{Expect: expect("^220")}}, talk{"<" + strings.Repeat("x\n", maxPlainTotal), hold}, 0, false, "more than 65536 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := serve(t, func(conn net.Conn) { _ = tt.talk.peer(conn) })
			conn, err := net.Dial("tcp", address.String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			rest, fails, err := runScript(conn, tt.steps)
			if len(rest) != tt.rest || fails != tt.fails || (err == nil) != (tt.words == "") {
				t.Fatalf("%d steps are left, failed %v, error %v", len(rest), fails, err)
			}
			if err != nil && !strings.Contains(explainStart(err, time.Second).Detail, tt.words) {
				t.Errorf("the detail is %q, want %q", explainStart(err, time.Second).Detail, tt.words)
			}
		})
	}
}

func TestScriptThatWaitsInVain(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	_ = ours.SetDeadline(time.Now().Add(10 * time.Millisecond))
	_, fails, err := runScript(ours, []Step{{Expect: expect("^220")}})
	if fails || explainStart(err, time.Second).Reason != certmedic.Timeout {
		t.Errorf("failed %v, error %v", fails, err)
	}
	if !strings.Contains(explainStart(err, time.Second).Detail, `a line that matches "^220"`) {
		t.Errorf("the detail is %q", explainStart(err, time.Second).Detail)
	}
	if errors.Is(err, errNoMatch) {
		t.Error("a time-out is no failed match: more may have come")
	}
}

func FuzzRunScript(f *testing.F) {
	f.Add([]byte("220 mail\r\n250-x\r\n250 STARTTLS\r\n"))
	steps := []Step{{Expect: expect("^220 (.*)"), Send: "EHLO ${1}"}, {Expect: expect("STARTTLS"), StartTLS: true}}
	f.Fuzz(func(t *testing.T, said []byte) {
		rest, fails, err := runScript(memoryConn{said: strings.NewReader(string(said))}, steps)
		if len(rest) != 0 || fails && err == nil {
			t.Errorf("%d steps are left, failed %v, error %v", len(rest), fails, err)
		}
	})
}
