package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/inspect/certtest"
	"github.com/certmedic/certmedic/probe/live"
)

// serve handles each connection to a listener on the given loopback address.
func serve(t *testing.T, address string, handle func(net.Conn)) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				handle(conn)
			})
		}
	})
	return netip.MustParseAddrPort(listener.Addr().String())
}

func serveTLS(t *testing.T, address string, certificate tls.Certificate) netip.AddrPort {
	return serve(t, address, func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}})
		if server.Handshake() == nil {
			_, _ = io.Copy(io.Discard, server)
		}
	})
}

func stall(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// prober resolves every name to the addresses and trusts the root.
func prober(root *certtest.Pair, addresses ...string) *Prober {
	dialer := live.Dialer{Timeout: 20 * time.Second}
	return &Prober{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			var ips []netip.Addr
			for _, a := range addresses {
				ips = append(ips, netip.MustParseAddr(a))
			}
			return ips, nil
		},
		Handshake: dialer.Handshake,
		Roots:     []inspect.Roots{{Name: "test", Pool: certtest.Pool(root)}},
		Timeout:   20 * time.Second,
	}
}

func codes(findings []certmedic.Finding) []certmedic.FindingCode {
	found := []certmedic.FindingCode{}
	for _, f := range findings {
		found = append(found, f.Code)
	}
	return found
}

func TestProbeKeepsAllFactsWhenEverythingIsWrong(t *testing.T) {
	root := certtest.Issue(t, nil, certtest.CA("Root", time.Now()), nil)
	template := certtest.Server(time.Now(), "other.example.com")
	template.NotAfter = time.Now().Add(-48 * time.Hour)
	leaf := certtest.Issue(t, nil, template, nil)
	address := serveTLS(t, "127.0.0.1:0", leaf.TLS())

	o := prober(root).Probe(t.Context(), certmedic.Endpoint{Address: address.String(), ServerName: "shop.example.com"})
	if len(o.Addresses) != 1 {
		t.Fatalf("observed %d addresses, want 1", len(o.Addresses))
	}
	a := o.Addresses[0]
	want := []certmedic.FindingCode{certmedic.Expired, certmedic.NameMismatch, certmedic.SelfSigned}
	if a.Stage != certmedic.ProbeDone || a.Error != nil || !slices.Equal(codes(a.Findings), want) {
		t.Errorf("stage %s, error %v, findings %v, want %v", a.Stage, a.Error, a.Findings, want)
	}
	got, ok := a.Leaf()
	if !ok || got.SHA256 != inspect.Facts(leaf.Cert).SHA256 || !got.NotAfter.Equal(leaf.Cert.NotAfter) || got.DNSNames[0] != "other.example.com" {
		t.Errorf("the leaf's facts are %+v", got)
	}
	if a.TLS == nil || a.Address != address.String() || a.Protocol != "tls" || a.ServerName != "shop.example.com" {
		t.Errorf("the address's facts are %+v", a)
	}
	if o.Time.IsZero() || o.Duration <= 0 || a.Handshake <= 0 {
		t.Errorf("times are %s, %s, %s", o.Time, o.Duration, a.Handshake)
	}
}

func TestProbeReachesEveryAddress(t *testing.T) {
	root := certtest.Issue(t, nil, certtest.CA("Root", time.Now()), nil)
	old := certtest.Issue(t, root, certtest.Server(time.Now(), "shop.example.com"), nil)
	renewed := certtest.Issue(t, root, certtest.Server(time.Now(), "shop.example.com"), nil)
	first := serveTLS(t, "127.0.0.1:0", old.TLS())
	port := first.Port()
	serveTLS(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port).String(), renewed.TLS())

	endpoint := certmedic.Endpoint{Address: netHost("shop.example.com", port)}
	o := prober(root, "127.0.0.1", "127.0.0.2", "127.0.0.3").Probe(t.Context(), endpoint)
	if len(o.Addresses) != 3 {
		t.Fatalf("observed %d addresses, want 3", len(o.Addresses))
	}
	for i, want := range []*certtest.Pair{old, renewed} {
		got, _ := o.Addresses[i].Leaf()
		if got.SHA256 != inspect.Facts(want.Cert).SHA256 || len(o.Addresses[i].Findings) != 0 {
			t.Errorf("%s serves %s with %v", o.Addresses[i].Address, got.SHA256.Short(), o.Addresses[i].Findings)
		}
	}
	if got := o.Addresses[2]; got.Error == nil || got.Error.Reason != certmedic.Unreachable || !slices.Equal(codes(got.Findings), []certmedic.FindingCode{certmedic.Unreachable}) {
		t.Errorf("the address where nothing listens: %+v", got)
	}
	if !slices.Equal(codes(o.Findings), []certmedic.FindingCode{certmedic.SplitServing}) {
		t.Errorf("findings of the endpoint are %v, want split_serving", o.Findings)
	}
}

