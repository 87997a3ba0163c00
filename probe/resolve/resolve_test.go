package resolve

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server runs a real DNS server on loopback, over UDP and TCP on the same port.
func server(t *testing.T, handler dns.HandlerFunc) string {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err != nil {
			_ = tcp.Close() // the port is taken for UDP, try another
			continue
		}
		for _, s := range []*dns.Server{{Listener: tcp, Handler: handler}, {PacketConn: udp, Handler: handler}} {
			started := make(chan struct{})
			s.NotifyStartedFunc = func() { close(started) }
			go func() { _ = s.ActivateAndServe() }()
			<-started
			t.Cleanup(func() { _ = s.Shutdown() })
		}
		return tcp.Addr().String()
	}
	t.Fatal("no port is free for both UDP and TCP")
	return ""
}

func respond(rcode int, records ...string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetRcode(q, rcode)
		for _, text := range records {
			record, err := dns.NewRR(text)
			if err != nil {
				panic(err)
			}
			kind := record.Header().Rrtype
			if kind == q.Question[0].Qtype || kind == dns.TypeCNAME {
				reply.Answer = append(reply.Answer, record)
			}
		}
		_ = w.WriteMsg(reply)
	}
}

func onTCP(w dns.ResponseWriter) bool {
	_, ok := w.RemoteAddr().(*net.TCPAddr)
	return ok
}

// write puts a file into the test's folder and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func resolver(t *testing.T, conf string, servers ...string) *Resolver {
	return &Resolver{
		Servers: servers, HostsFile: filepath.Join(t.TempDir(), "none"), ResolvConf: write(t, "resolv.conf", conf),
		Timeout: 10 * time.Second, Attempts: 1,
	}
}

func texts(addresses []netip.Addr) []string {
	var out []string
	for _, a := range addresses {
		out = append(out, a.String())
	}
	return out
}

const (
	recordA     = "shop.example.com. 60 IN A 192.0.2.1"
	recordA2    = "shop.example.com. 60 IN A 192.0.2.2"
	recordAAAA  = "shop.example.com. 60 IN AAAA 2001:db8::1"
	recordCNAME = "shop.example.com. 60 IN CNAME edge.example.net."
	recordEdge  = "edge.example.net. 60 IN A 192.0.2.7"
)

func TestLookup(t *testing.T) {
	good := respond(dns.RcodeSuccess, recordAAAA, recordA2, recordA, recordA)
	oneFamily := func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeAAAA {
			respond(dns.RcodeServerFailure)(w, q)
			return
		}
		good(w, q)
	}
	truncated := func(w dns.ResponseWriter, q *dns.Msg) {
		if onTCP(w) {
			good(w, q)
			return
		}
		reply := new(dns.Msg).SetReply(q)
		reply.Truncated = true
		_ = w.WriteMsg(reply)
	}
	noEDNS := func(w dns.ResponseWriter, q *dns.Msg) {
		if q.IsEdns0() != nil {
			respond(dns.RcodeFormatError)(w, q)
			return
		}
		good(w, q)
	}
	liar := func(w dns.ResponseWriter, q *dns.Msg) {
		other := q.Copy()
		other.Question[0].Name = "other.example.com."
		respond(dns.RcodeSuccess, "other.example.com. 60 IN A 192.0.2.66")(w, other)
	}
	all := []string{"192.0.2.2", "192.0.2.1", "2001:db8::1"}
	tests := []struct {
		name    string
		servers []dns.HandlerFunc
		want    []string
		reason  string
	}{
		{"both families, IPv4 first, each address once", []dns.HandlerFunc{good}, all, ""},
		{"an alias that the server has followed", []dns.HandlerFunc{respond(dns.RcodeSuccess, recordCNAME, recordEdge)}, []string{"192.0.2.7"}, ""},
		{"one family fails, the other is kept", []dns.HandlerFunc{oneFamily}, all[:2], ""},
		{"an answer that does not fit comes over TCP", []dns.HandlerFunc{truncated}, all, ""},
		{"a server that does not know EDNS0", []dns.HandlerFunc{noEDNS}, all, ""},
		{"a server that fails is passed over", []dns.HandlerFunc{respond(dns.RcodeServerFailure), good}, all, ""},
		{"a server that refuses is passed over", []dns.HandlerFunc{respond(dns.RcodeRefused), good}, all, ""},
		{"a server that answers another question is passed over", []dns.HandlerFunc{liar, good}, all, ""},
		{"no such name is an answer, nobody else is asked", []dns.HandlerFunc{respond(dns.RcodeNameError), good}, nil, ReasonNXDomain},
		{"a name without addresses", []dns.HandlerFunc{respond(dns.RcodeSuccess)}, nil, ReasonNoData},
		{"an alias that leads nowhere", []dns.HandlerFunc{respond(dns.RcodeSuccess, recordCNAME)}, nil, ReasonNoData},
		{"all servers fail", []dns.HandlerFunc{respond(dns.RcodeServerFailure)}, nil, ReasonServFail},
		{"all servers refuse", []dns.HandlerFunc{respond(dns.RcodeRefused)}, nil, ReasonRefused},
		{"a response code that says nothing", []dns.HandlerFunc{respond(dns.RcodeNotImplemented)}, nil, ReasonOther},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var servers []string
			for _, handler := range tt.servers {
				servers = append(servers, server(t, handler))
			}
			got, err := resolver(t, "", servers...).Lookup(t.Context(), "shop.example.com")
			if !slices.Equal(texts(got), tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if reason := reasonIn(t, err); reason != tt.reason {
				t.Errorf("error %v, want the reason %q", err, tt.reason)
			}
		})
	}
}

