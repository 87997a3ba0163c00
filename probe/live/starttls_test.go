package live

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// A talk is what is said in plain text, in order: what begins with "<" comes from the
// server, what begins with ">" has to come from the client.
type talk []string

// hold keeps the connection open after a talk, as a server that says nothing more.
const hold = "hold"

// peer plays the server's part. It says what the client did not say.
func (talk talk) peer(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	for _, words := range talk {
		if words == hold {
			_, _ = io.Copy(io.Discard, conn)
			return nil
		}
		if reply, ok := strings.CutPrefix(words, "<"); ok {
			if _, err := io.WriteString(conn, reply); err != nil {
				return err
			}
			continue
		}
		said := make([]byte, len(words)-1)
		if _, err := io.ReadFull(conn, said); err != nil || string(said) != words[1:] {
			return fmt.Errorf("the client said %q (%w), want %q", said, err, words[1:])
		}
	}
	return nil
}

const (
	smtpEHLO   = ">EHLO [127.0.0.1]\r\n"
	smtpOffers = "<250-mail.example.com\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n250 SMTPUTF8\r\n"

	xmppOpen     = "><?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='shop.example.com' version='1.0'>"
	xmppStream   = "<<?xml version='1.0'?><stream:stream from='shop.example.com' id='1' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	xmppFeatures = "<<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>"
	xmppStartTLS = "><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
	xmppProceed  = "<<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

	mysqlVersion = "\x0a8.4.2-debian\x00" + "\x0b\x00\x00\x00" + "12345678\x00" // with the connection's number and random bytes
	mysqlTail    = "\x2d\x02\x00\xff\xc1\x15" + "0000000000" + "123456789012\x00" + "caching_sha2_password\x00"
	mysqlRequest = "\x00\x8a\x08\x00" + "\xff\xff\xff\x00" + "\x2d" + zeros23
	mysqlDenied  = "\xff\x15\x04#28000denied"
	zeros23      = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

	tdsRequest = ">\x12\x01\x00\x1a\x00\x00\x00\x00" + preLogin
	tdsOn      = "<\x04\x01\x00\x1a\x00\x00\x01\x00" + "\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x10\x00\x10\x55\x00\x00" + "\x01"
	tdsNone    = "<\x04\x01\x00\x1a\x00\x00\x01\x00" + "\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x10\x00\x10\x55\x00\x00" + "\x02"

	ldapRequest = ">" + ldapStartTLS
)

// packet returns a packet of MySQL, with who says it before it.
func packet(who string, number byte, content string) string {
	return who + string([]byte{byte(len(content)), 0, 0, number}) + content
}

func mysqlTalk() talk {
	return talk{packet("<", 0, mysqlVersion+"\xff\xff"+mysqlTail), packet(">", 1, mysqlRequest)}
}

