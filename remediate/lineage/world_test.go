package lineage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/lab/tree"
)

const shop = "shop.test"

// TestMain turns the test binary into a process that carries out a request and is killed, or
// that holds a lock as a certbot does.
func TestMain(m *testing.M) {
	if request := os.Getenv("CERTMEDIC_TEST_REQUEST"); request != "" {
		if err := victim(request, os.Getenv("CERTMEDIC_TEST_KILL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if path := os.Getenv("CERTMEDIC_TEST_HOLD"); path != "" {
		if err := hold(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim carries out a request and kills itself right after one of its steps.
func victim(request, when string) error {
	last, err := strconv.Atoi(when)
	if err != nil {
		return err
	}
	steps := 0
	return run(context.Background(), []byte(request), io.Discard, func() {
		if steps++; steps == last {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
}

// hold takes a lock, says so, and keeps it until its input ends.
func hold(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := unix.FcntlFlock(file.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return err
	}
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, file.Close())
}

// world is a certbot tree with a lineage of two versions.
type world struct {
	tree.Tree
	work     string
	versions []mint.Pair // from the first on
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldIn(t, t.TempDir())
}

func worldIn(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{Tree: tree.At(dir), work: filepath.Join(dir, "memory")}
	must(t, w.Prepare())
	issuing := mint.Must(mint.Must(mint.NewCA("Root")).Intermediate("Issuing"))
	for range 2 {
		w.save(t, mint.Must(issuing.Leaf(mint.Leaf{Names: []string{shop}})))
	}
	must(t, w.WriteConf(shop, []tree.Param{{Key: "authenticator", Value: "webroot"}, {Key: "server", Value: "https://ca.test/dir"}}))
	return w
}

// save renews the lineage as certbot does, under the number after the highest of any part.
func (w *world) save(t *testing.T, pair mint.Pair) int {
	t.Helper()
	w.versions = append(w.versions, pair)
	highest, err := w.place().highest()
	if errors.Is(err, fs.ErrNotExist) {
		return w.first(t, pair)
	}
	must(t, err)
	for part, data := range map[certmedic.FilePart][]byte{
		"cert": pair.CertPEM(), "chain": pair.ChainPEM(), "fullchain": pair.FullchainPEM(), "privkey": mint.Must(pair.KeyPEM()),
	} {
		mode := fs.FileMode(0o644)
		if part == certmedic.PartPrivkey {
			mode = 0o600
		}
		must(t, os.WriteFile(w.file(part, highest+1), data, mode))
	}
	must(t, w.Point(shop, highest+1))
	return highest + 1
}

func (w *world) first(t *testing.T, pair mint.Pair) int {
	t.Helper()
	number, err := w.Save(shop, tree.Version{Cert: pair.CertPEM(), Chain: pair.ChainPEM(), Privkey: mint.Must(pair.KeyPEM())})
	must(t, err)
	return number
}

func (w *world) place() Place {
	return Place{
		Lineage: shop, ConfigDir: w.ConfigDir, WorkDir: w.WorkDir, LogsDir: w.LogsDir,
		Conf: w.conf(), Live: w.Live(shop), Archive: w.Archive(shop),
	}
}

func (w *world) conf() string { return filepath.Join(w.ConfigDir, "renewal", shop+".conf") }

func (w *world) file(part certmedic.FilePart, number int) string {
	return w.place().archived(part, number)
}

// version returns the fingerprint of the nth version.
func (w *world) version(n int) certmedic.Fingerprint {
	return certmedic.Fingerprint(digest(w.versions[n-1].Cert.Raw))
}

// request asks for something about the first version.
func (w *world) request(do Do) Request {
	return Request{Do: do, Place: w.place(), Work: w.work, Version: w.version(1), Files: certmedic.StoredFiles{
		Cert: w.file(certmedic.PartCert, 1), Chain: w.file(certmedic.PartChain, 1), Privkey: w.file(certmedic.PartPrivkey, 1),
	}}
}

func encoded(t *testing.T, r Request) []byte {
	t.Helper()
	data, err := json.Marshal(r)
	must(t, err)
	return data
}

// run carries out a request and returns what it told.
func (w *world) run(t *testing.T, r Request) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := Run(t.Context(), encoded(t, r), &out)
	return out.String(), err
}

func (w *world) do(t *testing.T, do Do) string {
	t.Helper()
	out, err := w.run(t, w.request(do))
	must(t, err)
	return out
}

// killed carries out a request in a process that is killed after so many steps, and reports
// whether it took that many.
func killed(t *testing.T, r Request, after int) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CERTMEDIC_TEST_REQUEST="+string(encoded(t, r)), "CERTMEDIC_TEST_KILL="+strconv.Itoa(after))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return false
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		t.Fatalf("it was to be killed after step %d, but %v: %s", after, err, out)
	}
	return true
}

// locked has another process hold one of the locks until the test ends, and returns its pid.
func locked(t *testing.T, path string) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CERTMEDIC_TEST_HOLD="+path)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the holder said %q: %v", line, err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), cmd.Wait() })
	return cmd.Process.Pid
}