func netHost(host string, port uint16) string {
	return strings.Replace(netip.AddrPortFrom(netip.IPv4Unspecified(), port).String(), "0.0.0.0", host, 1)
}

func TestProbeBoundsAddressesInFlight(t *testing.T) {
	var inFlight, most, all atomic.Int64
	p := &Prober{
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			var ips []netip.Addr
			for i := range 100 {
				ips = append(ips, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
			}
			return ips, nil
		},
		Handshake: func(context.Context, live.Request) live.Result {
			all.Add(1)
			n := inFlight.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			runtime.Gosched()
			inFlight.Add(-1)
			return live.Result{Stage: certmedic.ProbeDone}
		},
	}
	p.Probe(t.Context(), certmedic.Endpoint{Address: "shop.example.com:443"})
	if all.Load() != 100 || most.Load() > maxAddresses {
		t.Errorf("%d addresses probed, up to %d at a time", all.Load(), most.Load())
	}
}

func TestProbeThatCannotResolve(t *testing.T) {
	p := &Prober{Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such name") }}
	tests := []struct{ name, address, detail string }{
		{"the name does not resolve", "shop.example.com:443", "no such name"},
		{"the address has no port", "shop.example.com", "not host:port"},
		{"the port is no number", "shop.example.com:https", "not between"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := p.Probe(t.Context(), certmedic.Endpoint{Address: tt.address})
			a := o.Addresses[0]
			if len(o.Addresses) != 1 || a.Address != tt.address || a.Stage != certmedic.ProbeResolve || a.Error.Reason != certmedic.DNSFailed ||
				!strings.Contains(a.Error.Detail, tt.detail) || !certmedic.HasFinding(a.Findings, certmedic.DNSFailed) {
				t.Errorf("observed %+v with error %+v", a, a.Error)
			}
		})
	}
}

func TestOverrideAndRefusal(t *testing.T) {
	var asked []netip.AddrPort
	p := &Prober{
		Lookup: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("not to be asked") },
		Handshake: func(_ context.Context, r live.Request) live.Result {
			asked = append(asked, r.Address)
			return live.Result{Stage: certmedic.ProbeDone}
		},
		Override: map[string][]netip.Addr{"shop.example.com:443": {netip.MustParseAddr("192.0.2.1")}},
		AllowAddress: func(a netip.Addr) error {
			if a.IsLinkLocalUnicast() {
				return errors.New("link-local addresses are not probed")
			}
			return nil
		},
	}
	p.Probe(t.Context(), certmedic.Endpoint{Address: "shop.example.com:443"})
	refused := p.Probe(t.Context(), certmedic.Endpoint{Address: "169.254.169.254:80"}).Addresses[0]
	if !slices.Equal(asked, []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:443")}) {
		t.Errorf("handshakes went to %v", asked)
	}
	if refused.Error == nil || refused.Error.Detail != "link-local addresses are not probed" || refused.Stage != certmedic.ProbeResolve {
		t.Errorf("refused is %+v", refused)
	}
}

// TestStallingPeerLeavesNothing probes a peer that accepts and never answers.
func TestStallingPeerLeavesNothing(t *testing.T) {
	const probes = 3000
	address := serve(t, "127.0.0.1:0", stall)
	dialer := live.Dialer{Timeout: 5 * time.Millisecond}
	p := &Prober{Handshake: dialer.Handshake}
	goroutines, files := runtime.NumGoroutine(), openFiles(t)

	var left atomic.Int64
	left.Store(probes)
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			for left.Add(-1) >= 0 {
				o := p.Probe(t.Context(), certmedic.Endpoint{Address: address.String()})
				if o.Addresses[0].Reached() || o.Addresses[0].Error == nil {
					t.Errorf("a peer that stalls was observed as %+v", o.Addresses[0])
				}
			}
		})
	}
	group.Wait()

	// The peer's side of the last connections needs a moment to see their end.
	for range 1000 {
		if runtime.NumGoroutine() <= goroutines && openFiles(t) <= files {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines and %d files are left, there were %d and %d", runtime.NumGoroutine(), openFiles(t), goroutines, files)
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("open files cannot be counted here: " + err.Error())
	}
	return len(entries)
}