// goodTalks has, for each protocol, what leads to TLS; and more than once where servers
// differ.
func goodTalks() []struct {
	protocol, name string
	talk           talk
} {
	return []struct {
		protocol, name string
		talk           talk
	}{
		{"smtp", "as Postfix does", talk{"<220 mail.example.com ESMTP Postfix (Debian/GNU)\r\n", smtpEHLO, smtpOffers, ">STARTTLS\r\n", "<220 2.0.0 Ready to start TLS\r\n"}},
		{"smtp", "a greeting of many lines, keywords in any case, ends of lines without CR", talk{"<220-mail.example.com\n220 wait for it\n", smtpEHLO, "<250-mail\n250 StartTLS\n", ">STARTTLS\r\n", "<220\n"}},
		{"lmtp", "as Dovecot does", talk{"<220 mail.example.com Dovecot ready.\r\n", ">LHLO [127.0.0.1]\r\n", smtpOffers, ">STARTTLS\r\n", "<220 2.0.0 Begin TLS negotiation now.\r\n"}},
		{"imap", "capabilities in the greeting", talk{"<* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.\r\n", ">a2 STARTTLS\r\n", "<a2 OK Begin TLS negotiation now.\r\n"}},
		{"imap", "capabilities on demand", talk{"<* OK IMAP4 ready\r\n", ">a1 CAPABILITY\r\n", "<* CAPABILITY IMAP4rev1 starttls\r\na1 OK done\r\n", ">a2 STARTTLS\r\n", "<a2 ok\r\n"}},
		{"pop3", "as Dovecot does", talk{"<+OK Dovecot ready.\r\n", ">STLS\r\n", "<+OK Begin TLS negotiation now.\r\n"}},
		{"sieve", "as Dovecot does", talk{"<\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SIEVE\" \"fileinto reject\"\r\n\"SASL\" \"\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"Dovecot ready.\"\r\n", ">STARTTLS\r\n", "<OK \"Begin TLS negotiation now.\"\r\n"}},
		{"sieve", "a literal that looks like an answer", talk{"<\"IMPLEMENTATION\" {9+}\r\nNO\r\nmore\n\r\n\"STARTTLS\"\r\nOK\r\n", ">STARTTLS\r\n", "<OK\r\n"}},
		{"ftp", "as vsftpd does", talk{"<220 (vsFTPd 3.0.3)\r\n", ">AUTH TLS\r\n", "<234 Proceed with negotiation.\r\n"}},
		{"ftp", "free lines in a greeting, after an announcement", talk{"<120 in a minute\r\n220-Welcome\r\n 220 visitors today\r\n230-\r\nno files here\r\n220 ready\r\n", ">AUTH TLS\r\n", "<234 go\r\n"}},
		{"nntp", "posting allowed", talk{"<200 news.example.com ready\r\n", ">STARTTLS\r\n", "<382 Continue with TLS negotiation\r\n"}},
		{"nntp", "as innd does for its peers", talk{"<200 news.example.com InterNetNews server INN 2.7.1 ready\r\n", ">STARTTLS\r\n", "<401 MODE-READER\r\n", ">MODE READER\r\n", "<200 news.example.com InterNetNews NNRP server INN 2.7.1 ready (posting ok)\r\n", ">STARTTLS\r\n", "<382 Begin TLS negotiation now\r\n"}},
		{"ldap", "as slapd does", talk{ldapRequest, "<\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"}},
		{"ldap", "lengths of four bytes, as Active Directory writes them", talk{ldapRequest, "<\x30\x84\x00\x00\x00\x28\x02\x01\x01\x78\x84\x00\x00\x00\x1f\x0a\x01\x00\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20037"}},
		{"irc", "as UnrealIRCd does", talk{">CAP LS 302\r\n", "<:irc.example.com NOTICE * :*** Looking up your hostname...\r\n:irc.example.com CAP * LS * :multi-prefix sts=port=6697\r\n:irc.example.com CAP * LS :sasl=PLAIN tls\r\n", ">STARTTLS\r\n", "<:irc.example.com NOTICE * :*** Found it\r\n:irc.example.com 670 * :STARTTLS successful, go ahead with TLS handshake\r\n"}},
		{"xmpp", "as Prosody does", talk{xmppOpen, xmppStream, xmppFeatures, xmppStartTLS, xmppProceed}},
		{"xmpp", "an answer with an end of its own", talk{xmppOpen, xmppStream, xmppFeatures, xmppStartTLS, "<\n<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>"}},
		{"xmpp-server", "as Prosody does", talk{strings.Replace(xmppOpen, "client", "server", 1), xmppStream, xmppFeatures, xmppStartTLS, xmppProceed}},
		{"postgres", "with ssl", talk{">" + postgresSSLRequest, "<S"}},
		{"mysql", "as MySQL 8.4 does", mysqlTalk()},
		{"mariadb", "as MySQL does", mysqlTalk()},
		{"mssql", "as SQL Server does", talk{tdsRequest, tdsOn}},
		{"rdp", "as Windows does", talk{">" + rdpRequest, "<\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x1f\x08\x00\x02\x00\x00\x00"}},
	}
}

func TestStartTLSReachesTheCertificate(t *testing.T) {
	p := newPKI(t)
	spoken := map[string]bool{}
	for _, tt := range goodTalks() {
		spoken[tt.protocol] = true
		t.Run(tt.protocol+": "+tt.name, func(t *testing.T) {
			verdict := make(chan error, 1)
			address := serve(t, func(conn net.Conn) {
				err := tt.talk.peer(conn)
				verdict <- err
				if err == nil {
					serveAfter(tt.protocol, conn, p.config(nil))
				}
			})
			dialer := Dialer{Timeout: 20 * time.Second}
			got := dialer.Handshake(t.Context(), Request{Address: address, ServerName: "shop.example.com", Protocol: tt.protocol})
			if err := <-verdict; err != nil {
				t.Error(err)
			}
			if got.Err != nil || got.Stage != certmedic.ProbeDone || len(got.Certs) != 2 {
				t.Errorf("stage %s, error %+v, %d certificates", got.Stage, got.Err, len(got.Certs))
			}
		})
	}
	for _, p := range Protocols() {
		if p.begin != nil && !spoken[p.Name] {
			t.Errorf("%s has no talk that leads to TLS", p.Name)
		}
	}
}

