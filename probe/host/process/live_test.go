package process_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/probe/host/process"
)

// part is set where the test's program is started again to be the process that is looked at.
const part = "CERTMEDIC_TEST_PART"

func TestMain(m *testing.M) {
	if os.Getenv(part) == "" {
		os.Exit(m.Run())
	}
	if err := play(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
}

// play does what its words say, one after the other. What it opens stays open.
func play(words []string) error {
	for len(words) > 0 {
		word, rest := words[0], words[1:]
		switch word {
		case "alone": // what is mounted here is seen nowhere else
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return fmt.Errorf("making mounts private: %w", err)
			}
		case "bind":
			if err := unix.Mount(rest[0], rest[1], "", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("binding %s: %w", rest[0], err)
			}
			rest = rest[2:]
		case "chroot":
			if err := syscall.Chroot(rest[0]); err != nil {
				return fmt.Errorf("changing the root: %w", err)
			}
			rest = rest[1:]
		case "open":
			if _, err := syscall.Open(rest[0], syscall.O_RDONLY, 0); err != nil {
				return fmt.Errorf("opening %s: %w", rest[0], err)
			}
			rest = rest[1:]
		case "map":
			if err := mapFile(rest[0]); err != nil {
				return err
			}
			rest = rest[1:]
		case "listen":
			listener, err := net.Listen("tcp", rest[0])
			if err != nil {
				return err
			}
			fmt.Println(listener.Addr().(*net.TCPAddr).Port)
			rest = rest[1:]
		case "hidden":
			table, err := process.Look("/proc")
			fmt.Println(len(table.Processes), table.Hidden, err)
		}
		words = rest
	}
	return nil
}

func mapFile(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = syscall.Mmap(int(file.Fd()), 0, 1, syscall.PROT_READ, syscall.MAP_SHARED)
	return err
}

