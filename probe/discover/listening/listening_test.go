package listening_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/listening"
)

const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

// row renders a line of a kernel's table.
func row(address, state string, inode int) string {
	return fmt.Sprintf("   0: %s 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 0000000000000000 100 0 0 10 0\n", address, state, inode)
}

// proc writes a folder like /proc and returns it.
func proc(t *testing.T, tcp, tcp6 string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tcp": tcp, "tcp6": tcp6} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "net", name), []byte(header+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tries records what was asked, and answers for the endpoints that speak TLS.
type tries struct {
	speak []string
	mu    sync.Mutex
	asked []string
}

func (tr *tries) leaf(_ context.Context, e certmedic.Endpoint) (listening.Leaf, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	what := e.Protocol + " " + e.Address
	tr.asked = append(tr.asked, what)
	if !slices.Contains(tr.speak, what) {
		return listening.Leaf{}, errors.New("no TLS")
	}
	return listening.Leaf{SHA256: certmedic.Fingerprint(what)}, nil
}

func told(sockets []listening.Socket) string {
	var out []string
	for _, s := range sockets {
		out = append(out, s.Endpoint.Protocol+" "+s.Endpoint.Address)
		if string(s.Leaf.SHA256) != out[len(out)-1] {
			return "the leaf of another socket"
		}
	}
	return strings.Join(out, ", ")
}

// The tables are those of a little-endian host, as every one is on which this runs today.
func TestFind(t *testing.T) {
	tcp := row("00000000:01BB", "0A", 1) + // 0.0.0.0:443
		row("0100007F:0019", "0A", 2) + // 127.0.0.1:25
		row("0700000A:0016", "0A", 3) + // 10.0.0.7:22, SSH
		row("0100007F:238C", "0A", 4) + // 127.0.0.1:9100, a printer
		row("0100007F:03E1", "01", 5) + // connected
		row("0100007F:2697", "0A", 77) + // 127.0.0.1:9879, our own
		row("0100007F:1538", "0A", 6) + // 127.0.0.1:5432
		"short\n"
	tcp6 := row("00000000000000000000000000000000:01BB", "0A", 7) + // [::]:443, which 0.0.0.0 has, too
		row("00000000000000000000000000000000:03E1", "0A", 8) + // [::]:993
		row("B80D0120000000000000000001000000:20FB", "0A", 9) + // [2001:db8::1]:8443
		row("0000000000000000FFFF00000700000A:20FB", "0A", 10) // ::ffff:10.0.0.7:8443
	dir := proc(t, tcp, tcp6)
	fd := filepath.Join(dir, "42", "fd")
	if err := os.MkdirAll(fd, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("socket:[77]", filepath.Join(fd, "3")); err != nil {
		t.Fatal(err)
	}
	tr := &tries{speak: []string{"tls 127.0.0.1:443", "smtp 127.0.0.1:25", "imaps [::1]:993", "tls 10.0.0.7:8443", "tls [2001:db8::1]:8443"}}
	sockets, err := listening.Find(t.Context(), listening.Options{Proc: dir, SkipPID: 42, Protocols: []string{"smtp", "imaps"}, Leaf: tr.leaf})
	if err != nil {
		t.Fatal(err)
	}
	want := "smtp 127.0.0.1:25, tls 127.0.0.1:443, imaps [::1]:993, tls 10.0.0.7:8443, tls [2001:db8::1]:8443"
	if got := told(sockets); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	slices.Sort(tr.asked)
	asked := "imaps [::1]:993, smtp 127.0.0.1:25, tls 10.0.0.7:8443, tls 127.0.0.1:443, tls 127.0.0.1:5432, tls [2001:db8::1]:8443"
	if got := strings.Join(tr.asked, ", "); got != asked {
		t.Errorf("asked %s\nwant  %s", got, asked)
	}
}

func TestFindIsBounded(t *testing.T) {
	var table strings.Builder
	for port := 10_000; port < 11_000; port++ {
		table.WriteString(row(fmt.Sprintf("0100007F:%04X", port), "0A", port))
	}
	tr := &tries{}
	sockets, err := listening.Find(t.Context(), listening.Options{Proc: proc(t, table.String(), ""), Leaf: tr.leaf})
	if err != nil || len(sockets) != 0 || len(tr.asked) != 200 {
		t.Errorf("%d sockets, %d tries, %v", len(sockets), len(tr.asked), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tr = &tries{}
	if _, err := listening.Find(ctx, listening.Options{Proc: proc(t, table.String(), ""), Leaf: tr.leaf}); err != nil || len(tr.asked) > 0 {
		t.Errorf("after its end there were %d tries, %v", len(tr.asked), err)
	}
}

func TestFindSaysWhatItCannotRead(t *testing.T) {
	for about, r := range map[string]struct {
		tcp  string
		pid  int
		want string
	}{
		"no table":                     {"", 0, "net/tcp: no such file"},
		"an address that is none":      {row("0100007F0:0019", "0A", 1), 0, `net/tcp:2: "0100007F0:0019" is not an address`},
		"an address of another length": {row("0100:0019", "0A", 1), 0, `"0100:0019" is not an address`},
		"a port that is none":          {row("0100007F:FFFFF", "0A", 1), 0, "is not an address"},
		"a process that is gone":       {row("0100007F:1000", "0A", 1), 43, "sockets of process 43"},
	} {
		tr := &tries{}
		_, err := listening.Find(t.Context(), listening.Options{Proc: proc(t, r.tcp, ""), SkipPID: r.pid, Leaf: tr.leaf})
		if err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: error %v, want %s", about, err, r.want)
		}
	}
}

func TestFindOnThisHost(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	for _, pid := range []int{0, os.Getpid()} {
		dir := t.TempDir() // with the row of this socket alone: a host may have more than are tried
		if err := os.Mkdir(filepath.Join(dir, "net"), 0o755); err != nil {
			t.Fatal(err)
		}
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Skip("no /proc")
		}
		number, _ := strconv.Atoi(port)
		var kept strings.Builder
		for i, line := range strings.SplitAfter(string(table), "\n") {
			if i == 0 || strings.Contains(line, fmt.Sprintf("0100007F:%04X 00000000:0000", number)) {
				kept.WriteString(line)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "net", "tcp"), []byte(kept.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/proc/self", filepath.Join(dir, strconv.Itoa(os.Getpid()))); err != nil {
			t.Fatal(err)
		}
		tr := &tries{speak: []string{"tls " + address}}
		sockets, err := listening.Find(t.Context(), listening.Options{Proc: dir, SkipPID: pid, Leaf: tr.leaf})
		if want := map[bool]string{true: "", false: "tls " + address}[pid != 0]; err != nil || told(sockets) != want {
			t.Errorf("skipping process %d: %q, %v", pid, told(sockets), err)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add(row("0100007F:0019", "0A", 2), row("B80D0120000000000000000001000000:20FB", "0A", 9))
	f.Fuzz(func(t *testing.T, tcp, tcp6 string) {
		tr := &tries{}
		_, _ = listening.Find(t.Context(), listening.Options{Proc: proc(t, tcp, tcp6), Leaf: tr.leaf})
		for _, asked := range tr.asked {
			if _, _, err := net.SplitHostPort(strings.TrimPrefix(asked, "tls ")); err != nil {
				t.Errorf("asked %q: %v", asked, err)
			}
		}
	})
}