// serveAfter plays the server's part in TLS, over what the protocol carries it, and answers
// those who take leave.
func serveAfter(protocol string, conn net.Conn, config *tls.Config) {
	if protocol == "mssql" {
		conn = &tdsConn{Conn: conn, in: bufio.NewReader(conn)}
	}
	server := tls.Server(conn, config)
	if server.Handshake() != nil {
		return
	}
	if protocol == "mysql" || protocol == "mariadb" {
		_, _ = io.WriteString(server, packet("", 3, mysqlDenied))
	}
	_, _ = io.Copy(io.Discard, server)
}

// TestInjectionIsSeen appends to the last words of each good talk what somebody on the way
// would like the client to take for the server's protected words.
func TestInjectionIsSeen(t *testing.T) {
	for _, tt := range goodTalks() {
		last := len(tt.talk) - 1
		if strings.HasPrefix(tt.talk[last], ">") {
			last-- // MySQL's client has the last word
		}
		injected := append(talk{}, tt.talk...)
		injected[last] += "injected\r\n"
		t.Run(tt.protocol+": "+tt.name, func(t *testing.T) {
			expectStartError(t, tt.protocol, append(injected, hold), certmedic.StartTLSFailed, `agreed to TLS: "injected\r\n"`)
		})
	}
}

// expectStartError plays the server's part and expects that the protocol does not get to
// TLS, for the reason and with the words.
func expectStartError(t *testing.T, protocol string, talk talk, reason certmedic.FindingCode, words string) {
	t.Helper()
	verdict := make(chan error, 1)
	address := serve(t, func(conn net.Conn) { verdict <- talk.peer(conn) })
	dialer := Dialer{Timeout: 20 * time.Second}
	got := dialer.Handshake(t.Context(), Request{Address: address, ServerName: "shop.example.com", Protocol: protocol})
	if err := <-verdict; err != nil {
		t.Error(err)
	}
	if got.Stage != certmedic.ProbeStartTLS || got.Err == nil || got.Err.Reason != reason || !strings.Contains(got.Err.Detail, words) {
		t.Errorf("stage %s, error %+v, want %s: %s", got.Stage, got.Err, reason, words)
	}
}

