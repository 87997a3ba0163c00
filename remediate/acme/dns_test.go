package acme_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/acme"
)

// TestDNS01 validates a name and its wildcard by records that providers set for real. Nothing of
// it runs beside another test: providers are set up by the environment of the process.
func TestDNS01(t *testing.T) {
	a := newAuthority(t, false)
	for _, tt := range []struct {
		provider string
		settings func(t *testing.T, a *authority) string
		wait     time.Duration
	}{
		{"httpreq", httpreq, 0},
		{"rfc2136", rfc2136, 0},
		{"exec", program, time.Millisecond},
	} {
		t.Run(tt.provider, func(t *testing.T) {
			must(t, a.dns.Set("_acme-challenge.shop.test"))
			r := a.request(t, "*.shop.test", "shop.test")
			file := filepath.Join(t.TempDir(), "env")
			write(t, file, []byte(tt.settings(t, a)))
			r.Challenge = acme.Challenge{DNS01: &acme.DNS01{
				Provider: tt.provider, EnvFile: file, Resolvers: []string{a.dns.Addr()}, Wait: tt.wait,
			}}
			_, chain, out := a.obtain(t, r)
			if !sameNames(chain[0].DNSNames, "*.shop.test", "shop.test") {
				t.Errorf("names %q", chain[0].DNSNames)
			}
			for _, line := range []string{"*.shop.test: dns-01 valid", "\nshop.test: dns-01 valid"} {
				if !strings.Contains(out, line) {
					t.Errorf("the output lacks %q:\n%s", line, out)
				}
			}
			if left := records(t, a, "_acme-challenge.shop.test."); len(left) != 0 {
				t.Errorf("records that stayed: %q", left)
			}
		})
	}
	t.Run("a record that is never seen", func(t *testing.T) {
		server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		defer server.Close()
		file := filepath.Join(t.TempDir(), "env")
		write(t, file, []byte("HTTPREQ_ENDPOINT="+server.URL+"\nHTTPREQ_PROPAGATION_TIMEOUT=1\nHTTPREQ_POLLING_INTERVAL=0\n"))
		r := a.request(t, "shop.test")
		r.Challenge = acme.Challenge{DNS01: &acme.DNS01{Provider: "httpreq", EnvFile: file, Resolvers: []string{a.dns.Addr()}}}
		before := a.placed()
		wantError(t, r, acme.KindNotShown, "_acme-challenge.shop.test", a.dns.Addr())
		if n := a.asked("chalZ"); n == 0 {
			t.Error("no challenge was ever posted; the next check proves nothing")
		}
		posted := a.asked("chalZ")
		r.Challenge = a.request(t).Challenge
		if issued, _, _ := a.obtain(t, r); !issued.Resumed || a.placed() != before+1 || a.asked("chalZ") != posted+1 {
			t.Errorf("the order did not wait: %+v", issued)
		}
	})
}

// TestHangingProvider shows that a program that never ends does not keep the request from ending.
func TestHangingProvider(t *testing.T) {
	a := newAuthority(t, false)
	script := filepath.Join(t.TempDir(), "dns.sh")
	write(t, script, []byte("#!/bin/sh\n[ \"$1\" = cleanup ] || sleep 5\n"))
	must(t, os.Chmod(script, 0o700))
	file := filepath.Join(t.TempDir(), "env")
	write(t, file, []byte("EXEC_PATH="+script+"\n"))
	r := a.request(t, "shop.test")
	r.Challenge = acme.Challenge{DNS01: &acme.DNS01{Provider: "exec", EnvFile: file, Resolvers: []string{a.dns.Addr()}}}
	r.Timeout = time.Second
	begun := time.Now()
	if _, err := acme.Obtain(t.Context(), r, io.Discard); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 4*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}

// records asks the DNS server for TXT records.
func records(t *testing.T, a *authority, name string) (texts []string) {
	t.Helper()
	response, err := dns.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeTXT), a.dns.Addr())
	must(t, err)
	for _, record := range response.Answer {
		texts = append(texts, strings.Join(record.(*dns.TXT).Txt, ""))
	}
	return texts
}