// picture is everything in certbot's folder but its lock, by path: mode, and content or target.
func (w *world) picture(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(w.ConfigDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() == lockName {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			all[path] = text + " -> " + target
			return err
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			all[path] = text + " " + string(data)
			return err
		}
		all[path] = text
		return nil
	}))
	return all
}

// same fails the test where two pictures differ, and says where.
func same(t *testing.T, when string, got, want map[string]string) {
	t.Helper()
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if got[path] != want[path] {
			t.Errorf("%s: %q is %q, was %q", when, path, got[path], want[path])
		}
	}
	for path := range want {
		if _, ok := got[path]; !ok {
			t.Errorf("%s: %q is gone", when, path)
		}
	}
}

// certbot does what each run of certbot begins with: it removes or goes back to what an update
// of the links left behind, and leads the links to the newest whole version.
func (w *world) certbot(t *testing.T) {
	t.Helper()
	links, err := w.place().links()
	must(t, err)
	current := 0
	for _, target := range links {
		_, number := numberOf(filepath.Base(target))
		if current == 0 || number < current {
			current = number
		}
	}
	latest, err := w.Latest(shop)
	must(t, err)
	if current < latest {
		must(t, w.Point(shop, latest))
	}
}

// sound fails the test where certbot would stumble: a link that leads nowhere, or something in
// its folders that it takes for its own. Nor may anything staged be left once whole is claimed.
func (w *world) sound(t *testing.T, when string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(w.Live(shop), "previous_*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("%s: %q is left", when, left)
	}
	for _, part := range linkOrder() {
		if _, err := os.Stat(w.place().link(part)); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	if _, err := w.place().links(); err != nil {
		t.Errorf("%s: certbot skips the lineage: %v", when, err)
	}
}

// serves fails the test where the links do not lead to a number with that version in it.
func (w *world) serves(t *testing.T, when string, number int, version certmedic.Fingerprint) {
	t.Helper()
	w.sound(t, when)
	links, err := w.place().links()
	must(t, err)
	for part, target := range links {
		if filepath.Base(target) != fileName(part, number) || !strings.HasPrefix(target, "../../archive/") {
			t.Errorf("%s: %s leads to %q, not to number %d", when, part, target, number)
		}
	}
	live := func(part certmedic.FilePart) string { return w.place().link(part) }
	if _, err := readParts(certmedic.StoredFiles{Fullchain: live("fullchain"), Privkey: live("privkey")}, version); err != nil {
		t.Errorf("%s: %v", when, err)
	}
	cert, chain, full := read(t, live("cert")), read(t, live("chain")), read(t, live("fullchain"))
	if full != cert+chain {
		t.Errorf("%s: the fullchain is not the cert and the chain", when)
	}
	for _, dir := range []string{w.ConfigDir, w.WorkDir, w.LogsDir} {
		if _, err := os.Lstat(filepath.Join(dir, lockName)); err == nil {
			t.Errorf("%s: the lock in %q is left", when, dir)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