func TestServersThatDoNotStartTLS(t *testing.T) {
	tests := []struct {
		protocol, name string
		talk           talk
		words          string
	}{
		{"smtp", "no service", talk{"<554 5.7.1 no service here\r\n"}, `refused the connection: "554 5.7.1 no service here"`},
		{"smtp", "EHLO refused", talk{"<220 mail\r\n", smtpEHLO, "<421 4.3.2 try again later\r\n"}, `refused EHLO: "421 4.3.2`},
		{"smtp", "not offered", talk{"<220 mail\r\n", smtpEHLO, "<250-mail\r\n250-SIZE 1\r\n250 DSN\r\n"}, `does not offer STARTTLS, only "SIZE 1 DSN"`},
		{"smtp", "offers nothing at all", talk{"<220 mail\r\n", smtpEHLO, "<250 mail\r\n"}, "does not offer STARTTLS; TLS is not switched on"},
		{"smtp", "a keyword that only begins alike", talk{"<220 mail\r\n", smtpEHLO, "<250-mail\r\n250 STARTTLSX\r\n"}, "does not offer STARTTLS"},
		{"smtp", "offered and refused", talk{"<220 mail\r\n", smtpEHLO, smtpOffers, ">STARTTLS\r\n", "<454 4.7.0 TLS not available due to local problem\r\n"}, `"454 4.7.0 TLS not available due to local problem"; it often cannot read its certificate`},
		{"smtp", "refused in another way", talk{"<220 mail\r\n", smtpEHLO, smtpOffers, ">STARTTLS\r\n", "<503 5.5.1 \x1b[31mred\r\n"}, `refused STARTTLS: "503 5.5.1 \x1b[31mred"`},
		{"smtp", "closed before the greeting", talk{}, "closed the connection where its greeting was due"},
		{"smtp", "closed within the greeting", talk{"<220 ma"}, `where its greeting was due; it sent only "220 ma"`},
		{"smtp", "closed after EHLO", talk{"<220 mail\r\n", smtpEHLO, "<250-mail\r\n"}, "closed the connection where its answer to EHLO [127.0.0.1] was due"},
		{"smtp", "closed after STARTTLS", talk{"<220 mail\r\n", smtpEHLO, smtpOffers, ">STARTTLS\r\n"}, "where its answer to STARTTLS was due"},
		{"smtp", "SSH", talk{"<SSH-2.0-OpenSSH_9.2p1\r\n"}, `speaks SSH, not SMTP: it sent "SSH-2.0-OpenSSH_9.2p1"`},
		{"smtp", "MySQL", mysqlTalk()[:1], "speaks MySQL, not SMTP"},
		{"smtp", "a code that is no number", talk{"<22x mail\r\n"}, "does not speak SMTP"},
		{"smtp", "an empty line", talk{"<\r\n"}, "does not speak SMTP"},
		{"lmtp", "not offered", talk{"<220 mail\r\n", ">LHLO [127.0.0.1]\r\n", "<250 mail\r\n"}, "does not offer STARTTLS"},
		{"lmtp", "an SMTP server", talk{"<220 mail\r\n", ">LHLO [127.0.0.1]\r\n", "<502 5.5.2 Error: command not recognized\r\n"}, `refused LHLO: "502`},
		{"imap", "logged in already", talk{"<* PREAUTH IMAP4rev1\r\n"}, "logged in already"},
		{"imap", "no service", talk{"<* BYE too many connections\r\n"}, `refused the connection: "* BYE too many connections"`},
		{"imap", "not offered", talk{"<* OK ready\r\n", ">a1 CAPABILITY\r\n", "<* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\na1 OK done\r\n"}, `only "IMAP4rev1 AUTH=PLAIN"`},
		{"imap", "CAPABILITY refused", talk{"<* OK ready\r\n", ">a1 CAPABILITY\r\n", "<a1 BAD no\r\n"}, `refused CAPABILITY: "a1 BAD no"`},
		{"imap", "STARTTLS refused", talk{"<* OK [CAPABILITY STARTTLS] ready\r\n", ">a2 STARTTLS\r\n", "<a2 BAD TLS support isn't enabled.\r\n"}, `refused STARTTLS: "a2 BAD TLS support isn't enabled."`},
		{"imap", "BYE instead of an answer", talk{"<* OK [CAPABILITY STARTTLS] ready\r\n", ">a2 STARTTLS\r\n", "<* BYE shutting down\r\n"}, "refused STARTTLS: \"* BYE"},
		{"imap", "POP3", talk{"<+OK ready\r\n"}, "speaks POP3, not IMAP"},
		{"pop3", "no service", talk{"<-ERR busy\r\n"}, `refused the connection: "-ERR busy"`},
		{"pop3", "not offered", talk{"<+OK ready\r\n", ">STLS\r\n", "<-ERR Unknown command.\r\n"}, `as one does where TLS is not switched on: "-ERR Unknown command."`},
		{"pop3", "IMAP", talk{"<* OK ready\r\n"}, "speaks IMAP, not POP3"},
		{"pop3", "closed after STLS", talk{"<+OK ready\r\n", ">STLS\r\n"}, "where its answer to STLS was due"},
		{"sieve", "no service", talk{"<BYE \"too many\"\r\n"}, "refused the connection"},
		{"sieve", "not offered", talk{"<\"SASL\" \"PLAIN\"\r\nOK\r\n"}, `does not offer STARTTLS, only "SASL"`},
		{"sieve", "refused", talk{"<\"STARTTLS\"\r\nOK\r\n", ">STARTTLS\r\n", "<NO {4}\r\nsad!\r\n"}, "refused STARTTLS: \"NO {4} sad!\""},
		{"sieve", "SMTP", talk{"<220 mail\r\n"}, "speaks SMTP or FTP, not ManageSieve"},
		{"sieve", "a literal beyond all bounds", talk{"<\"A\" {2000000000}\r\n"}, "more than 4096 bytes without an end"},
		{"ftp", "no service", talk{"<421 too many users\r\n"}, `refused the connection: "421`},
		{"ftp", "not offered", talk{"<220 (vsFTPd 3.0.3)\r\n", ">AUTH TLS\r\n", "<530 Please login with USER and PASS.\r\n"}, "does not offer AUTH TLS"},
		{"ftp", "refused", talk{"<220 ready\r\n", ">AUTH TLS\r\n", "<431 no certificate\r\n"}, `refused AUTH TLS: "431`},
		{"ftp", "SSH", talk{"<SSH-2.0-x\r\n"}, "speaks SSH, not FTP"},
		{"nntp", "no service", talk{"<502 permission denied\r\n"}, "refused the connection"},
		{"nntp", "not offered", talk{"<200 ready\r\n", ">STARTTLS\r\n", "<500 What?\r\n"}, "does not offer STARTTLS"},
		{"nntp", "refused", talk{"<201 ready\r\n", ">STARTTLS\r\n", "<580 can not initiate TLS\r\n"}, `refused STARTTLS: "580`},
		{"nntp", "no readers", talk{"<200 ready\r\n", ">STARTTLS\r\n", "<401 MODE-READER\r\n", ">MODE READER\r\n", "<502 no permission\r\n"}, "does not offer STARTTLS"},
		{"nntp", "SMTP", talk{"<220 mail\r\n"}, "speaks SMTP or FTP, not NNTP"},
		{"ldap", "not offered", talk{ldapRequest, "<\x30\x25\x02\x01\x01\x78\x20\x0a\x01\x02\x04\x00\x04\x19unsupported extended oper"}, `LDAP result 2 (protocolError): "unsupported extended oper"`},
		{"ldap", "no certificate", talk{ldapRequest, "<\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\x00\x04\x00"}, `52 (unavailable): ""`},
		{"ldap", "something else", talk{ldapRequest, "<\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"}, "no extended response"},
		{"ldap", "TLS", talk{ldapRequest, "<\x15\x03\x01\x00\x02\x02\x46"}, "speaks TLS from the first byte, not LDAP"},
		{"ldap", "a length beyond all bounds", talk{ldapRequest, "<\x30\x84\xff\xff\xff\xff"}, "more than 4096 bytes"},
		{"ldap", "a length of too many bytes", talk{ldapRequest, "<\x30\x85\x00\x00\x00\x00\x01"}, "cannot be"},
		{"ldap", "closed in the middle", talk{ldapRequest, "<\x30\x0c\x02\x01"}, "closed the connection where its answer to StartTLS was due"},
		{"irc", "not offered", talk{">CAP LS 302\r\n", "<:irc CAP * LS :sasl multi-prefix\r\n"}, `only "sasl multi-prefix"`},
		{"irc", "nothing offered", talk{">CAP LS 302\r\n", "<:irc CAP * LS :\r\n"}, "does not offer STARTTLS"},
		{"irc", "no capabilities", talk{">CAP LS 302\r\n", "<:irc 421 * CAP :Unknown command\r\n"}, "does not offer STARTTLS: it answered"},
		{"irc", "no service", talk{">CAP LS 302\r\n", "<ERROR :Closing Link: banned\r\n"}, "refused the connection"},
		{"irc", "refused", talk{">CAP LS 302\r\n", "<:irc CAP * LS :tls\r\n", ">STARTTLS\r\n", "<:irc 691 * :STARTTLS failed\r\n"}, `refused STARTTLS: ":irc 691`},
		{"irc", "HTTP", talk{">CAP LS 302\r\n", "<HTTP/1.1 400 Bad Request\r\n\r\n"}, "speaks HTTP, not IRC"},
		{"xmpp", "not offered", talk{xmppOpen, xmppStream, "<<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>"}, `only "mechanisms"`},
		{"xmpp", "an unknown domain", talk{xmppOpen, xmppStream, "<<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"}, `the stream to "shop.example.com" with the error "host-unknown"`},
		{"xmpp", "refused", talk{xmppOpen, xmppStream, xmppFeatures, xmppStartTLS, "<<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"}, `refused STARTTLS: "<failure>"`},
		{"xmpp", "another protocol in XML", talk{xmppOpen, "<<html><body>hello</body></html>"}, `does not speak XMPP: it sent "<html>"`},
		{"xmpp", "another protocol", talk{xmppOpen, "<HTTP/1.1 400 Bad Request\r\n\r\n<html"}, "speaks HTTP, not XMPP"},
		{"xmpp", "TLS", talk{xmppOpen, "<\x15\x03\x01\x00\x02\x02\x46"}, "speaks TLS from the first byte, not XMPP"},
		{"xmpp", "closed in the middle", talk{xmppOpen, xmppStream, "<<stream:fea"}, "where its list of features was due"},
		{"xmpp", "the stream ended", talk{xmppOpen, xmppStream + "</stream:stream>", hold}, "closed the connection"},
		{"xmpp-server", "closed without a word", talk{strings.Replace(xmppOpen, "client", "server", 1)}, "where its XMPP stream was due"},
		{"postgres", "not offered", talk{">" + postgresSSLRequest, "<N"}, "does not offer TLS; ssl is off"},
		{"postgres", "an error", talk{">" + postgresSSLRequest, "<E\x00\x00\x00\x34SFATAL\x00C53300\x00Msorry, too many clients already\x00\x00"}, `refused TLS: "sorry, too many clients already"`},
		{"postgres", "an error beyond all bounds", talk{">" + postgresSSLRequest, "<E\xff\xff\xff\xff"}, "does not speak the protocol of PostgreSQL"},
		{"postgres", "SSH", talk{">" + postgresSSLRequest, "<SSH-2.0-x\r\n"}, "speaks SSH"},
		{"postgres", "closed", talk{">" + postgresSSLRequest}, "where its answer to SSLRequest was due"},
		{"mysql", "not offered", talk{packet("<", 0, mysqlVersion+"\xff\xf7"+mysqlTail)}, "does not offer TLS"},
		{"mysql", "blocked", talk{packet("<", 0, "\xff\x69\x04Host '192.0.2.1' is blocked")}, `error 1129: "Host '192.0.2.1' is blocked"`},
		{"mysql", "an error with a state", talk{packet("<", 0, "\xff\x10\x04#08004Too many connections")}, `error 1040: "Too many connections"`},
		{"mysql", "an old version", talk{packet("<", 0, "\x093.2\x00")}, "version 9"},
		{"mysql", "a greeting that breaks off", talk{packet("<", 0, "\x0a8.4\x00")}, "breaks off"},
		{"mysql", "SSH", talk{"<SSH-2.0-x\r\n"}, "speaks SSH"},
		{"mysql", "an empty packet", talk{"<\x00\x00\x00\x01"}, "does not speak the protocol of MySQL"},
		{"mysql", "closed", talk{"<\x4a\x00\x00\x00\x0a"}, "closed the connection where its greeting was due"},
		{"mssql", "not offered", talk{tdsRequest, tdsNone}, "does not offer TLS"},
		{"mssql", "nothing about encryption", talk{tdsRequest, "<\x04\x01\x00\x09\x00\x00\x01\x00\xff"}, "says nothing of encryption"},
		{"mssql", "an option outside of the packet", talk{tdsRequest, "<\x04\x01\x00\x0e\x00\x00\x01\x00\x01\xff\xff\x00\x01\xff"}, "says nothing of encryption"},
		{"mssql", "HTTP", talk{tdsRequest, "<HTTP/1.1 400 Bad\r\n\r\n"}, "speaks HTTP, not TDS"},
		{"mssql", "closed", talk{tdsRequest}, "where its answer to PRELOGIN was due"},
		{"rdp", "the old security only", talk{">" + rdpRequest, "<\x03\x00\x00\x0b\x06\xd0\x00\x00\x12\x34\x00"}, "the old security of RDP only"},
		{"rdp", "no certificate", talk{">" + rdpRequest, "<\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x03\x00\x08\x00\x03\x00\x00\x00"}, "it has no certificate"},
		{"rdp", "the old security chosen", talk{">" + rdpRequest, "<\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x00\x08\x00\x00\x00\x00\x00"}, "chose the old security"},
		{"rdp", "a disconnect request", talk{">" + rdpRequest, "<\x03\x00\x00\x0b\x06\x80\x00\x00\x12\x34\x00"}, "refused the connection"},
		{"rdp", "VNC", talk{">" + rdpRequest, "<RFB 003.008\n"}, "speaks VNC, not RDP"},
	}
	for _, tt := range tests {
		t.Run(tt.protocol+": "+tt.name, func(t *testing.T) {
			expectStartError(t, tt.protocol, tt.talk, certmedic.StartTLSFailed, tt.words)
		})
	}
}

