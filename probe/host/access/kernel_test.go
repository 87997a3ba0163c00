package access

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// part is set where the test's program is started again by somebody else.
const part = "CERTMEDIC_TEST_PART"

func TestMain(m *testing.M) {
	if os.Getenv(part) == "" {
		os.Exit(m.Run())
	}
	for paths := bufio.NewScanner(os.Stdin); paths.Scan(); {
		fd, err := syscall.Open(paths.Text(), syscall.O_RDONLY, 0)
		fmt.Println(err == nil)
		if err == nil {
			syscall.Close(fd)
		} else if !errors.Is(err, syscall.EACCES) {
			fmt.Println(err)
		}
	}
}

// reader is somebody who tries to read, by a process of the kernel's.
type reader struct {
	who     Identity
	how     syscall.SysProcAttr
	command []string // in front of the program
}

// readers are users, and what capabilities make of them.
func readers() map[string]reader {
	as := func(uid int, gids ...int) reader {
		groups := make([]uint32, 0, len(gids))
		for _, gid := range gids[1:] {
			groups = append(groups, uint32(gid))
		}
		credential := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gids[0]), Groups: groups}
		return reader{who: Identity{Name: "somebody", UID: uid, GIDs: gids}, how: syscall.SysProcAttr{Credential: credential}}
	}
	capable, weak := as(10003, 20009), as(0, 0)
	search, none := uint64(readsAll), uint64(0)
	capable.who.Capabilities, weak.who.Capabilities = &search, &none
	capable.how.AmbientCaps = []uintptr{unix.CAP_DAC_READ_SEARCH}
	weak.command = []string{"setpriv", "--bounding-set=-dac_override,-dac_read_search"}
	inside := as(0, 0) // of a user namespace, as in containers that root does not start
	inside.how.Cloneflags, inside.how.GidMappingsEnableSetgroups = syscall.CLONE_NEWUSER, true
	inside.how.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 10001, Size: 2}}
	inside.how.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: 20001, Size: 2}}
	inside.who = Identity{UID: 10001, GIDs: []int{20001}, Capabilities: &search, UserIDs: [][2]int{{10001, 2}}, GroupIDs: [][2]int{{20001, 2}}}
	return map[string]reader{
		"root of a user namespace": inside,
		"a user":                   as(10001, 20001), "a user in several groups": as(10002, 20002, 20003, 20001),
		"root": as(0, 0), "a user with a capability": capable, "root without its capabilities": weak,
	}
}

// ask has the kernel decide who may read what.
func (r reader) ask(t *testing.T, program string, paths []string) []bool {
	t.Helper()
	argv := append(append([]string{}, r.command...), program)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.SysProcAttr = []string{part + "=1", "PATH=" + os.Getenv("PATH")}, &r.how
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n") + "\n")
	out, err := cmd.Output()
	lines := strings.Fields(string(out))
	if err != nil || len(lines) != len(paths) {
		t.Fatalf("the kernel said %d things of %d files, %v: %.300s", len(lines), len(paths), err, out)
	}
	answers := make([]bool, 0, len(lines))
	for _, line := range lines {
		answers = append(answers, line == "true")
	}
	return answers
}

// maker makes files at random, always the same ones.
type maker struct {
	t      *testing.T
	random *rand.Rand
}

func pick[T any](m maker, of ...T) T { return of[m.random.IntN(len(of))] }

