// Package unit tells what systemd does with its units: [Ask] asks systemd itself over D-Bus,
// without starting a program, whether a service runs, since when, how its last start and its
// last reload ended; a [Tree] reads unit files with their drop-ins, masks and the links that
// start them, which also works where systemd does not run.
//
// internal/diagnose and internal/audit call it, and the parts of probe/host that need to know
// how a unit is started or reloaded. It changes nothing and starts nothing. Where systemd is
// not process 1, or does not answer within two seconds, it says so.
package unit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	"golang.org/x/sys/unix"
)

// ErrNone says that there is no systemd to ask.
var ErrNone = errors.New("systemd is not at work here")

// The bounds of a question.
const (
	askFor   = 2 * time.Second
	askUnits = 200
)

// Unit is what systemd says of a unit.
type Unit struct {
	Name       string
	Load       string // loaded, not-found, masked, ...
	Active     string // active, reloading, inactive, failed, activating, deactivating
	Sub        string // running, exited, dead, ...
	File       string // enabled, disabled, static, masked, ...
	Path       string // of its file
	Result     string // success, exit-code, timeout, ... of its last run
	Reload     string // result of its last reload, where systemd tells; success otherwise
	MainPID    int
	Started    time.Time // when it last became active
	Changed    time.Time // when its state last changed
	ExitCode   int       // of its main process, once that has ended
	Trigger    time.Time // of a timer: when it last started its service
	Next       time.Time // of a timer: when it will
	Reloaded   time.Time // when its last reload began, since it was started; zero: there was none
	Reloads    bool      // it can be reloaded, and not only restarted
	ReloadExit int       // exit code of its last reload's last command; negative: the signal that ended it
}

// Ask returns the units in the order of their names in the question; one that systemd does not
// know is not-found. It waits at most 2 s, and answers for 200 names at most. The error is
// [ErrNone] where systemd is not process 1.
func Ask(ctx context.Context, names []string) ([]Unit, error) {
	if _, err := os.Lstat("/run/systemd/system"); err != nil {
		return nil, ErrNone // as sd_booted(3) has it
	}
	if len(names) > askUnits {
		return nil, fmt.Errorf("asking systemd: %d units are more than %d", len(names), askUnits)
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	conn, err := dbus.NewWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking systemd: %w", err)
	}
	defer conn.Close()
	units := make([]Unit, 0, len(names))
	for _, name := range names {
		u, err := ask(ctx, conn, name)
		if err != nil {
			return nil, fmt.Errorf("asking systemd of %q: %w", name, err)
		}
		units = append(units, u)
	}
	return units, nil
}

func ask(ctx context.Context, conn *dbus.Conn, name string) (Unit, error) {
	all, err := conn.GetUnitPropertiesContext(ctx, name)
	if err != nil {
		return Unit{}, err
	}
	p := properties(all)
	u := Unit{
		Name: name, Load: p.text("LoadState"), Active: p.text("ActiveState"), Sub: p.text("SubState"),
		File: p.text("UnitFileState"), Path: p.text("FragmentPath"),
		Started: p.time("ActiveEnterTimestamp"), Changed: p.time("StateChangeTimestamp"), Reload: "success",
	}
	u.Reloads, _ = all["CanReload"].(bool)
	kind := name[strings.LastIndexByte(name, '.')+1:]
	if u.Load != "loaded" || kind != "service" && kind != "timer" {
		return u, nil
	}
	all, err = conn.GetUnitTypePropertiesContext(ctx, name, strings.ToUpper(kind[:1])+kind[1:])
	if err != nil {
		return Unit{}, err
	}
	properties(all).fill(&u)
	return u, nil
}

// properties are those of an object on the bus, by name.
type properties map[string]any

func (p properties) fill(u *Unit) {
	u.Result = p.text("Result")
	if reload := p.text("ReloadResult"); reload != "" {
		u.Reload = reload
	}
	u.MainPID = int(p.number("MainPID"))
	u.ExitCode = int(p.number("ExecMainStatus"))
	u.Reloaded, u.ReloadExit = p.reload()
	u.Trigger = p.time("LastTriggerUSec")
	u.Next = p.time("NextElapseUSecRealtime")
	if since := p.number("NextElapseUSecMonotonic"); u.Next.IsZero() && since > 0 {
		u.Next = sinceBoot(since)
	}
}

func (p properties) text(name string) string {
	s, _ := p[name].(string)
	return s
}

func (p properties) number(name string) int64 { return number(p[name]) }

// number takes a number as it comes over the bus; systemd's "infinity" is 0.
func number(value any) int64 {
	switch n := value.(type) {
	case int32:
		return int64(n)
	case uint32:
		return int64(n)
	case uint64:
		if n <= 1<<62 {
			return int64(n)
		}
	}
	return 0
}

func (p properties) time(name string) time.Time { return micro(p.number(name)) }

func micro(usec int64) time.Time {
	if usec == 0 {
		return time.Time{}
	}
	return time.UnixMicro(usec).UTC()
}

// reload returns when the last command of ExecReload= began and how it ended. Each command
// is (path, argv, ignore, start, start, end, end, pid, code, status), times in microseconds
// by the clock and since the boot.
func (p properties) reload() (began time.Time, exit int) {
	commands, _ := p["ExecReload"].([][]any)
	for _, c := range commands {
		if len(c) < 10 || number(c[3]) == 0 {
			continue
		}
		if at := micro(number(c[3])); began.IsZero() {
			began = at
		}
		const exited = 1 // CLD_EXITED of waitid(2); 0 while it runs
		switch code, status := number(c[8]), int(number(c[9])); code {
		case 0, exited:
			exit = status
		default:
			exit = -status
		}
	}
	return began, exit
}

// sinceBoot turns a time of the monotonic clock into one of the wall clock.
func sinceBoot(usec int64) time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Time{}
	}
	ahead := time.Duration(usec)*time.Microsecond - time.Duration(ts.Nano())
	return time.Now().Add(ahead).UTC().Truncate(time.Microsecond)
}