// httpreq is a web service that keeps several records for a name.
func httpreq(t *testing.T, a *authority) string {
	t.Helper()
	var values []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ FQDN, Value string }
		user, password, _ := r.BasicAuth()
		if json.NewDecoder(r.Body).Decode(&body) != nil || user != "medic" || password != "a=b" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		if r.URL.Path == "/present" {
			values = append(values, fmt.Sprintf("TXT %q", body.Value))
		} else {
			values = nil
		}
		if err := a.dns.Set(body.FQDN, values...); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	}))
	t.Cleanup(server.Close)
	return "# a service\nHTTPREQ_ENDPOINT=" + server.URL + "\nHTTPREQ_USERNAME=medic\nHTTPREQ_PASSWORD='a=b'\nHTTPREQ_POLLING_INTERVAL=0\n"
}

// rfc2136 is a server of signed updates, which keeps one record for a name.
func rfc2136(t *testing.T, a *authority) string {
	t.Helper()
	const key, secret = "medic.", "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
	packets := mint.Must(net.ListenPacket("udp", "127.0.0.1:0"))
	server := &dns.Server{PacketConn: packets, TsigSecret: map[string]string{key: secret}, MsgAcceptFunc: func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }}
	server.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		reply := new(dns.Msg).SetReply(m)
		if m.IsTsig() == nil || w.TsigStatus() != nil || m.Opcode != dns.OpcodeUpdate {
			_ = w.WriteMsg(reply.SetRcode(m, dns.RcodeRefused))
			return
		}
		var values []string
		name := ""
		for _, record := range m.Ns {
			name = record.Header().Name
			if txt, ok := record.(*dns.TXT); ok && record.Header().Class == dns.ClassINET {
				values = append(values, fmt.Sprintf("TXT %q", txt.Txt[0]))
			}
		}
		if err := a.dns.Set(name, values...); err != nil {
			reply.SetRcode(m, dns.RcodeServerFailure)
		}
		reply.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		_ = w.WriteMsg(reply)
	})
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() { _ = server.ActivateAndServe() }() // it ends by Shutdown
	<-started
	t.Cleanup(func() { _ = server.Shutdown() })
	return "RFC2136_NAMESERVER=" + packets.LocalAddr().String() + "\nRFC2136_ZONES=shop.test\nRFC2136_TSIG_ALGORITHM=hmac-sha256.\n" +
		"RFC2136_TSIG_KEY=" + key + "\nRFC2136_TSIG_SECRET=\"" + secret + "\"\nRFC2136_POLLING_INTERVAL=0\nRFC2136_SEQUENCE_INTERVAL=0\n"
}

// program is a script that hands records over, and waits until they are set.
func program(t *testing.T, a *authority) string {
	t.Helper()
	dir := t.TempDir()
	script := filepath.Join(dir, "dns.sh")
	write(t, script, []byte("#!/bin/sh\ncd "+dir+" || exit 1\necho \"$1 $2 $3\" > new && mv new order\n"+
		"i=0; while [ -e order ]; do i=$((i+1)); [ $i -lt 500 ] || exit 1; sleep 0.02; done\n"))
	must(t, os.Chmod(script, 0o700))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond)
			data, err := os.ReadFile(filepath.Join(dir, "order"))
			fields := strings.Fields(string(data))
			if err != nil || len(fields) != 3 {
				continue
			}
			var set []string
			if fields[0] == "present" {
				set = []string{fmt.Sprintf("TXT %q", fields[2])}
			}
			if a.dns.Set(fields[1], set...) == nil {
				_ = os.Remove(filepath.Join(dir, "order")) // the script goes on, or fails
			}
		}
	}()
	t.Cleanup(func() { <-ended })
	return "EXEC_PATH=" + script + "\nEXEC_SEQUENCE_INTERVAL=0\n"
}