func TestPlainTextIsBounded(t *testing.T) {
	tests := []struct {
		protocol, name, endless, words string
	}{
		{"smtp", "a line without end", "220 welcome to this ", "more than 4096 bytes without an end"},
		{"smtp", "lines without end", "220-welcome\r\n", "more than 65536 bytes in plain text"},
		{"ftp", "announcements without end", "120 soon\r\n", "more than 65536 bytes"},
		{"imap", "a greeting without end", "* OK ", "more than 4096 bytes"},
		{"pop3", "a greeting without end", "+OK ", "more than 4096 bytes"},
		{"sieve", "capabilities without end", "\"A\" \"b\"\r\n", "more than 65536 bytes"},
		{"irc", "notices without end", ":irc NOTICE * :wait\r\n", "more than 65536 bytes"},
		{"xmpp", "elements without end", "<a>", "does not speak XMPP"},
		{"xmpp", "white space without end", " \n", "more than 65536 bytes"},
		{"nntp", "zeros without end", "\x00\x00\x00\x00", "more than 4096 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.protocol+": "+tt.name, func(t *testing.T) {
			address := serve(t, func(conn net.Conn) {
				much := bytes.Repeat([]byte(tt.endless), 1000)
				for {
					if _, err := conn.Write(much); err != nil {
						return
					}
				}
			})
			dialer := Dialer{Timeout: 20 * time.Second}
			got := dialer.Handshake(t.Context(), Request{Address: address, Protocol: tt.protocol})
			if got.Err == nil || got.Err.Reason != certmedic.StartTLSFailed || !strings.Contains(got.Err.Detail, tt.words) {
				t.Errorf("error %+v, want %s", got.Err, tt.words)
			}
		})
	}
}

