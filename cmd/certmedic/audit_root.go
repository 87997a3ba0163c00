package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// confinedFlag marks the process that was started in a user namespace of its own.
const confinedFlag = "confined"

// confine makes the tree the root of this process. Where only a user namespace allows that,
// another process is started in one, does all of the work, and false is returned with how it
// ended.
func (e *environment) confine(ctx context.Context, f *auditFlags) (bool, error) {
	root, err := filepath.Abs(f.root)
	if err != nil {
		return false, &exitError{exitUsage, err}
	}
	f.root = root
	if info, err := os.Stat(root); err != nil {
		return false, &exitError{exitUsage, fmt.Errorf("--root: %w", err)}
	} else if !info.IsDir() {
		return false, &exitError{exitUsage, fmt.Errorf("--root: %q is not a folder", root)}
	}
	if err = os.Chdir(root); err == nil {
		err = syscall.Chroot(".")
	}
	switch {
	case err == nil:
		setZone()
		return true, os.Chdir("/")
	case errors.Is(err, syscall.EPERM) && !f.confined:
		return false, e.restart(ctx, root)
	}
	return false, &exitError{exitUsage, fmt.Errorf("--root: the process cannot be confined to %q: %w; run it as root", root, err)}
}

// setZone has times read in the zone of the tree, as its logs were written, or in UTC where that
// is not a file: package time would wait for a pipe.
func setZone() {
	if info, err := os.Stat("/etc/localtime"); err != nil || !info.Mode().IsRegular() {
		_ = os.Setenv("TZ", "UTC") // only a name that is wrong fails
	}
}

// capSysChroot is the number of the capability to call chroot(2), see capabilities(7).
const capSysChroot = 18

// restart runs this command again in a user namespace in which this user may call chroot(2).
func (e *environment) restart(ctx context.Context, root string) error {
	cmd := exec.CommandContext(ctx, e.self, append(os.Args[1:], "--"+confinedFlag, "--root", root)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = e.stdin, e.stdout, e.stderr, e.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{capSysChroot}, Pdeathsig: syscall.SIGTERM,
	}
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.ExitCode() > 0:
		return &exitError{code: ended.ExitCode()}
	case err != nil:
		return &exitError{exitUsage, fmt.Errorf("--root needs root, or a kernel that lets users have namespaces: %w", err)}
	}
	return nil
}
