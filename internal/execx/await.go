package execx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// Await waits for a command that an earlier watchdog started and that may have outlived
// it, identified by the run's PID and PIDStart. Its exit code cannot be had any more, so
// the result is RunCancelled with what it wrote to its OutputDir: whether it did its
// work has to be seen where it worked. Past the deadline its process group is ended and
// the result is RunTimedOut. When ctx is cancelled it is left running.
func Await(ctx context.Context, run certmedic.Run, deadline time.Time) certmedic.Run {
	out, err := reopenOutput(run.OutputDir, DefaultMaxOutput)
	if err == nil {
		defer out.close()
	} else {
		out = nil
	}
	run = awaitEnd(ctx, run, out, deadline)
	if out != nil {
		run = out.readInto(run)
	} else {
		run.Detail += fmt.Sprintf(" (%v)", err)
	}
	return ended(run, run.Result, run.Detail)
}

func awaitEnd(ctx context.Context, run certmedic.Run, out *output, deadline time.Time) certmedic.Run {
	run.Result = certmedic.RunCancelled
	if !Alive(run.PID, run.PIDStart) {
		run.Detail = "ended while no watchdog was there; its exit code is not known"
		return run
	}
	tick := time.NewTicker(awaitEvery)
	defer tick.Stop()
	for Alive(run.PID, run.PIDStart) {
		if !time.Now().Before(deadline) {
			run.Result, run.Detail = certmedic.RunTimedOut, "outlived the watchdog and its deadline, ended with its process group"
			if !endGroup(run.PID) {
				run.Detail = "outlived the watchdog and its deadline, and is not gone after SIGKILL"
			}
			return run
		}
		select {
		case <-tick.C:
			if out != nil {
				out.trim()
			}
		case <-ctx.Done():
			run.Detail = "outlived the watchdog; no longer waited for, left running"
			return run
		}
	}
	run.Detail = "outlived the watchdog; its exit code is not known"
	return run
}

// Alive reports whether the process that had this id and start time still runs. A zombie
// does not.
func Alive(pid int, start uint64) bool {
	if pid <= 0 {
		return false
	}
	stat, err := readStat(pid)
	return err == nil && stat.start == start && stat.lives()
}

// endGroup sends SIGTERM to a process group, and SIGKILL to what is left of it a second
// later. It reports whether the group is gone.
func endGroup(pgid int) bool {
	_ = unix.Kill(-pgid, unix.SIGTERM) // an error means that it is gone already
	if groupGone(pgid, termGrace) {
		return true
	}
	_ = unix.Kill(-pgid, unix.SIGKILL)
	return groupGone(pgid, killGrace)
}

// groupGone waits until only zombies are left in the group. While any process is in it,
// the kernel does not give the group's id to anybody else, so signals cannot hit
// strangers.
func groupGone(pgid int, within time.Duration) bool {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if errors.Is(unix.Kill(-pgid, 0), unix.ESRCH) || !groupLives(pgid) {
			return true
		}
	}
	return false
}

// groupLives looks for a member that is not a zombie: in a container nobody may reap the
// orphans of a command.
func groupLives(pgid int) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return true // it cannot be told, so the caller goes on
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if stat, err := readStat(pid); err == nil && stat.group == pgid && stat.lives() {
			return true
		}
	}
	return false
}

// procStat is what is read of /proc/PID/stat.
type procStat struct {
	state byte
	group int
	start uint64 // clock ticks since boot
}

func (s procStat) lives() bool { return s.state != 'Z' && s.state != 'X' }

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, err
	}
	return parseStat(data)
}

// parseStat reads fields 3, 5 and 22 of a stat line. Field 2 is the program's name in
// parentheses and may itself hold any character, so the fields are counted from its last
// parenthesis.
func parseStat(data []byte) (procStat, error) {
	const firstField, stateField, groupField, startField = 3, 3, 5, 22
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) <= startField-firstField {
		return procStat{}, fmt.Errorf("parsing a stat line: %d fields after the name", len(fields))
	}
	group, groupErr := strconv.Atoi(string(fields[groupField-firstField]))
	start, startErr := strconv.ParseUint(string(fields[startField-firstField]), 10, 64)
	if err := errors.Join(groupErr, startErr); err != nil {
		return procStat{}, fmt.Errorf("parsing a stat line: %w", err)
	}
	return procStat{state: fields[stateField-firstField][0], group: group, start: start}, nil
}
