package tree_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/lab/tree"
)

// TestMain lets the test binary play the second process of the lock tests.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CERTLAB_TEST_LOCK"); dir != "" {
		holdLocks(dir)
		return
	}
	os.Exit(m.Run())
}

// holdLocks takes the locks, says so, and keeps them until its input ends.
func holdLocks(dir string) {
	locks, err := tree.At(dir).Lock()
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		return
	}
	os.Stdout.WriteString("held\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = locks.Release()
}

func prepared(t *testing.T) (tree.Tree, string) {
	t.Helper()
	dir := t.TempDir()
	made := tree.At(dir)
	if err := made.Prepare(); err != nil {
		t.Fatal(err)
	}
	return made, dir
}

func version(mark string) tree.Version {
	return tree.Version{Cert: []byte("cert " + mark + "\n"), Privkey: []byte("key " + mark + "\n"), Chain: []byte("chain " + mark + "\n")}
}

func TestSaveWritesCertbotsLayout(t *testing.T) {
	made, _ := prepared(t)
	for want, mark := range []string{"a", "b"} {
		number, err := made.Save("shop.test", version(mark))
		if err != nil || number != want+1 {
			t.Fatalf("version %d: %d, %v", want+1, number, err)
		}
	}
	for _, kind := range []string{"cert", "privkey", "chain", "fullchain"} {
		target, err := os.Readlink(filepath.Join(made.Live("shop.test"), kind+".pem"))
		if want := "../../archive/shop.test/" + kind + "2.pem"; err != nil || target != want {
			t.Errorf("%s links to %q, want %q (%v)", kind, target, want, err)
		}
		if _, err := os.Stat(filepath.Join(made.Archive("shop.test"), kind+"1.pem")); err != nil {
			t.Errorf("the old version: %v", err)
		}
	}
	full, err := os.ReadFile(filepath.Join(made.Live("shop.test"), "fullchain.pem"))
	if err != nil || string(full) != "cert b\nchain b\n" {
		t.Errorf("fullchain is %q, %v", full, err)
	}
	left, err := filepath.Glob(filepath.Join(made.Live("shop.test"), "previous_*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestModesDoNotDependOnTheUmask(t *testing.T) {
	old := unix.Umask(0o002)
	defer unix.Umask(old)
	made, _ := prepared(t)
	if _, err := made.Save("shop.test", version("a")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		made.ConfigDir:                        0o755,
		made.HookDir("deploy"):                0o755,
		made.LogsDir:                          0o700,
		filepath.Join(made.ConfigDir, "live"): 0o700,
		filepath.Join(made.Archive("shop.test"), "cert1.pem"):    0o644,
		filepath.Join(made.Archive("shop.test"), "privkey1.pem"): 0o600,
		filepath.Join(made.ConfigDir, "archive", "shop.test"):    0o755,
	} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, want %v (%v)", path, info.Mode().Perm(), want, err)
		}
	}
}

func TestLatestIgnoresIncompleteVersions(t *testing.T) {
	made, _ := prepared(t)
	if _, err := made.Save("shop.test", version("a")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cert2.pem", "privkey2.pem", "cert99999999999999999999.pem", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(made.Archive("shop.test"), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if latest, err := made.Latest("shop.test"); err != nil || latest != 1 {
		t.Errorf("latest is %d, %v", latest, err)
	}
}

func TestConfComesBackAsItWasWritten(t *testing.T) {
	made, _ := prepared(t)
	params := []tree.Param{
		{"server", "https://127.0.0.1:14000/dir"},
		{"renew_hook", `sh -c 'echo "a, b" # c'`},
		{"pref_challs", "http-01,"},
		{"empty", ""},
	}
	params[1].Value = `echo "a, b" # c`
	if err := made.WriteConf("shop.test", params); err != nil {
		t.Fatal(err)
	}
	got, err := made.ReadConf("shop.test")
	if err != nil || !slices.Equal(got, params) {
		t.Errorf("read %q, wrote %q (%v)", got, params, err)
	}
	text, err := os.ReadFile(filepath.Join(made.ConfigDir, "renewal", "shop.test.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"archive_dir = " + made.Archive("shop.test"),
		"cert = " + filepath.Join(made.Live("shop.test"), "cert.pem"),
		"[renewalparams]",
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the conf has no line %q", line)
		}
	}
	if names, err := made.Lineages(); err != nil || !slices.Equal(names, []string{"shop.test"}) {
		t.Errorf("lineages: %q, %v", names, err)
	}
}

func TestLocksAreSeenByAnotherProcess(t *testing.T) {
	made, dir := prepared(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), "CERTLAB_TEST_LOCK="+dir)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if said, _ := bufio.NewReader(stdout).ReadString('\n'); said != "held\n" {
		t.Fatalf("the child says %q", said)
	}

	for _, folder := range []string{made.ConfigDir, made.WorkDir, made.LogsDir} {
		holder := holderOf(t, filepath.Join(folder, ".certbot.lock"))
		if holder != child.Process.Pid {
			t.Errorf("%s is held by %d, want %d", folder, holder, child.Process.Pid)
		}
	}
	if _, err := made.Lock(); !errors.Is(err, tree.ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	_ = stdin.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{made.ConfigDir, made.WorkDir, made.LogsDir} {
		if _, err := os.Stat(filepath.Join(folder, ".certbot.lock")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the lock file of %s is still there: %v", folder, err)
		}
	}
}

// holderOf asks with F_GETLK which process holds a lock; 0 means none.
func holderOf(t *testing.T, path string) int {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	request := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &request); err != nil {
		t.Fatal(err)
	}
	if request.Type == unix.F_UNLCK {
		return 0
	}
	return int(request.Pid)
}

func TestEveryRunHasItsOwnLog(t *testing.T) {
	made, _ := prepared(t)
	for _, words := range []string{"first", "second"} {
		log, err := made.OpenLog()
		if err != nil {
			t.Fatal(err)
		}
		log.Printf("WARNING", "certbot.display.ops", "%s run", words)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, words := range map[string]string{"letsencrypt.log": "second", "letsencrypt.log.1": "first"} {
		text, err := os.ReadFile(filepath.Join(made.LogsDir, name))
		form := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:WARNING:certbot\.display\.ops:` + words + " run\n$")
		if err != nil || !form.Match(text) {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
}
