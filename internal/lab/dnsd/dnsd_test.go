package dnsd_test

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/certmedic/certmedic/internal/lab/dnsd"
)

func start(t *testing.T) *dnsd.Server {
	t.Helper()
	server, err := dnsd.Start(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

func set(t *testing.T, server *dnsd.Server, name string, records ...string) {
	t.Helper()
	if err := server.Set(name, records...); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, server *dnsd.Server, network, name string, kind uint16) (*dns.Msg, error) {
	t.Helper()
	client := &dns.Client{Net: network, Timeout: 2 * time.Second}
	answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), kind), server.Addr())
	return answer, err
}

func TestZoneAnswersOverBothTransports(t *testing.T) {
	server := start(t)
	set(t, server, "shop.test", "A 127.0.0.1", "A 127.0.0.2", "AAAA ::1", `TXT "hello"`, `CAA 0 issue "ca.test"`)
	set(t, server, "www.shop.test", "CNAME shop.test.")
	rows := []struct {
		about string
		name  string
		kind  uint16
		count int
		rcode int
	}{
		{"all A records of a name", "shop.test", dns.TypeA, 2, dns.RcodeSuccess},
		{"names in capitals are the same", "SHOP.test", dns.TypeAAAA, 1, dns.RcodeSuccess},
		{"a CNAME comes with what it points to", "www.shop.test", dns.TypeA, 3, dns.RcodeSuccess},
		{"text", "shop.test", dns.TypeTXT, 1, dns.RcodeSuccess},
		{"who may issue", "shop.test", dns.TypeCAA, 1, dns.RcodeSuccess},
		{"a type that the name does not have", "shop.test", dns.TypeMX, 0, dns.RcodeSuccess},
		{"a name that the zone does not hold", "other.test", dns.TypeA, 0, dns.RcodeNameError},
	}
	for _, row := range rows {
		for _, network := range []string{"udp", "tcp"} {
			answer, err := ask(t, server, network, row.name, row.kind)
			if err != nil {
				t.Errorf("%s (%s): %v", row.about, network, err)
				continue
			}
			if len(answer.Answer) != row.count || answer.Rcode != row.rcode {
				t.Errorf("%s (%s): %d records, rcode %d, want %d and %d",
					row.about, network, len(answer.Answer), answer.Rcode, row.count, row.rcode)
			}
		}
	}
}

func TestAnyAnswersForNamesThatAreNotSet(t *testing.T) {
	server := start(t)
	set(t, server, dnsd.Any, "A 127.0.0.9")
	answer, err := ask(t, server, "udp", "whatever.test", dns.TypeA)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Answer) != 1 || answer.Answer[0].Header().Name != "whatever.test." {
		t.Errorf("the default answer is %v", answer.Answer)
	}
}

func TestFaultsAndTheirEnd(t *testing.T) {
	server := start(t)
	set(t, server, "shop.test", "A 127.0.0.1")
	for fault, rcode := range map[dnsd.Fault]int{
		dnsd.NXDomain: dns.RcodeNameError,
		dnsd.ServFail: dns.RcodeServerFailure,
		dnsd.Refused:  dns.RcodeRefused,
	} {
		server.Fail("shop.test", fault)
		answer, err := ask(t, server, "udp", "shop.test", dns.TypeA)
		if err != nil || answer.Rcode != rcode {
			t.Errorf("%s: %v, %v", fault, answer, err)
		}
	}
	server.Fail("shop.test", dnsd.None)
	answer, err := ask(t, server, "udp", "shop.test", dns.TypeA)
	if err != nil || len(answer.Answer) != 1 {
		t.Errorf("after the fault: %v, %v", answer, err)
	}
}

func TestTruncatedAnswersAreWholeOverTCP(t *testing.T) {
	server := start(t)
	set(t, server, "shop.test", "A 127.0.0.1")
	server.Fail(dnsd.Any, dnsd.Truncate)
	short, err := ask(t, server, "udp", "shop.test", dns.TypeA)
	if err != nil || !short.Truncated || len(short.Answer) != 0 {
		t.Errorf("over UDP: %v, %v", short, err)
	}
	whole, err := ask(t, server, "tcp", "shop.test", dns.TypeA)
	if err != nil || whole.Truncated || len(whole.Answer) != 1 {
		t.Errorf("over TCP: %v, %v", whole, err)
	}
}

func TestStallAnswersNothing(t *testing.T) {
	server := start(t)
	set(t, server, "shop.test", "A 127.0.0.1")
	server.Fail("shop.test", dnsd.Stall)
	for _, network := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: network, Timeout: 100 * time.Millisecond}
		_, _, err := client.Exchange(new(dns.Msg).SetQuestion("shop.test.", dns.TypeA), server.Addr())
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("over %s: %v, want a deadline", network, err)
		}
	}
}

func TestSignedDomainsCarryTheADBit(t *testing.T) {
	server := start(t)
	server.Sign("signed.test", true)
	server.Sign("once.test", true)
	server.Sign("once.test", false)
	set(t, server, "www.signed.test", "A 127.0.0.1")
	set(t, server, "a.signed.test", "CNAME www.signed.test.")
	set(t, server, "b.signed.test", "CNAME www.plain.test.")
	set(t, server, "www.plain.test", "A 127.0.0.1")
	set(t, server, "once.test", "A 127.0.0.1")
	rows := []struct {
		about, name string
		ask, want   bool
	}{
		{"a name below the domain", "WWW.signed.test", true, true},
		{"a client that does not ask for it", "www.signed.test", false, false},
		{"that there is no such name is vouched for too", "no.signed.test", true, true},
		{"an alias within the domain", "a.signed.test", true, true},
		{"an alias that leads out of it", "b.signed.test", true, false},
		{"another domain", "www.plain.test", true, false},
		{"a domain that is signed no longer", "once.test", true, false},
	}
	for _, row := range rows {
		query := new(dns.Msg).SetQuestion(dns.Fqdn(row.name), dns.TypeA)
		query.AuthenticatedData = row.ask
		answer, _, err := new(dns.Client).Exchange(query, server.Addr())
		if err != nil || answer.AuthenticatedData != row.want {
			t.Errorf("%s: AD is not %v in %v, %v", row.about, row.want, answer, err)
		}
	}
}

func TestRecordsThatDoNotParseAreNamed(t *testing.T) {
	server := start(t)
	if err := server.Set("shop.test", "A not-an-address"); err == nil {
		t.Error("a broken record was taken")
	}
}

func TestStopFreesThePort(t *testing.T) {
	server := start(t)
	server.Stop()
	listener, err := net.Listen("tcp", server.Addr())
	if err != nil {
		t.Fatalf("the port is not free: %v", err)
	}
	_ = listener.Close()
}