// start starts the test's program again, or a copy of it, and returns its id and what it said
// before it was ready. It ends with the test.
func start(t *testing.T, program string, how syscall.SysProcAttr, words ...string) (int, []string) {
	t.Helper()
	cmd := exec.Command(program, words...)
	cmd.Env = append(os.Environ(), part+"=1")
	how.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr = &how
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	var said []string
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if lines.Text() == "ready" {
			return cmd.Process.Pid, said
		}
		said = append(said, lines.Text())
	}
	t.Fatalf("%v said %q and ended", words, said)
	return 0, nil
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { // as who replaces files at once does
		t.Fatal(err)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(path)
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// A copy of the program of this test, which others may run.
func program(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "server")
	if err := os.WriteFile(path, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProcessThatListens(t *testing.T) {
	dir := t.TempDir()
	exe := program(t, dir)
	before := time.Now()
	pid, said := start(t, exe, syscall.SysProcAttr{}, "listen", "127.0.0.1:0")
	write(t, exe, "a newer version")
	table, err := process.Look("/proc")
	if err != nil {
		t.Fatal(err)
	}
	found := table.Listening("tcp", netip.MustParseAddrPort("127.0.0.1:"+said[0]))
	if len(found) != 1 {
		t.Fatalf("at port %s %v listen", said[0], found)
	}
	p := found[0]
	if p.PID != pid || p.Parent != os.Getpid() || p.Exe != exe || !p.ExeDeleted || p.UID != os.Getuid() || p.Name != "server" {
		t.Errorf("got %+v", p)
	}
	if p.Start.Before(before.Add(-time.Second)) || p.Start.After(table.Time.Add(time.Second)) {
		t.Errorf("it was started at %v, not after %v", p.Start, before)
	}
	if self, _ := table.Process(os.Getpid()); self.Mounts == 0 || self.Mounts != p.Mounts || self.ExeDeleted {
		t.Errorf("this test is %+v", self)
	}
	children := table.Children(os.Getpid())
	if len(children) == 0 || children[0].PID != pid {
		t.Errorf("the children of this test are %v", children)
	}
}

func TestAnotherNetworkNamespace(t *testing.T) {
	needRoot(t)
	pid, said := start(t, "/proc/self/exe", syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, "listen", "0.0.0.0:0")
	table, err := process.Look("/proc")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("127.0.0.1:" + said[0])
	p, _ := table.Process(pid)
	if found := table.Listening("tcp", at); len(found) != 0 {
		t.Errorf("in the namespace of this test listen %v", found)
	}
	if found := table.ListeningIn(p.Net, "tcp", at); p.Net == 0 || len(found) != 1 || found[0].PID != pid {
		t.Errorf("in its own namespace listen %v", found)
	}
}

func TestWhatAnotherUserMaySee(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	nobody := syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	_, said := start(t, program(t, dir), nobody, "hidden")
	var seen, hidden int
	var rest string
	if _, err := fmt.Sscan(said[0], &seen, &hidden, &rest); err != nil || rest != "<nil>" || seen < 2 || hidden < 1 || hidden >= seen {
		t.Errorf("of the processes are seen, and hidden: %s", said)
	}
}

// A single file that is mounted into a container stays the old one when another is put into its
// place on the host; a folder does not.
func TestSeenThroughMounts(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	cert, folder := filepath.Join(dir, "host/cert.pem"), filepath.Join(dir, "host")
	single, whole := filepath.Join(dir, "box/single.pem"), filepath.Join(dir, "box/whole")
	write(t, cert, "old")
	write(t, single, "")
	write(t, whole+"/cert.pem", "not seen")
	pid, _ := start(t, "/proc/self/exe", syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}, "alone", "bind", cert, single, "bind", folder, whole)

	check := func(path, content string, deleted bool, mount, source string) {
		t.Helper()
		file, err := process.Seen("/proc", pid, path)
		if err != nil || string(file.Content) != content || file.Deleted != deleted || file.Path != path || file.Mount != mount || file.Source == "" || !strings.HasSuffix(source, file.Source) {
			t.Errorf("%s is %+v with %q, %v", path, file, file.Content, err)
		}
	}
	check(single, "old", false, single, cert)
	write(t, cert, "new")
	check(single, "old", true, single, cert)
	check(whole+"/cert.pem", "new", false, whole, folder)
	if file, err := process.Seen("/proc", os.Getpid(), single); err != nil || string(file.Content) != "" || file.Mount == single {
		t.Errorf("outside it is %+v, %v", file, err)
	}
}

// Kubernetes leads ..data to a new folder and removes the old one; what was mounted with a
// subPath stays the file of the old one. certbot leads live/ to a new file and keeps the old one.
func TestSeenThroughLinksThatMove(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	volume, live := filepath.Join(dir, "volume"), filepath.Join(dir, "live")
	write(t, volume+"/..1/tls.crt", "old")
	link(t, "..1", volume+"/..data")
	link(t, "..data/tls.crt", volume+"/tls.crt")
	write(t, dir+"/archive/cert1.pem", "old")
	link(t, "../archive/cert1.pem", live+"/cert.pem")
	for _, name := range []string{"subpath", "single"} {
		write(t, filepath.Join(dir, "box", name), "")
	}
	pid, _ := start(t, "/proc/self/exe", syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}, "alone",
		"bind", volume+"/tls.crt", dir+"/box/subpath", "bind", live+"/cert.pem", dir+"/box/single")
	write(t, volume+"/..2/tls.crt", "new")
	link(t, "..2", volume+"/..data")
	if err := os.RemoveAll(volume + "/..1"); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/archive/cert2.pem", "new")
	link(t, "../archive/cert2.pem", live+"/cert.pem")
	for _, r := range []struct {
		path, content, source string
		deleted               bool
	}{
		{"box/subpath", "old", "/volume/..1/tls.crt", true},
		{"box/single", "old", "/archive/cert1.pem", false},
		{"volume/tls.crt", "new", "", false},
		{"live/cert.pem", "new", "", false},
	} {
		file, err := process.Seen("/proc", pid, filepath.Join(dir, r.path))
		if err != nil || string(file.Content) != r.content || file.Deleted != r.deleted || !strings.HasSuffix(file.Source, r.source) {
			t.Errorf("%s is %+v with %q, %v", r.path, file, file.Content, err)
		}
	}
}