func (m maker) must(err error) {
	m.t.Helper()
	if errors.Is(err, unix.ENOTSUP) {
		m.t.Skipf("the temporary folder has no access control lists: %v", err)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// dress gives a file an owner, a mode and perhaps a list.
func (m maker) dress(path string) {
	m.t.Helper()
	m.must(os.Lchown(path, pick(m, 0, 10001, 10002, 10009), pick(m, 0, 20001, 20002, 20009)))
	m.must(syscall.Chmod(path, pick[uint32](m, 0o700, 0o750, 0o755, 0o070, 0o007, 0o050, 0o604, 0o640, 0o600, 0o644, 0o711, 0)))
	if m.random.IntN(2) == 0 {
		return
	}
	perm := func() uint16 { return pick[uint16](m, 0, 4, 5, 1, 7) }
	list := acl{{tagOwner, perm(), 0xffffffff}}
	if m.random.IntN(3) > 0 {
		list = append(list, entry{tagUser, perm(), 10001})
	}
	if m.random.IntN(3) == 0 {
		list = append(list, entry{tagUser, perm(), 10002})
	}
	list = append(list, entry{tagGroup, perm(), 0xffffffff})
	for _, gid := range []uint32{20001, 20003} {
		if m.random.IntN(3) == 0 {
			list = append(list, entry{tagNamed, perm(), gid})
		}
	}
	if list.extended() {
		list = append(list, entry{tagMask, perm(), 0xffffffff})
	}
	m.must(setACL(path, append(list, entry{tagOther, perm(), 0xffffffff})))
}

func setACL(path string, list acl) error {
	data := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range list {
		data = binary.LittleEndian.AppendUint16(data, e.tag)
		data = binary.LittleEndian.AppendUint16(data, e.perm)
		data = binary.LittleEndian.AppendUint32(data, e.id)
	}
	return unix.Setxattr(path, "system.posix_acl_access", data, 0)
}

// file makes a folder, one below it and a file in that one, and returns the file's path, or that
// of a link that leads there.
func (m maker) file(dir string, number int) string {
	m.t.Helper()
	outer := filepath.Join(dir, fmt.Sprint(number))
	inner := filepath.Join(outer, "inner")
	path := filepath.Join(inner, "key.pem")
	m.must(os.MkdirAll(inner, 0o755))
	m.must(os.WriteFile(path, nil, 0o600))
	way := path
	switch m.random.IntN(5) {
	case 0:
		way = filepath.Join(dir, fmt.Sprintf("link%d", number))
		m.must(os.Symlink(path, way))
	case 1: // a link to a folder, on the way
		m.must(os.Symlink(fmt.Sprintf("./%d/../%d/inner", number, number), filepath.Join(dir, fmt.Sprintf("folder%d", number))))
		way = filepath.Join(dir, fmt.Sprintf("folder%d", number), "key.pem")
	case 2: // a link in a folder that everybody may write
		shared := filepath.Join(dir, fmt.Sprintf("shared%d", number))
		m.must(os.Mkdir(shared, 0o755))
		m.must(os.Chown(shared, pick(m, 0, 10001), 0))
		m.must(syscall.Chmod(shared, pick[uint32](m, 0o1777, 0o777, 0o1775)))
		way = filepath.Join(shared, "link")
		m.must(os.Symlink(path, way))
		m.must(os.Lchown(way, pick(m, 0, 10001, 10002), 0))
	}
	for _, p := range []string{path, inner, outer} {
		m.dress(p)
	}
	if m.random.IntN(2) == 0 { // else few files could be reached
		m.must(syscall.Chmod(outer, 0o755))
	}
	return way
}

// What is foretold has to be what the kernel does, for everybody and every file.
func TestReadsAsTheKernelDoes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	dir := t.TempDir()
	m := maker{t, rand.New(rand.NewPCG(1, 2))}
	m.must(os.Chmod(filepath.Dir(dir), 0o755))
	data, err := os.ReadFile("/proc/self/exe")
	m.must(err)
	program := filepath.Join(dir, "program")
	m.must(os.WriteFile(program, data, 0o755))
	var paths []string
	for i := range 240 {
		paths = append(paths, m.file(dir, i))
	}
	for about, r := range readers() {
		if len(r.command) > 0 {
			if _, err := exec.LookPath(r.command[0]); err != nil {
				t.Logf("%s is left out: there is no %s", about, r.command[0])
				continue
			}
		}
		readable := 0
		for i, can := range r.ask(t, program, paths) {
			denied, err := Reads(r.who, paths[i])
			if err != nil || (len(denied) == 0) != can {
				t.Errorf("%s and %s: the kernel says %v; %+v, %v", about, paths[i], can, denied, err)
			}
			if can {
				readable++
			}
		}
		if !r.who.passes(node{}) && (readable < 10 || readable > len(paths)-10) {
			t.Errorf("%s can read %d of %d files: that shows little", about, readable, len(paths))
		}
	}
}
