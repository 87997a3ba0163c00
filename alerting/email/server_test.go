package email_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is a strict little SMTP server (RFC 5321, 3207, 4954): commands out of order are
// refused, and so are lines that are too long or end in a bare line feed.
type server struct {
	behaviour
	t     *testing.T
	roots *x509.CertPool

	listener net.Listener
	config   *tls.Config
	mu       sync.Mutex
	mails    []mailed
}

// behaviour is what a server does.
type behaviour struct {
	starttls  bool              // is offered
	implicit  bool              // TLS from the first byte on
	mechanism string            // AUTH, once encrypted
	replies   map[string]string // by verb or path, instead of the usual reply
	silent    string            // the verb that is never answered
	drop      bool              // the connection ends after the mail was taken, without an answer
}

// mailed is a mail that was taken.
type mailed struct {
	from      string
	to        []string
	data      string
	user      string
	encrypted bool
}

func serve(t *testing.T, b behaviour) *server {
	t.Helper()
	s := &server{behaviour: b, t: t}
	s.config, s.roots = certificate(t)
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.talk(conn) })
		}
	})
	t.Cleanup(func() { _ = s.listener.Close(); wg.Wait() })
	return s
}

func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, roots
}

func (s *server) address() string { return s.listener.Addr().String() }

func (s *server) taken() []mailed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]mailed(nil), s.mails...)
}

// session is one connection.
type session struct {
	conn      net.Conn
	text      *textproto.Conn
	mail      mailed
	greeted   bool
	encrypted bool
}

func (s *server) talk(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	x := &session{conn: conn}
	if s.implicit {
		x.conn, x.encrypted = tls.Server(conn, s.config), true
	}
	x.text = textproto.NewConn(x.conn)
	_ = x.text.PrintfLine("220 mx.example.com ESMTP")
	for {
		line, err := x.text.ReadLine()
		if err != nil {
			return
		}
		verb, argument, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if verb == s.silent {
			continue
		}
		if !s.answer(x, verb, argument) {
			return
		}
	}
}

// answer reports whether the connection goes on.
func (s *server) answer(x *session, verb, argument string) bool {
	for _, key := range []string{verb, argument} {
		if reply := s.replies[key]; reply != "" {
			return x.text.PrintfLine("%s", reply) == nil
		}
	}
	switch verb {
	case "EHLO":
		x.greeted = true
		return x.text.PrintfLine("%s", strings.Join(s.extensions(x), "\r\n")) == nil
	case "STARTTLS":
		return s.encrypt(x)
	case "AUTH":
		return s.login(x, argument)
	case "MAIL":
		if !x.greeted {
			return x.text.PrintfLine("503 5.5.1 EHLO first") == nil
		}
		x.mail = mailed{from: path(argument), user: x.mail.user, encrypted: x.encrypted}
	case "RCPT":
		x.mail.to = append(x.mail.to, path(argument))
	case "DATA":
		return s.data(x)
	case "QUIT":
		_ = x.text.PrintfLine("221 2.0.0 bye")
		return false
	case "RSET", "NOOP":
	default:
		return x.text.PrintfLine("502 5.5.2 what is %s", verb) == nil
	}
	return x.text.PrintfLine("250 2.0.0 ok") == nil
}

func (s *server) extensions(x *session) []string {
	all := []string{"250-mx.example.com", "250-8BITMIME"}
	if s.starttls && !x.encrypted {
		all = append(all, "250-STARTTLS")
	}
	if s.mechanism != "" {
		all = append(all, "250-AUTH "+s.mechanism)
	}
	return append(all, "250 ENHANCEDSTATUSCODES")
}

func (s *server) encrypt(x *session) bool {
	_ = x.text.PrintfLine("220 2.0.0 go on")
	x.conn = tls.Server(x.conn, s.config)
	x.text, x.encrypted, x.greeted = textproto.NewConn(x.conn), true, false
	return true
}

// login takes "ann" with "s3cr3t", by PLAIN or LOGIN; CRAM-MD5 is only offered to be refused.
func (s *server) login(x *session, argument string) bool {
	mechanism, first, _ := strings.Cut(argument, " ")
	var words []string
	switch mechanism {
	case "PLAIN":
		words = strings.Split(decode(first), "\x00")[1:]
	case "LOGIN":
		for _, question := range []string{"Username:", "Password:"} {
			_ = x.text.PrintfLine("334 %s", base64.StdEncoding.EncodeToString([]byte(question)))
			line, err := x.text.ReadLine()
			if err != nil {
				return false
			}
			words = append(words, decode(line))
		}
	}
	if !x.encrypted || fmt.Sprint(words) != "[ann s3cr3t]" {
		return x.text.PrintfLine("535 5.7.8 not you") == nil
	}
	x.mail.user = words[0]
	return x.text.PrintfLine("235 2.7.0 welcome") == nil
}

func decode(text string) string {
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(plain)
}

func (s *server) data(x *session) bool {
	if len(x.mail.to) == 0 {
		return x.text.PrintfLine("503 5.5.1 to whom") == nil
	}
	_ = x.text.PrintfLine("354 go on")
	data, err := s.lines(x.text.R)
	if err != nil {
		return false
	}
	x.mail.data = data
	s.mu.Lock()
	s.mails = append(s.mails, x.mail)
	s.mu.Unlock()
	if s.drop {
		return false
	}
	return x.text.PrintfLine("250 2.0.0 taken") == nil
}

// lines reads a mail up to the dot.
func (s *server) lines(r *bufio.Reader) (string, error) {
	var data strings.Builder
	for {
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return "", err
		case !strings.HasSuffix(line, "\r\n"):
			s.t.Errorf("the line %q ends in a bare line feed", line)
		case len(line) > 1000:
			s.t.Errorf("a line has %d bytes", len(line))
		case line == ".\r\n":
			return data.String(), nil
		}
		data.WriteString(strings.TrimPrefix(line, "."))
	}
}

func path(argument string) string {
	begin, end := strings.IndexByte(argument, '<'), strings.IndexByte(argument, '>')
	if begin < 0 || end < begin {
		return ""
	}
	return argument[begin+1 : end]
}
