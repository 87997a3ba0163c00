package schedule

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/probe/host/unit"
)

// unitPath is the PATH that systemd gives to services.
const unitPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// maxUnits bounds how many units of a kind are read.
const maxUnits = 2000

func (l *looker) timers() {
	names := l.tree.Names("timer")
	names = append(names, l.instances(names)...)
	for _, name := range names[:min(len(names), maxUnits)] {
		timer, err := l.tree.Load(name)
		if err != nil {
			l.told(err)
			continue
		}
		l.timer(timer)
	}
}

// instances returns the instances of templates that something starts, such as
// cert-renewer@shop.timer.
func (l *looker) instances(templates []string) []string {
	var names []string
	for _, folder := range []string{"/etc/systemd/system/timers.target.wants", "/etc/systemd/system/multi-user.target.wants"} {
		entries, _ := os.ReadDir(l.root + folder)
		for _, entry := range entries {
			stem, rest, ok := strings.Cut(entry.Name(), "@")
			if ok && rest != ".timer" && slices.Contains(templates, stem+"@.timer") && !slices.Contains(names, entry.Name()) {
				names = append(names, entry.Name())
			}
		}
	}
	return names
}

func (l *looker) told(err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		l.problems = append(l.problems, err.Error())
	}
}

// timer takes a timer whose service runs a client. A masked timer has no contents, and is
// taken for one by its name.
func (l *looker) timer(timer unit.File) {
	j := Job{Kind: Timer, Name: timer.Name, File: timer.Path, Masked: timer.Masked}
	serviceName := timer.Get("Timer", "Unit")
	if serviceName == "" {
		serviceName = strings.TrimSuffix(timer.Name, ".timer") + ".service"
	}
	service, err := l.tree.Load(serviceName)
	if err != nil {
		l.told(err)
		return
	}
	if !l.service(&j, service) {
		return
	}
	if strings.HasPrefix(timer.Name, "snap.") {
		j.Kind = Snap
	}
	j.Enabled = len(l.tree.Starters(timer.Name)) > 0 && !timer.Masked
	j.Last = l.stamp(timer.Name)
	l.when(&j, timer)
	switch {
	case timer.Masked:
		j.Problem = fmt.Sprintf("%s is masked by %s", timer.Name, timer.Path)
	case service.Masked:
		j.Problem = fmt.Sprintf("%s is masked by %s", service.Name, service.Path)
	}
	l.jobs = append(l.jobs, j)
}

// service fills in what a unit runs; false where that is no client. A masked unit says
// nothing any more: what its package brought is read instead.
func (l *looker) service(j *Job, service unit.File) bool {
	if service.Masked {
		j.Client = byName(service.Name)
		return j.Client != ""
	}
	j.User = service.Get("Service", "User")
	j.Path = environment(service, "PATH", unitPath)
	for _, start := range append(service.All("Service", "ExecStartPre"), service.All("Service", "ExecStart")...) {
		command := strings.TrimLeft(start.Value, "-+!:@")
		command = strings.NewReplacer("%%", "%", "$$", "$", "%i", instance(service.Name), "%I", instance(service.Name)).Replace(command)
		if l.readCommand(j, command, runner{j.User, j.Path, service.Get("Service", "WorkingDirectory")}) {
			if j.File == "" {
				j.File, j.Line = start.File, start.Line
			}
			j.Command = command
			if to := service.Get("Unit", "OnFailure"); to != "" {
				j.Sends = "OnFailure=" + to
			}
			if out := service.Get("Service", "StandardOutput"); out == "null" && j.Sends == "" {
				j.Sends = ">/dev/null"
			}
			return true
		}
	}
	return false
}

// byName names the client of a unit that says nothing, as masked ones do.
func byName(name string) string {
	for _, client := range []string{"certbot", "acme.sh", "acme", "lego", "dehydrated", "getssl", "letsencrypt"} {
		if strings.Contains(name, client) {
			return map[string]string{"acme": "acme.sh", "letsencrypt": "certbot"}[client] + plain(client)
		}
	}
	return ""
}

func plain(client string) string {
	if client == "acme" || client == "letsencrypt" {
		return ""
	}
	return client
}

func instance(name string) string {
	_, rest, _ := strings.Cut(name, "@")
	return strings.TrimSuffix(rest, filepath.Ext(rest))
}

// environment returns a variable that a service is given.
func environment(service unit.File, name, otherwise string) string {
	value := otherwise
	for _, set := range service.All("Service", "Environment") {
		for _, word := range quotedFields(set.Value) {
			if v, ok := strings.CutPrefix(word, name+"="); ok {
				value = v
			}
		}
	}
	return value
}

// quotedFields splits a line at spaces that do not stand between quotes.
func quotedFields(line string) []string {
	var fields []string
	var b strings.Builder
	quote := rune(0)
	for _, c := range line + " " {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && (c == ' ' || c == '\t'):
			if b.Len() > 0 {
				fields = append(fields, b.String())
			}
			b.Reset()
		default:
			b.WriteRune(c)
		}
	}
	return fields
}

// stamp returns when systemd last started a persistent timer's service.
func (l *looker) stamp(name string) time.Time {
	info, err := os.Stat(l.root + "/var/lib/systemd/timers/stamp-" + name)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

// when fills in how often a timer elapses.
func (l *looker) when(j *Job, timer unit.File) {
	var calendars []calendar
	var intervals []time.Duration
	var lines []string
	for _, s := range timer.Settings {
		if s.Section != "Timer" {
			continue
		}
		switch s.Key {
		case "OnCalendar":
			if s.Value == "" {
				calendars, lines = nil, nil
				continue
			}
			c, err := parseCalendar(s.Value)
			if err != nil {
				j.Problem = fmt.Sprintf("%s:%d: %v", s.File, s.Line, err)
				continue
			}
			calendars = append(calendars, c)
		case "OnUnitActiveSec", "OnUnitInactiveSec":
			if d, err := parseSpan(s.Value); err == nil && d > 0 {
				intervals = append(intervals, d)
			}
		case "OnBootSec", "OnStartupSec", "OnActiveSec":
		default:
			continue
		}
		lines = append(lines, s.Key+"="+s.Value)
		if j.Line == 0 || s.Key == "OnCalendar" {
			j.File, j.Line = s.File, s.Line
		}
	}
	j.Schedule = strings.Join(lines, "; ")
	j.Every = longest(calendars, l.now)
	for _, d := range intervals {
		if j.Every == 0 || d < j.Every {
			j.Every = d
		}
	}
	switch delay, err := parseSpan(timer.Get("Timer", "RandomizedDelaySec")); {
	case j.Every > 0 && err == nil:
		j.Every += delay
	case j.Every == 0 && j.Problem == "" && len(lines) > 0:
		j.Problem = "it elapses only once: " + j.Schedule
	}
}

// loops finds the enabled services that renew for as long as they run.
func (l *looker) loops() {
	names := l.tree.Names("service")
	for _, name := range names[:min(len(names), maxUnits)] {
		service, err := l.tree.Load(name)
		if err != nil || service.Masked {
			continue
		}
		for _, start := range service.All("Service", "ExecStart") {
			client := resident(quotedFields(strings.TrimLeft(start.Value, "-+!:@")))
			if client == "" || len(l.tree.Starters(name)) == 0 {
				continue
			}
			l.jobs = append(l.jobs, Job{
				Kind: Loop, Client: client, Name: name, Command: start.Value, File: start.File, Line: start.Line,
				User: service.Get("Service", "User"), Path: environment(service, "PATH", unitPath), Enabled: true,
			})
		}
	}
}
