package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
)

// signing makes a handler say that DNSSEC vouches for its answers, to those who ask.
func signing(handler dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		handler(marked{w, q.AuthenticatedData && q.IsEdns0() != nil && q.IsEdns0().Do()}, q)
	}
}

type marked struct {
	dns.ResponseWriter
	ad bool
}

func (m marked) WriteMsg(reply *dns.Msg) error {
	reply.AuthenticatedData = m.ad
	return m.ResponseWriter.WriteMsg(reply)
}

// counting counts the questions of the type that a handler gets.
func counting(count *atomic.Int32, kind uint16, handler dns.HandlerFunc) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == kind {
			count.Add(1)
		}
		handler(w, q)
	}
}

// empty answers that there is nothing, behind aliases if any, and for how long that holds.
func empty(rcode int, ttl, minimum uint32, aliases ...dns.RR) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetRcode(q, rcode)
		reply.Answer = aliases
		reply.Ns = append(reply.Ns, &dns.SOA{
			Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
			Ns:  "ns.example.com.", Mbox: "hostmaster.example.com.", Minttl: minimum,
		})
		_ = w.WriteMsg(reply)
	}
}

const (
	recordTLSA  = "_25._tcp.shop.example.com. 600 IN TLSA 3 1 1 00ff"
	recordAlias = "_25._tcp.shop.example.com. 60 IN CNAME DANE.example.net."
	recordBelow = "dane.example.net. 300 IN TLSA 3 1 1 aa"
)

func TestQuery(t *testing.T) {
	tests := []struct {
		name          string
		handler       dns.HandlerFunc
		records       []string // the data of the records
		aliases       []string
		ttl           time.Duration
		authenticated bool
		reason        string
	}{
		{name: "records that nobody vouches for", handler: respond(dns.RcodeSuccess, recordTLSA), records: []string{"3 1 1 00ff"}, ttl: 10 * time.Minute},
		{
			name: "records that the resolver has validated", handler: signing(respond(dns.RcodeSuccess, recordTLSA)),
			records: []string{"3 1 1 00ff"}, ttl: 10 * time.Minute, authenticated: true,
		},
		{
			name: "an alias is followed, and the shortest TTL counts", handler: signing(respond(dns.RcodeSuccess, recordBelow, recordAlias)),
			records: []string{"3 1 1 aa"}, aliases: []string{"dane.example.net"}, ttl: time.Minute, authenticated: true,
		},
		{name: "records of another name are left aside", handler: respond(dns.RcodeSuccess, recordBelow)},
		{name: "no such name is an answer", handler: signing(empty(dns.RcodeNameError, 900, 300)), ttl: 5 * time.Minute, authenticated: true},
		{name: "no such type is an answer", handler: empty(dns.RcodeSuccess, 120, 300), ttl: 2 * time.Minute},
		{
			name: "nothing where an alias leads, which is the first to change", handler: empty(dns.RcodeSuccess, 900, 300, rr(t, recordAlias)),
			aliases: []string{"dane.example.net"}, ttl: time.Minute,
		},
		{name: "an empty answer that says not for how long", handler: respond(dns.RcodeNameError)},
		{name: "a TTL out of bounds counts as none", handler: respond(dns.RcodeSuccess, "_25._tcp.shop.example.com. 4294967295 IN TLSA 3 1 1 bb"), records: []string{"3 1 1 bb"}},
		{name: "a failure is an error", handler: respond(dns.RcodeServerFailure), reason: ReasonServFail},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := resolver(t, "", server(t, tt.handler)).Query(t.Context(), "_25._TCP.shop.example.com", dns.TypeTLSA)
			var e *Error
			if errors.As(err, &e) != (tt.reason != "") || e != nil && e.Reason != tt.reason {
				t.Fatalf("error %v, want the reason %q", err, tt.reason)
			}
			var data []string
			for _, record := range got.Records {
				data = append(data, strings.TrimPrefix(record.String(), record.Header().String()))
			}
			if !slices.Equal(data, tt.records) || !slices.Equal(got.Aliases, tt.aliases) || got.TTL != tt.ttl || got.Authenticated != tt.authenticated {
				t.Errorf("got %q by %q for %v, authenticated %v, want %+v", data, got.Aliases, got.TTL, got.Authenticated, tt)
			}
		})
	}
}

