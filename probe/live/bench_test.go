package live

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic/probe/inspect/certtest"
)

// BenchmarkHandshake compares our handshakes with that of a plain crypto/tls client. The
// server runs in the same process: its share is in every figure. Time of the processor
// is the figure that counts, for that of the clock depends on what else runs.
func BenchmarkHandshake(b *testing.B) {
	root := certtest.Issue(b, nil, certtest.CA("Root", time.Now()), nil)
	leaf := certtest.Issue(b, root, certtest.Server(time.Now(), "shop.example.com"), nil)
	address := benchServer(b, &tls.Config{Certificates: []tls.Certificate{leaf.TLS(root)}})
	request := Request{Address: address, ServerName: "shop.example.com"}
	fast := request
	fast.Fast = true
	dialer := Dialer{}
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		defer reportCPU(b)()
		for b.Loop() {
			config := &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example.com"}
			conn, err := tls.Dial("tcp", address.String(), config)
			if err != nil {
				b.Fatal(err)
			}
			_ = conn.Close()
		}
	})
	for name, r := range map[string]Request{"full": request, "fast": fast} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			defer reportCPU(b)()
			for b.Loop() {
				if got := dialer.Handshake(b.Context(), r); got.Err != nil {
					b.Fatal(got.Err)
				}
			}
		})
	}
}

// reportCPU measures from its call to the call of what it returns.
func reportCPU(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-µs/op") }
}

func benchServer(b *testing.B, config *tls.Config) netip.AddrPort {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(io.Discard, tls.Server(conn, config))
			}()
		}
	}()
	return netip.MustParseAddrPort(listener.Addr().String())
}