func reasonIn(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.Host != "shop.example.com" || !strings.Contains(err.Error(), `"shop.example.com"`) {
		t.Errorf("error %v does not name the host", err)
	}
	return e.Reason
}

func TestTimeoutAndSilence(t *testing.T) {
	silent := server(t, func(dns.ResponseWriter, *dns.Msg) {})
	r := resolver(t, "", silent)
	r.Timeout = 20 * time.Millisecond
	_, err := r.Lookup(t.Context(), "shop.example.com")
	if reasonIn(t, err) != ReasonTimeout {
		t.Errorf("a silent server: %v", err)
	}

	r.Timeout = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := r.Lookup(ctx, "shop.example.com"); reasonIn(t, err) != ReasonTimeout {
		t.Errorf("an ended context: %v", err)
	}

	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.Close()
	if _, err := resolver(t, "", socket.LocalAddr().String()).Lookup(t.Context(), "shop.example.com"); reasonIn(t, err) != ReasonNetwork {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestSearchList(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	address := server(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA && !onTCP(w) {
			mu.Lock()
			asked = append(asked, q.Question[0].Name)
			mu.Unlock()
		}
		respond(dns.RcodeNameError)(w, q)
	})
	conf := "search corp.example lab.example\noptions ndots:2\n"
	tests := []struct {
		host string
		want []string
	}{
		{"db", []string{"db.corp.example.", "db.lab.example.", "db."}},
		{"a.b.c", []string{"a.b.c.", "a.b.c.corp.example.", "a.b.c.lab.example."}},
		{"db.", []string{"db."}},
	}
	for _, tt := range tests {
		mu.Lock()
		asked = nil
		mu.Unlock()
		if _, err := resolver(t, conf, address).Lookup(t.Context(), tt.host); err == nil {
			t.Errorf("%s: no error", tt.host)
		}
		mu.Lock()
		if !slices.Equal(asked, tt.want) {
			t.Errorf("%s: asked for %v, want %v", tt.host, asked, tt.want)
		}
		mu.Unlock()
	}
}

func TestNamesThatNeedNoServer(t *testing.T) {
	hosts := write(t, "hosts", "192.0.2.9 Shop.Example.com shop # the shop\n2001:db8::9\tshop\nnonsense shop\n10.0.0.1 localhost\n")
	r := &Resolver{Servers: []string{"127.0.0.1:1"}, HostsFile: hosts, ResolvConf: write(t, "resolv.conf", "")}
	tests := []struct {
		host string
		want []string
	}{
		{"192.0.2.1", []string{"192.0.2.1"}},
		{"::ffff:192.0.2.1", []string{"192.0.2.1"}},
		{"2001:db8::1", []string{"2001:db8::1"}},
		{"shop", []string{"192.0.2.9", "2001:db8::9"}},
		{"SHOP.example.COM.", []string{"192.0.2.9"}},
		{"localhost", []string{"127.0.0.1", "::1"}},
		{"a.localhost", []string{"127.0.0.1", "::1"}},
	}
	for _, tt := range tests {
		got, err := r.Lookup(t.Context(), tt.host)
		if err != nil || !slices.Equal(texts(got), tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.host, got, err, tt.want)
		}
	}
	for _, host := range []string{"", ".", strings.Repeat("a", 64) + ".example", "a..b"} {
		if got, err := r.Lookup(t.Context(), host); err == nil {
			t.Errorf("%q is resolved as %v, want an error", host, got)
		}
	}
	r.Servers = []string{"dns.example.com"}
	if _, err := r.Lookup(t.Context(), "elsewhere.example"); err == nil || !strings.Contains(err.Error(), `"dns.example.com"`) {
		t.Errorf("a server that is a name: %v, want an error that names it", err)
	}
}

func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	hosts := write(t, "hosts", "192.0.2.1 shop\n")
	r := &Resolver{HostsFile: hosts}
	if got, err := r.Lookup(t.Context(), "shop"); err != nil || got[0].String() != "192.0.2.1" {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := os.WriteFile(hosts, []byte("192.0.2.22 shop\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Lookup(t.Context(), "shop"); err != nil || got[0].String() != "192.0.2.22" {
		t.Errorf("after the change got %v, %v", got, err)
	}
}

func TestResolvConf(t *testing.T) {
	got := parseResolvConf([]byte("nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch a.example b.example\noptions timeout:3 attempts:4 ndots:5\n"))
	if !slices.Equal(got.servers, []string{"192.0.2.53:53", "[2001:db8::53]:53"}) || !slices.Equal(got.search, []string{"a.example", "b.example"}) ||
		got.timeout != 3*time.Second || got.attempts != 4 || got.ndots != 5 {
		t.Errorf("settings are %+v", got)
	}
	if got := parseResolvConf(nil); !slices.Equal(got.servers, []string{"127.0.0.1:53"}) || got.attempts != 2 {
		t.Errorf("the settings of an empty file are %+v", got)
	}
}
