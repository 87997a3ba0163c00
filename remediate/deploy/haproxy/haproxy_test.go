package haproxy_test

import (
	"bufio"
	"crypto/sha1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate/deploy/haproxy"
)

const name = "/etc/haproxy/certs/shop.pem"

// balancer speaks the part of HAProxy's runtime API that is asked for: one command a
// connection, content between "<<" and an empty line.
type balancer struct {
	socket string

	mu       sync.Mutex
	commands []string
	begun    string // the content of the transaction
	loaded   string
	answers  map[string]string // in place of its own, by the first word
}

func start(t *testing.T) *balancer {
	t.Helper()
	b := &balancer{socket: filepath.Join(t.TempDir(), "admin.sock"), answers: map[string]string{}}
	listener, err := net.Listen("unix", b.socket)
	if err != nil {
		t.Fatal(err)
	}
	b.listen(t, listener)
	return b
}

func (b *balancer) listen(t *testing.T, listener net.Listener) {
	t.Helper()
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			b.serve(conn)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
}

func (b *balancer) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	command, err := in.ReadString('\n')
	if err != nil {
		return
	}
	var content strings.Builder
	if strings.HasSuffix(command, " <<\n") {
		for {
			line, err := in.ReadString('\n')
			if err != nil || line == "\n" {
				break
			}
			content.WriteString(line)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commands = append(b.commands, strings.TrimSpace(command))
	_, _ = fmt.Fprint(conn, b.answer(strings.Fields(command), content.String())) // the caller may be gone
}

func (b *balancer) answer(words []string, content string) string {
	if answer, ok := b.answers[words[0]]; ok {
		return answer
	}
	switch words[0] {
	case "set":
		b.begun = content
		return "Transaction created for certificate " + words[3] + "!\n\n"
	case "commit":
		b.loaded, b.begun = b.begun, ""
		return "Committing " + words[3] + ".\nSuccess!\n\n"
	case "abort":
		b.begun = ""
		return "Transaction aborted for certificate '" + words[3] + "'!\n\n"
	default:
		block, _ := pem.Decode([]byte(b.loaded))
		if block == nil {
			return "Filename: " + name + "\nStatus: Unused\n\n"
		}
		return fmt.Sprintf("Filename: %s\nStatus: Used\nSHA1 FingerPrint: %X\n\n", name, sha1.Sum(block.Bytes))
	}
}

func (b *balancer) verbs() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var verbs []string
	for _, command := range b.commands {
		verb, _, _ := strings.Cut(command, " ")
		verbs = append(verbs, verb)
	}
	return verbs
}

func pair(t *testing.T) mint.Pair {
	t.Helper()
	root := mint.Must(mint.NewCA("root"))
	return mint.Must(mint.Must(root.Intermediate("issuing")).Leaf(mint.Leaf{Names: []string{"shop.test"}}))
}

func write(t *testing.T, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, slices.Concat(parts...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, q haproxy.Request) (string, error) {
	t.Helper()
	request, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(request), "PRIVATE KEY") {
		t.Error("the request holds a key")
	}
	var out strings.Builder
	err = haproxy.Run(t.Context(), request, &out)
	if text := fmt.Sprint(out.String(), err); strings.Contains(text, "PRIVATE") || strings.Contains(text, "BEGIN") {
		t.Errorf("a key or a certificate is shown: %s", text)
	}
	return out.String(), err
}

func TestLoad(t *testing.T) {
	t.Parallel()
	p := pair(t)
	key := mint.Must(p.KeyPEM())
	spaced := []byte("Bag Attributes\n\n   some text\n\n")
	for _, row := range []struct {
		about string
		files []string
	}{
		{"one file", []string{write(t, p.FullchainPEM(), key)}},
		{"the key first", []string{write(t, key, p.FullchainPEM())}},
		{"the key in a file of its own", []string{write(t, p.FullchainPEM()), write(t, key)}},
		{"empty lines, by which content would end", []string{write(t, spaced, p.CertPEM(), []byte("\n\n"), p.ChainPEM(), spaced, key)}},
	} {
		b := start(t)
		out, err := run(t, haproxy.Request{Sockets: []string{b.socket}, Certificate: name, Files: row.files})
		if err != nil || !strings.Contains(out, "Used") {
			t.Errorf("%s: %q, %v", row.about, out, err)
		}
		if want := string(p.FullchainPEM()) + string(key); b.loaded != want {
			t.Errorf("%s: loaded is\n%s", row.about, b.loaded)
		}
		if got, want := b.verbs(), []string{"set", "commit", "show"}; !slices.Equal(got, want) {
			t.Errorf("%s: the commands are %q, want %q", row.about, got, want)
		}
	}
}