// Links are followed inside the root of the process, whatever they say.
func TestSeenInsideARoot(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	write(t, dir+"/secret", "outside")
	write(t, root+"/etc/cert.pem", "inside")
	link(t, "/etc/cert.pem", root+"/absolute")
	link(t, "../../../../../../../../../../etc/cert.pem", root+"/up")
	link(t, dir+"/secret", root+"/out")
	link(t, "circle", root+"/circle")
	if err := syscall.Mkfifo(root+"/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, root+"/large", strings.Repeat("x", 1<<20+1))
	pid, _ := start(t, "/proc/self/exe", syscall.SysProcAttr{}, "open", root+"/etc/cert.pem", "chroot", root)
	for _, path := range []string{"/absolute", "up", "/etc/../../etc/cert.pem", "/etc/cert.pem"} {
		if file, err := process.Seen("/proc", pid, path); err != nil || string(file.Content) != "inside" || file.Path != "/etc/cert.pem" {
			t.Errorf("%s is %+v, %v", path, file, err)
		}
	}
	for path, want := range map[string]string{"/out": "no such file", "/circle": "too many levels", "/etc/hostname": "no such file"} {
		if file, err := process.Seen("/proc", pid, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %+v, %v", path, file, err)
		}
	}
	for _, path := range []string{"/pipe", "/large", "/etc"} {
		if file, err := process.Seen("/proc", pid, path); err != nil || file.Content != nil || file.Inode == 0 {
			t.Errorf("%s is %+v, %v", path, file, err)
		}
	}
	files, err := process.Open("/proc", pid)
	if err != nil || !slices.ContainsFunc(files, func(f process.File) bool { return f.Path == "/etc/cert.pem" }) {
		t.Errorf("it has open %+v, %v", files, err)
	}
}

func TestOpenFilesOfAProcess(t *testing.T) {
	dir := t.TempDir()
	paths := map[string]string{}
	for _, name := range []string{"open", "replaced", "map ped", "mapped-replaced"} {
		paths[name] = filepath.Join(dir, name)
		write(t, paths[name], "old")
	}
	words := []string{"open", paths["open"], "open", paths["open"], "open", paths["replaced"], "map", paths["map ped"], "map", paths["mapped-replaced"]}
	pid, _ := start(t, "/proc/self/exe", syscall.SysProcAttr{}, words...)
	write(t, paths["replaced"], "new")
	write(t, paths["mapped-replaced"], "new")
	files, err := process.Open("/proc", pid)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		if name, ok := strings.CutPrefix(f.Path, dir+"/"); ok {
			got = append(got, name+" "+strconv.FormatBool(f.Deleted))
			checkInode(t, f, !f.Deleted)
		}
	}
	slices.Sort(got) // the kernel chooses where it maps
	if told := strings.Join(got, ", "); told != "map ped false, mapped-replaced true, open false, replaced true" {
		t.Errorf("it has open %s", told)
	}
}

// checkInode compares a file with what is at its path now.
func checkInode(t *testing.T, f process.File, same bool) {
	t.Helper()
	var now unix.Stat_t
	if err := unix.Stat(f.Path, &now); err != nil {
		t.Fatal(err)
	}
	if (now.Ino == f.Inode && uint64(now.Dev) == f.Device) != same {
		t.Errorf("%s has the inode %d of device %d, at its path is %d of %d", f.Path, f.Inode, f.Device, now.Ino, now.Dev)
	}
}