func TestSlowServersEndInTime(t *testing.T) {
	dialer := Dialer{Timeout: 50 * time.Millisecond}
	silent := serve(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	trickle := serve(t, func(conn net.Conn) {
		for {
			if _, err := conn.Write([]byte("2")); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	tests := []struct {
		name  string
		got   Result
		words string
	}{
		{"silence, and a twin that speaks TLS at once", dialer.Handshake(t.Context(), Request{Address: silent, Protocol: "smtp"}), "did not send its greeting within"},
		{"the twin is named", dialer.Handshake(t.Context(), Request{Address: silent, Protocol: "imap"}), "its protocol is imaps"},
		{"silence of a server without a twin", dialer.Handshake(t.Context(), Request{Address: silent, Protocol: "rdp"}), "its answer to the connection request within"},
		{"one byte at a time", dialer.Handshake(t.Context(), Request{Address: trickle, Protocol: "smtp"}), `it sent only "22`},
	}
	for _, tt := range tests {
		if tt.got.Stage != certmedic.ProbeStartTLS || tt.got.Err == nil || tt.got.Err.Reason != certmedic.Timeout || !strings.Contains(tt.got.Err.Detail, tt.words) {
			t.Errorf("%s: stage %s, error %+v, want %s", tt.name, tt.got.Stage, tt.got.Err, tt.words)
		}
	}
}

func TestXMPPDomainIsEscaped(t *testing.T) {
	got := streamOpening("jabber:client", "a'/><x b='<&\x00")
	if strings.Contains(got, "a'") || strings.Contains(got, "<x") || strings.ContainsRune(got, 0) {
		t.Errorf("the opening is %s", got)
	}
	if got := streamOpening("jabber:client", ""); strings.Contains(got, " to=") {
		t.Errorf("the opening without a domain is %s", got)
	}
}

func TestAddressLiteral(t *testing.T) {
	tests := []struct {
		local net.Addr
		want  string
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 5}, "[192.0.2.1]"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "[IPv6:fe80::1]"},
		{&net.UnixAddr{Name: "/run/x"}, "[127.0.0.1]"},
	}
	for _, tt := range tests {
		if got := addressLiteral(tt.local); got != tt.want {
			t.Errorf("%v is %s, want %s", tt.local, got, tt.want)
		}
	}
}

// TestLeavingMySQL holds the login that keeps servers from blocking this host.
func TestLeavingMySQL(t *testing.T) {
	login := packet(">", 2, mysqlRequest+"\x00\x00mysql_native_password\x00")
	tests := []struct {
		name string
		talk talk
	}{
		{"refused at once", talk{login, packet("<", 3, mysqlDenied)}},
		{"refused after another way to log in", talk{login, packet("<", 3, "\xfecaching_sha2_password"), packet(">", 4, ""), packet("<", 5, mysqlDenied)}},
		{"asked for ever", talk{login, packet("<", 3, "\xfe"), packet(">", 4, ""), packet("<", 5, "\xfe"), packet(">", 6, ""), packet("<", 7, "\xfe"), packet(">", 8, "")}},
		{"closed", talk{login}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			verdict := make(chan error, 1)
			go func() {
				verdict <- tt.talk.peer(theirs)
				_ = theirs.Close()
			}()
			leaveMySQL(ours)
			_ = ours.Close()
			if err := <-verdict; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTDSCarriesBrokenPackets(t *testing.T) {
	tests := []struct{ name, sent string }{
		{"a packet without content", "\x12\x01\x00\x08\x00\x00\x00\x00"},
		{"a packet of another kind", "\x03\x01\x00\x09\x00\x00\x00\x00x"},
		{"a packet that breaks off", "\x12\x01"},
	}
	for _, tt := range tests {
		conn := &tdsConn{in: bufio.NewReader(strings.NewReader(tt.sent))}
		if n, err := conn.Read(make([]byte, 10)); n != 0 || err == nil {
			t.Errorf("%s: %d bytes, %v", tt.name, n, err)
		}
	}
	conn := &tdsConn{in: bufio.NewReader(strings.NewReader("\x12\x01\x00\x0a\x00\x00\x00\x00ab" + "\x15\x03\x03\x00\x02\x01\x00"))}
	got, err := io.ReadAll(conn)
	if string(got) != "ab\x15\x03\x03\x00\x02\x01\x00" || err != nil {
		t.Errorf("a packet and a plain record after it: %q, %v", got, err)
	}
}

func TestTDSMessageIsCutIntoPackets(t *testing.T) {
	content := bytes.Repeat([]byte("x"), 10_000)
	message := tdsMessage(content)
	if message[0] != tdsPreLogin || message[1] != 0 || len(message) != len(content)+3*tdsHeader {
		t.Errorf("the message has %d bytes and begins %q", len(message), message[:tdsHeader])
	}
	got, err := io.ReadAll(&tdsConn{in: bufio.NewReader(bytes.NewReader(message))})
	if !bytes.Equal(got, content) || err != nil {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// memoryConn is a connection whose other end has said everything already.
type memoryConn struct {
	net.Conn
	said io.Reader
}

func (c memoryConn) Read(p []byte) (int, error)  { return c.said.Read(p) }
func (c memoryConn) Write(p []byte) (int, error) { return len(p), nil }
func (c memoryConn) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func FuzzStart(f *testing.F) {
	protocols := Protocols()
	for i, p := range protocols {
		for _, tt := range goodTalks() {
			if tt.protocol != p.Name {
				continue
			}
			var said strings.Builder
			for _, words := range tt.talk {
				if reply, ok := strings.CutPrefix(words, "<"); ok {
					said.WriteString(reply)
				}
			}
			f.Add(uint8(i), []byte(said.String()))
		}
	}
	f.Fuzz(func(t *testing.T, index uint8, said []byte) {
		protocol := protocols[int(index)%len(protocols)]
		carrier, err := protocol.start(memoryConn{said: bytes.NewReader(said)}, "shop.example.com")
		if (carrier == nil) == (err == nil) {
			t.Fatalf("%s: connection %v and error %v", protocol.Name, carrier, err)
		}
		if err == nil {
			return
		}
		detail := explainStart(err, time.Second).Detail
		if len(detail) > 8*maxQuoted || strings.ContainsFunc(detail, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%s: the detail is %q", protocol.Name, detail)
		}
	})
}

func FuzzTDSConn(f *testing.F) {
	f.Add([]byte("\x12\x01\x00\x0a\x00\x00\x00\x00ab\x15\x03"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		got, _ := io.ReadAll(&tdsConn{in: bufio.NewReader(bytes.NewReader(sent))})
		if len(got) > len(sent) {
			t.Errorf("%d bytes came out of %d", len(got), len(sent))
		}
	})
}