// TestRefused shows that what was begun is aborted, and what was not is left alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	p := pair(t)
	whole := write(t, p.FullchainPEM(), mint.Must(p.KeyPEM()))
	for _, row := range []struct {
		about   string
		answers map[string]string
		want    string
		verbs   []string
	}{
		{"a certificate that HAProxy does not know", map[string]string{"set": "Can't replace a certificate which is not referenced by the configuration!\n"}, "not referenced", []string{"set"}},
		{"a transaction of somebody else", map[string]string{"set": "The ongoing transaction is about '/x' but you are trying to set '" + name + "'\n"}, "ongoing transaction", []string{"set"}},
		{"a socket that is for looking only", map[string]string{"set": "Permission denied\n"}, "Permission denied", []string{"set"}},
		{"a socket that says nothing", map[string]string{"set": ""}, "level admin", []string{"set"}},
		{"a commit that fails", map[string]string{"commit": "Can't commit " + name + "!\nout of memory\n"}, "out of memory", []string{"set", "commit", "abort"}},
		{"another leaf afterwards", map[string]string{"show": "SHA1 FingerPrint: 00FF\n"}, "another leaf", []string{"set", "commit", "show"}},
	} {
		b := start(t)
		b.answers = row.answers
		_, err := run(t, haproxy.Request{Sockets: []string{b.socket}, Certificate: name, Files: []string{whole}})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want an error with %q", row.about, err, row.want)
		}
		if got := b.verbs(); !slices.Equal(got, row.verbs) {
			t.Errorf("%s: the commands are %q, want %q", row.about, got, row.verbs)
		}
	}
}

// TestSeveralProcesses shows that all take the certificate or, where one does not, that those which
// have not committed it are aborted, and that the error says what each has.
func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	p := pair(t)
	whole := write(t, p.FullchainPEM(), mint.Must(p.KeyPEM()))
	for _, row := range []struct {
		about string
		last  map[string]string // what the last of three answers
		want  []string          // in the error; empty: there is none
		verbs [3][]string
	}{
		{"all take it", nil, nil, [3][]string{{"set", "commit", "show"}, {"set", "commit", "show"}, {"set", "commit", "show"}}},
		{
			"the last does not know it",
			map[string]string{"set": "not referenced\n"},
			[]string{"admin-3.sock\": HAProxy said: not referenced", "admin-1.sock was aborted", "admin-2.sock was aborted", "admin-3.sock has what it had"},
			[3][]string{{"set", "abort"}, {"set", "abort"}, {"set"}},
		},
		{
			"the last cannot commit it",
			map[string]string{"commit": "out of memory\n"},
			[]string{"out of memory", "admin-1.sock has the new version", "admin-2.sock has the new version", "admin-3.sock was aborted"},
			[3][]string{{"set", "commit"}, {"set", "commit"}, {"set", "commit", "abort"}},
		},
	} {
		dir := t.TempDir()
		var all [3]*balancer
		for i := range all {
			all[i] = &balancer{socket: filepath.Join(dir, fmt.Sprintf("admin-%d.sock", i+1)), answers: map[string]string{}}
			listener, err := net.Listen("unix", all[i].socket)
			if err != nil {
				t.Fatal(err)
			}
			all[i].listen(t, listener)
		}
		all[2].answers = row.last
		out, err := run(t, haproxy.Request{Sockets: []string{all[0].socket, dir + "/admin-*.sock"}, Certificate: name, Files: []string{whole}})
		if (err == nil) != (len(row.want) == 0) || err == nil && strings.Count(out, "Used") != 3 {
			t.Errorf("%s: %q, %v", row.about, out, err)
		}
		for _, want := range row.want {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: the error lacks %q: %v", row.about, want, err)
			}
		}
		for i, want := range row.verbs {
			if got := all[i].verbs(); !slices.Equal(got, want) {
				t.Errorf("%s: process %d was told %q, want %q", row.about, i+1, got, want)
			}
		}
	}
}

