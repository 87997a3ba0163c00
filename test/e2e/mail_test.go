package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/testhost"
)

// The configuration of a postfix that takes mail over TLS alone, and delivers it to the people of
// its host.
const (
	mainCF = `compatibility_level = 3.6
myhostname = mail.example.test
mydestination = mail.example.test
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
smtpd_tls_security_level = encrypt
smtpd_tls_received_header = yes
smtpd_tls_chain_files = /etc/tls/mail.both
`
	masterCF = `submission inet n - n - - smtpd
smtps   inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr    unix n - n 300 1 qmgr
tlsmgr  unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce  unix - - n - 0 bounce
defer   unix - - n - 0 bounce
local   unix - n n - - local
anvil   unix - - n - 1 anvil
proxymap unix - - n - - proxymap
`
	mailReceivers = `state_dir: /var/lib/certmedic
watch: [{address: "127.0.0.1:1"}]
alerting:
  receivers:
    - {name: starttls, email: {smarthost: "mail.example.test:587", from: certmedic@mail.example.test, to: ann@mail.example.test, ca_file: /etc/tls/root.pem}}
    - {name: implicit, email: {smarthost: "mail.example.test:465", from: certmedic@mail.example.test, to: ann@mail.example.test, ca_file: /etc/tls/root.pem, tls: tls}}
    - {name: plain, email: {smarthost: "mail.example.test:587", from: certmedic@mail.example.test, to: ann@mail.example.test, tls: none}}
    - {name: stranger, email: {smarthost: "mail.example.test:587", from: certmedic@mail.example.test, to: ann@mail.example.test}}
    - {name: nobody, email: {smarthost: "mail.example.test:587", from: certmedic@mail.example.test, to: [ann@mail.example.test, bob@mail.example.test], ca_file: /etc/tls/root.pem}}
`
)

// bootMail boots a host with postfix, whose certificate is from a CA of its own.
func bootMail(t *testing.T) (host *testhost.Host, program string) {
	t.Helper()
	network := testhost.New(t)
	dir, err := tools()
	if err != nil {
		t.Fatal(err)
	}
	host = network.Boot(testhost.Spec{Name: "mail", Layer: "mail", Binds: []string{dir}})
	root := mint.Must(mint.NewCA("Test Root"))
	pair := mint.Must(root.Leaf(mint.Leaf{Names: []string{"mail.example.test"}}))
	host.WriteFile("/etc/tls/root.pem", root.PEM(), 0o644)
	host.WriteFile("/etc/tls/mail.both", append(mint.Must(pair.KeyPEM()), pair.FullchainPEM()...), 0o600)
	host.WriteFile("/etc/postfix/main.cf", []byte(mainCF), 0o644)
	host.WriteFile("/etc/postfix/master.cf", []byte(masterCF), 0o644)
	host.WriteFile("/etc/certmedic/certmedic.yml", []byte(mailReceivers), 0o644)
	host.Must(t.Context(), `useradd --create-home ann
		echo "127.0.0.1 mail.example.test" >>/etc/hosts
		systemctl restart postfix || { journalctl --sync; journalctl --no-pager --lines 50 >&2; exit 1; }
		for try in $(seq 600); do ss -ltnH "sport = :587" | grep -q . && exit; sleep 0.05; done; exit 1`)
	return host, dir + "/certmedic"
}

// TestMailThroughPostfix has a real mail server take real messages.
func TestMailThroughPostfix(t *testing.T) {
	host, program := bootMail(t)
	for _, tt := range []struct {
		receiver string
		code     int
		says     string
	}{
		{"starttls", 0, "delivered"},
		{"implicit", 0, "delivered"},
		{"plain", 2, "Must issue a STARTTLS command first"},
		{"stranger", 2, "certificate signed by unknown authority"},
		{"nobody", 2, "User unknown"},
	} {
		r, err := host.Run(t.Context(), program, "receivers", "test", tt.receiver)
		if err != nil || r.Code != tt.code || !strings.Contains(r.Stdout, tt.says) {
			t.Errorf("%s: exit code %d, %v, want %d with %q\n%s%s", tt.receiver, r.Code, err, tt.code, tt.says, r.Stdout, r.Stderr)
		}
	}
	// The beginning and the end of a test, by two receivers that work; nothing of the others.
	const messages = 4
	box := ""
	for deadline := time.Now().Add(patience); strings.Count(box, "\nMessage-ID: <certmedic.") < messages; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("ann has got\n%s", box)
		}
		box = host.Must(t.Context(), "cat /var/mail/ann 2>/dev/null || true")
		box = strings.NewReplacer("\n ", " ", "\n\t", " ").Replace(box) // folded headers
	}
	if got := strings.Count(box, "\nMessage-ID: <certmedic."); got != messages {
		t.Errorf("ann has got %d messages, want %d", got, messages)
	}
	for _, want := range []string{
		"Subject: [DRILL] [FIRING]", "Subject: [DRILL] [RESOLVED]", "Auto-Submitted: auto-generated", "In-Reply-To: <certmedic.", "using TLSv1.3",
		"From: <certmedic@mail.example.test>", "multipart/alternative", "with ESMTPS",
	} {
		if !strings.Contains(box, want) {
			t.Errorf("no message has %q:\n%s", want, box)
		}
	}
}