func TestWhoseWordOnDNSSECCounts(t *testing.T) {
	tests := []struct {
		name    string
		conf    string
		servers []string
		server  string
		want    bool
	}{
		{"a resolver on this host", "nameserver 127.0.0.53", nil, "127.0.0.53:53", true},
		{"a resolver on this host, over IPv6", "nameserver ::1", nil, "[::1]:53", true},
		{"a resolver of the network", "nameserver 192.0.2.53", nil, "192.0.2.53:53", false},
		{"a resolver of the network that the administrator trusts", "nameserver 192.0.2.53\noptions edns0 trust-ad", nil, "192.0.2.53:53", true},
		{"a resolver of the configuration", "", []string{"192.0.2.53"}, "192.0.2.53:53", true},
	}
	for _, tt := range tests {
		s, err := resolver(t, tt.conf, tt.servers...).settings()
		if err != nil {
			t.Fatal(err)
		}
		reply := new(dns.Msg)
		reply.AuthenticatedData = true
		if got := s.read(reply, tt.server, question{name: "a."}).Authenticated; got != tt.want {
			t.Errorf("%s: believed is %v", tt.name, got)
		}
	}
}

func TestLookupsDoNotAskForDNSSEC(t *testing.T) {
	asked := make(chan bool, 8)
	address := server(t, func(w dns.ResponseWriter, q *dns.Msg) {
		asked <- q.AuthenticatedData || q.IsEdns0().Do()
		respond(dns.RcodeSuccess, recordA)(w, q)
	})
	if _, err := resolver(t, "", address).Lookup(t.Context(), "shop.example.com"); err != nil {
		t.Fatal(err)
	}
	if a, aaaa := <-asked, <-asked; a || aaaa {
		t.Error("an address was asked for with signatures, which only make the answer larger")
	}
}

func TestSRV(t *testing.T) {
	const owner = "_xmpp-client._tcp.example.com. 60 IN SRV "
	tests := []struct {
		name    string
		records []string
		want    []string
	}{
		{
			"by priority, then the heavier first",
			[]string{owner + "20 0 5222 c.example.com.", owner + "10 1 5222 B.example.com.", owner + "10 9 5223 a.example.com."},
			[]string{"a.example.com:5223", "b.example.com:5222", "c.example.com:5222"},
		},
		{"a service that is not offered", []string{owner + "0 0 0 ."}, nil},
		{"no records", nil, nil},
	}
	for _, tt := range tests {
		targets, err := resolver(t, "", server(t, respond(dns.RcodeSuccess, tt.records...))).SRV(t.Context(), "_xmpp-client._tcp.example.com")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, target := range targets {
			got = append(got, fmt.Sprintf("%s:%d", target.Host, target.Port))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestToASCII(t *testing.T) {
	tests := []struct{ host, want string }{
		{"shop.example.com", "shop.example.com"},
		{"_dmarc.Example.com.", "_dmarc.Example.com."},
		{"192.0.2.1", "192.0.2.1"},
		{"2001:db8::1", "2001:db8::1"},
		{"bücher.example", "xn--bcher-kva.example"},
		{"BÜCHER.example.", "xn--bcher-kva.example."},
		{"faß.example", "xn--fa-hia.example"}, // transitional processing would say fass
		{"例え。テスト", "xn--r8jz45g.xn--zckzah"},
		{"ｅｘａｍｐｌｅ.com", "example.com"},
		{"１２７.0.0.1", ""},
		{"a\u202eb.example", ""},
		{"bücher_.example", ""},
		{"\xff.example", ""},
	}
	for _, tt := range tests {
		got, err := ToASCII(tt.host)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q: got %q, %v, want %q", tt.host, got, err, tt.want)
		}
		if err != nil && strings.ContainsFunc(err.Error(), func(r rune) bool { return r == '\u202e' || r == '\ufffd' }) {
			t.Errorf("%q: its error %v holds what cannot be printed", tt.host, err)
		}
	}
	got, err := resolver(t, "", server(t, respond(dns.RcodeSuccess, "xn--bcher-kva.example. 60 IN A 192.0.2.1"))).Lookup(t.Context(), "Bücher.example")
	if err != nil || !slices.Equal(texts(got), []string{"192.0.2.1"}) {
		t.Errorf("an international name is looked up as %v, %v", got, err)
	}
}

func TestAnswersAreKept(t *testing.T) {
	tests := []struct {
		name    string
		handler dns.HandlerFunc
		asked   int32 // how often for A records, by three lookups
	}{
		{"as long as they allow it", respond(dns.RcodeSuccess, recordA), 1},
		{"not where they forbid it", respond(dns.RcodeSuccess, "shop.example.com. 0 IN A 192.0.2.1"), 3},
		{"no such name", empty(dns.RcodeNameError, 60, 60), 1},
		{"no such name, and nobody says for how long", respond(dns.RcodeNameError), 3},
		{"not a failure", respond(dns.RcodeServerFailure), 3},
	}
	for _, tt := range tests {
		var asked atomic.Int32
		r := resolver(t, "", server(t, counting(&asked, dns.TypeA, tt.handler)))
		for range 3 {
			_, _ = r.Lookup(t.Context(), "Shop.example.com")
		}
		if asked.Load() != tt.asked {
			t.Errorf("%s: it was asked %d times, want %d", tt.name, asked.Load(), tt.asked)
		}
	}
}

func TestOtherServersAreAskedAnew(t *testing.T) {
	r := resolver(t, "", server(t, respond(dns.RcodeSuccess, recordA)))
	if _, err := r.Lookup(t.Context(), "shop.example.com"); err != nil {
		t.Fatal(err)
	}
	r.Servers = []string{server(t, respond(dns.RcodeSuccess, recordA2))}
	got, err := r.Lookup(t.Context(), "shop.example.com")
	if err != nil || !slices.Equal(texts(got), []string{"192.0.2.2"}) {
		t.Errorf("after the servers changed: %v, %v", got, err)
	}
}

func TestErrorsThatAreKeptNameTheHostThatWasAsked(t *testing.T) {
	r := resolver(t, "", server(t, empty(dns.RcodeNameError, 60, 60)))
	for _, host := range []string{"shop.example.com", "SHOP.example.com."} {
		var e *Error
		if _, err := r.Lookup(t.Context(), host); !errors.As(err, &e) || e.Host != host {
			t.Errorf("the error for %q is %v", host, err)
		}
	}
}

func TestCacheForgets(t *testing.T) {
	const hour = 3600
	good := answer{Answer: follow([]dns.RR{rr(t, "a. 3600 IN A 192.0.2.1")}, "a.", dns.TypeA)}
	nothing := answer{Answer: Answer{TTL: hour * time.Second}, err: &Error{Reason: ReasonNoData}}
	tests := []struct {
		name   string
		answer answer
		after  time.Duration
		kept   bool
	}{
		{"an address is kept", good, maxKept - 1, true},
		{"an address is not kept for long, whatever its TTL", good, maxKept, false},
		{"that there is nothing is kept", nothing, maxKeptEmpty - 1, true},
		{"that there is nothing is kept for a shorter time", nothing, maxKeptEmpty, false},
	}
	for _, tt := range tests {
		var c cache
		now := time.Now()
		_, p, _ := c.begin(question{name: "a."}, now)
		p.answer = tt.answer
		c.end(question{name: "a."}, p, now)
		if _, p, _ := c.begin(question{name: "a."}, now.Add(tt.after)); (p == nil) != tt.kept {
			t.Errorf("%s: after %v it is kept: %v", tt.name, tt.after, p == nil)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Now()
	add := func(i int, now time.Time) {
		q := question{name: fmt.Sprint(i)}
		_, p, _ := c.begin(q, now)
		p.answer = answer{Answer: Answer{TTL: time.Minute}}
		c.end(q, p, now)
	}
	for i := range maxQuestions + 100 {
		add(i, now)
	}
	if len(c.kept) != maxQuestions || len(c.asking) != 0 {
		t.Errorf("%d answers are kept, %d questions are open", len(c.kept), len(c.asking))
	}
	add(-1, now.Add(maxKept))
	if len(c.kept) != 1 {
		t.Errorf("%d answers are kept after the others are too old", len(c.kept))
	}
}

func TestManyWhoAskShareOneExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		var asked atomic.Int32
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				got := c.get(t.Context(), question{name: "a."}, func() answer {
					asked.Add(1)
					time.Sleep(time.Second)
					return answer{err: &Error{Reason: ReasonServFail}}
				})
				if got.err == nil || got.err.Reason != ReasonServFail {
					t.Errorf("one of them got %+v", got)
				}
			})
		}
		group.Wait()
		if asked.Load() != 1 {
			t.Errorf("%d exchanges were made", asked.Load())
		}
	})
}

func TestWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		var group sync.WaitGroup
		first, cancel := context.WithCancel(t.Context())
		group.Go(func() {
			c.get(first, question{name: "a."}, func() answer {
				<-first.Done()
				return answer{err: &Error{Reason: ReasonTimeout}}
			})
		})
		synctest.Wait()
		group.Go(func() {
			impatient, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			got := c.get(impatient, question{name: "a."}, func() answer { panic("it waits for the first") })
			if got.err == nil || got.err.Reason != ReasonTimeout {
				t.Errorf("one whose time is up got %+v", got)
			}
		})
		group.Go(func() {
			got := c.get(t.Context(), question{name: "a."}, func() answer { return answer{Answer: Answer{TTL: time.Minute}} })
			if got.err != nil {
				t.Errorf("one who still waits got %v", got.err)
			}
		})
		time.Sleep(2 * time.Second)
		cancel()
		group.Wait()
	})
}

func rr(t *testing.T, text string) dns.RR {
	t.Helper()
	record, err := dns.NewRR(text)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestAliasesThatGoRoundEnd(t *testing.T) {
	a := follow([]dns.RR{rr(t, "a. 60 IN CNAME b."), rr(t, "b. 60 IN CNAME a.")}, "a.", dns.TypeA)
	if len(a.Records) != 0 || len(a.Aliases) != maxAliases {
		t.Errorf("got %+v", a)
	}
}