// TestKeyGoesToNobodyElse shows that who may not read the file is not sent the key by having
// put a socket where HAProxy's should be.
func TestKeyGoesToNobodyElse(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	const other = 65534
	p := pair(t)
	path := filepath.Join(t.TempDir(), "admin.sock")
	b := &balancer{socket: path, answers: map[string]string{}}
	b.listen(t, listenAs(t, path, other))
	whole := write(t, p.FullchainPEM(), mint.Must(p.KeyPEM()))
	q := haproxy.Request{Sockets: []string{path}, Certificate: name, Files: []string{whole}}
	if _, err := run(t, q); err == nil || !strings.Contains(err.Error(), "user 65534 listens there") {
		t.Errorf("error %v", err)
	}
	if verbs := b.verbs(); len(verbs) > 0 {
		t.Errorf("it was told %q", verbs)
	}
	if err := os.Chown(whole, other, other); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, q); err != nil {
		t.Errorf("the owner of the file listens: %v", err)
	}
}

// listenAs listens as another user does. The kernel keeps who called listen; a thread of its
// own takes on that user, and ends.
func listenAs(t *testing.T, path string, uid int) net.Listener {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	listening := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			listening <- errno
			return
		}
		listening <- unix.Listen(fd, 8)
	}()
	if err := <-listening; err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	listener, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func TestNothingIsSent(t *testing.T) {
	t.Parallel()
	p, other := pair(t), pair(t)
	key := mint.Must(p.KeyPEM())
	whole := write(t, p.FullchainPEM(), key)
	b := start(t)
	for _, row := range []struct {
		about string
		q     haproxy.Request
		want  string
	}{
		{"the key of another certificate", haproxy.Request{Certificate: name, Files: []string{write(t, other.FullchainPEM(), key)}}, "pairing"},
		{"no key", haproxy.Request{Certificate: name, Files: []string{write(t, p.FullchainPEM())}}, "pairing"},
		{"no files", haproxy.Request{Certificate: name}, "pairing"},
		{"a file that is missing", haproxy.Request{Certificate: name, Files: []string{"/nonexistent/x.pem"}}, "no such file"},
		{"a huge file", haproxy.Request{Certificate: name, Files: []string{write(t, make([]byte, 2<<20))}}, "larger than"},
		{"a name that holds a command", haproxy.Request{Certificate: "/a; shutdown", Files: []string{whole}}, "cannot be told"},
		{"a name that holds a line", haproxy.Request{Certificate: "/a\nshow", Files: []string{whole}}, "cannot be told"},
		{"no name", haproxy.Request{Files: []string{whole}}, "cannot be told"},
	} {
		row.q.Sockets = []string{b.socket}
		if _, err := run(t, row.q); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want an error with %q", row.about, err, row.want)
		}
	}
	if verbs := b.verbs(); len(verbs) > 0 {
		t.Errorf("HAProxy was told %q", verbs)
	}
	for _, sockets := range [][]string{nil, {filepath.Join(t.TempDir(), "admin-*.sock")}} {
		if _, err := run(t, haproxy.Request{Sockets: sockets, Certificate: name, Files: []string{whole}}); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("the sockets %q: %v", sockets, err)
		}
	}
	if _, err := run(t, haproxy.Request{Sockets: []string{filepath.Join(t.TempDir(), "none")}, Certificate: name, Files: []string{whole}}); err == nil {
		t.Error("there is no socket")
	}
	if err := haproxy.Run(t.Context(), []byte("{"), &strings.Builder{}); err == nil {
		t.Error("a request that is cut off is taken")
	}
}
