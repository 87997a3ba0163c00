package disk_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// holdLock makes the test binary a process that locks a file as certbot does.
const holdLock = "DISK_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdLock); path != "" {
		os.Exit(hold(path))
	}
	os.Exit(m.Run())
}

// hold locks the file, says so, and keeps the lock until its input ends.
func hold(path string) int {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT, 0o600)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &lock); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// startHolder runs a process that holds a lock until the returned function is called.
func startHolder(t *testing.T, path string) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdLock+"="+path)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "held\n" {
		t.Fatalf("the holder said %q, %v", line, err)
	}
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	return cmd.Process.Pid, stop
}

func TestAskLock(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{})
	conf, err := disk.ReadRenewalConf(tree.Conf("shop"))
	must(t, err)
	for _, folder := range []string{tree.ConfigDir, tree.WorkDir, tree.LogsDir} {
		path := filepath.Join(folder, ".certbot.lock")
		pid, stop := startHolder(t, path)
		want := certmedic.Lock{State: certmedic.LockHeld, Path: path, PID: pid}
		if lock := disk.AskLock(tree.ConfigDir, conf); lock != want {
			t.Errorf("held: %+v, want %+v", lock, want)
		}
		if stored := disk.Read(tree.Source("shop"), time.Now()); stored.Lock != want {
			t.Errorf("read of a locked lineage: %+v", stored.Lock)
		}
		stop()
		if lock := disk.AskLock(tree.ConfigDir, conf); lock != (certmedic.Lock{State: certmedic.LockFree}) {
			t.Errorf("a file that its holder left is not free: %+v", lock)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("asking removed the file: %v", err)
		}
	}
}

func TestAskLockWithoutHolder(t *testing.T) {
	free := certmedic.Lock{State: certmedic.LockFree}
	tree := disktest.New(t)
	path := filepath.Join(tree.ConfigDir, ".certbot.lock")
	if lock := disk.AskLock(tree.ConfigDir, nil); lock != free {
		t.Errorf("no file: %+v", lock)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("asking made the file")
	}
	if lock := disk.AskLock(filepath.Join(tree.ConfigDir, "gone"), nil); lock != free {
		t.Errorf("no folder: %+v", lock)
	}
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	must(t, unix.Flock(int(file.Fd()), unix.LOCK_EX))
	if lock := disk.AskLock(tree.ConfigDir, nil); lock != free {
		t.Errorf("a lock of flock(2) counts: %+v", lock)
	}
	must(t, os.Remove(path))
	must(t, os.Symlink(".certbot.lock", path))
	if lock := disk.AskLock(tree.ConfigDir, nil); lock.State != certmedic.LockUnknown || lock.Path != path || lock.Detail == "" {
		t.Errorf("a lock that cannot be asked: %+v", lock)
	}
}

func TestTreeLockIsSeenInItsOwnProcess(t *testing.T) {
	tree := disktest.New(t)
	release := tree.Lock()
	if lock := disk.AskLock(tree.ConfigDir, nil); lock.State != certmedic.LockHeld || lock.PID != 0 {
		t.Errorf("held: %+v", lock)
	}
	release()
	if lock := disk.AskLock(tree.ConfigDir, nil); lock.State != certmedic.LockFree {
		t.Errorf("released: %+v", lock)
	}
}
