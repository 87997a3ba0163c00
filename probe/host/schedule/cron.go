package schedule

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/certmedic/certmedic/probe/host/script"
)

// The bounds of what is read of cron.
const (
	maxTable  = 256 << 10 // bytes of one table
	maxTables = 500       // of one folder
	maxLines  = 5000
)

// cronPath is the PATH of what cron runs, where its table sets none.
const cronPath = "/usr/bin:/bin"

// table is a crontab while it is read.
type table struct {
	path    string
	system  bool   // its lines name a user
	user    string // of all lines, where they do not
	anacron bool
	problem string // why cron does not take the whole file
	env     map[string]string
}

func (l *looker) cron() {
	before := len(l.jobs)
	l.table(table{path: "/etc/crontab", system: true})
	for _, name := range l.list("/etc/cron.d") {
		t := table{path: filepath.Join("/etc/cron.d", name), system: true}
		t.problem = l.ignored(t.path, name)
		l.table(t)
	}
	l.table(table{path: "/etc/anacrontab", anacron: true, user: "root"})
	for _, folder := range []string{"/var/spool/cron/crontabs", "/var/spool/cron", "/etc/crontabs", "/var/spool/cron/tabs"} {
		for _, user := range l.list(folder) {
			l.table(table{path: filepath.Join(folder, user), user: user})
		}
	}
	for _, every := range []string{"hourly", "daily", "weekly", "monthly"} {
		l.folder("/etc/cron."+every, every)
		l.folder("/etc/periodic/"+every, every)
	}
	if len(l.jobs) > before && !l.cronRuns() {
		for i := range l.jobs[before:] {
			j := &l.jobs[before+i]
			if j.Problem == "" {
				j.Problem = "no cron is installed that would run it"
			}
		}
	}
}

// cronRuns reports whether a cron is installed.
func (l *looker) cronRuns() bool {
	return slices.ContainsFunc([]string{"/usr/sbin/cron", "/usr/sbin/crond", "/sbin/crond", "/usr/bin/crond", "/usr/sbin/anacron", "/usr/bin/fcron", "/bin/busybox", "/usr/bin/supercronic", "/usr/local/bin/supercronic"}, l.exists)
}

func (l *looker) exists(path string) bool {
	_, err := os.Stat(l.root + path)
	return err == nil
}

// list returns the regular files of a folder, sorted.
func (l *looker) list(folder string) []string {
	entries, err := os.ReadDir(l.root + folder)
	if err != nil {
		l.told(err)
		return nil
	}
	var names []string
	for _, entry := range entries[:min(len(entries), maxTables)] {
		if info, err := os.Stat(filepath.Join(l.root+folder, entry.Name())); err == nil && info.Mode().IsRegular() && entry.Name() != ".placeholder" {
			names = append(names, entry.Name())
		}
	}
	return names
}

// cronName matches the names of files that cron takes from its folders.
var cronName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// ignored says why cron leaves out a file of /etc/cron.d.
func (l *looker) ignored(path, name string) string {
	if !cronName.MatchString(name) {
		return fmt.Sprintf("cron ignores %s: a name with other characters than letters, digits, _ and - is not taken", path)
	}
	if info, err := os.Stat(l.root + path); err == nil && info.Mode()&0o022 != 0 {
		return fmt.Sprintf("cron ignores %s: others than its owner may write it", path)
	}
	return ""
}

func (l *looker) read(path string) string {
	f, err := os.OpenFile(l.root+path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		l.told(err)
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		l.told(fmt.Errorf("reading cron table: %q is not a regular file", path))
		return ""
	}
	data, err := io.ReadAll(io.LimitReader(f, maxTable))
	if err != nil {
		l.told(fmt.Errorf("reading cron table: %w", err))
	}
	return string(data)
}

// cronVariable matches a line that sets a variable.
var cronVariable = regexp.MustCompile(`^\s*["']?([A-Za-z_][A-Za-z0-9_]*)["']?\s*=\s*(.*?)\s*$`)

// table reads a crontab.
func (l *looker) table(t table) {
	text := l.read(t.path)
	t.env = map[string]string{}
	lines := strings.Split(text, "\n")
	for i, line := range lines[:min(len(lines), maxLines)] {
		line = strings.TrimLeft(line, " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		if set := cronVariable.FindStringSubmatch(line); set != nil {
			t.env[set[1]] = strings.Trim(set[2], `"'`)
			continue
		}
		entry, ok := t.entry(line)
		if !ok {
			continue
		}
		if i == len(lines)-1 && t.problem == "" {
			entry.problem = "the last line of " + t.path + " does not end with a newline: cron drops it, or the whole file"
		}
		l.entry(t, entry, i+1)
	}
}

// entry is a line of a crontab.
type entry struct {
	when, user, command string
	calendar            calendar
	every               time.Duration // of anacron
	known               bool          // the calendar is
	problem             string
}

// cronWords are the schedules that cron has names for.
var cronWords = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
	"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}

// entry splits a line into its fields.
func (t table) entry(line string) (entry, bool) {
	n := 5
	switch {
	case t.anacron:
		n = 3
	case line[0] == '@':
		n = 1
	}
	if t.system {
		n++
	}
	fields, command := cut(line, n)
	if len(fields) < n || command == "" {
		return entry{}, false
	}
	e := entry{user: t.user, command: command}
	if t.system {
		n--
		e.user = fields[n]
	}
	e.when = strings.Join(fields[:n], " ")
	if t.anacron {
		e.every = anacronPeriod(fields[0])
		return e, true
	}
	e.schedule()
	return e, true
}

// cut takes a number of fields from the front of a line.
func cut(line string, n int) (fields []string, rest string) {
	rest = line
	for range n {
		end := strings.IndexAny(rest, " \t")
		if end < 0 {
			return fields, ""
		}
		fields = append(fields, rest[:end])
		rest = strings.TrimLeft(rest[end:], " \t")
	}
	return fields, rest
}

func anacronPeriod(word string) time.Duration {
	if word == "@monthly" {
		return 31 * 24 * time.Hour
	}
	n, ok := number(strings.NewReplacer("@daily", "1", "@weekly", "7").Replace(word))
	if !ok || n > 400 {
		return 0
	}
	return time.Duration(n) * 24 * time.Hour
}

// schedule reads the five fields of a time.
func (e *entry) schedule() {
	when := e.when
	if whole, ok := cronWords[when]; ok {
		when = whole
	}
	if when == "@reboot" {
		e.problem = "it runs only when the host starts"
		return
	}
	f := strings.Fields(when)
	if len(f) != 5 {
		e.problem = fmt.Sprintf("%v: %q", errNotUnderstood, e.when)
		return
	}
	c := calendar{either: true}
	for _, field := range []struct {
		set       *[]bool
		text      string
		low, high int
		read      func(string) (int, bool)
	}{
		{&c.minutes, f[0], 0, 59, number},
		{&c.hours, f[1], 0, 23, number},
		{&c.days, f[2], 1, 31, number},
		{&c.months, f[3], 1, 12, month},
		{&c.weekdays, f[4], 0, 6, weekday},
	} {
		set, err := list(cronList(field.text), field.low, field.high, field.read)
		if err != nil {
			e.problem = fmt.Sprintf("%v: %q", errNotUnderstood, e.when)
			return
		}
		*field.set = set
	}
	e.calendar, e.known = c, true
}

// cronList writes a field of cron as systemd would: ranges with two dots; ~ is any one of a range.
func cronList(field string) string {
	if field == "0-7" || field == "1-7" || field == "*/1" {
		return "*"
	}
	field = strings.ReplaceAll(field, "-", "..")
	if low, _, random := strings.Cut(field, "~"); random {
		if low == "" {
			return "1"
		}
		return low
	}
	return field
}

// entry takes a line that runs a client.
func (l *looker) entry(t table, e entry, line int) {
	j := Job{Kind: Cron, Name: filepath.Base(t.path), File: t.path, Line: line, User: e.user, Schedule: e.when, Enabled: true}
	j.Path = t.searched()
	command, broken := percent(e.command)
	if !l.readCommand(&j, command, runner{j.User, j.Path, ""}) {
		return
	}
	j.Command = e.command
	if j.Sends == "" {
		j.Sends = t.mail(e.user)
	}
	j.Every = e.every
	if e.known {
		j.Every = longest([]calendar{e.calendar}, l.now)
	}
	if j.Every > 0 {
		j.Every += sleeps(command)
	}
	switch {
	case t.problem != "":
		j.Problem = t.problem
	case e.problem != "":
		j.Problem = e.problem
	case broken:
		j.Problem = `cron ends the command at its first %, which it takes for a newline: write \%`
	}
	l.jobs = append(l.jobs, j)
}

// searched is the PATH that the lines so far were given.
func (t table) searched() string {
	if set, ok := t.env["PATH"]; ok {
		return set
	}
	return cronPath
}

// mail says who is sent the output of a line.
func (t table) mail(user string) string {
	to, set := t.env["MAILTO"]
	switch {
	case !set && user != "":
		return "mail to " + user
	case to == "":
		return ""
	}
	return "MAILTO=" + to
}

// percent ends a command at its first %, as cron does, unless there is a backslash before it.
// Where that leaves half a command, it returns the whole one, and says so.
func percent(command string) (text string, broken bool) {
	var b strings.Builder
	for i := 0; i < len(command); i++ {
		if command[i] == '%' {
			first := b.String()
			if len(script.Parse(first, script.Environment{Kind: script.Job}).Commands) > 0 {
				return first, false
			}
			return strings.ReplaceAll(command, `\%`, "%"), true
		}
		if command[i] == '\\' && i+1 < len(command) && command[i+1] == '%' {
			i++
		}
		b.WriteByte(command[i])
	}
	return b.String(), false
}

// randomSleep matches the common ways to wait for a random time of at most so many seconds.
var randomSleep = regexp.MustCompile(`(?:rand\(|RANDOM *% *|random\.random\(\) *\* *|shuf -i *[0-9]+-)([0-9]{1,6})`)

func sleeps(command string) time.Duration {
	found := randomSleep.FindStringSubmatch(command)
	if found == nil {
		return 0
	}
	n, _ := number(found[1])
	return time.Duration(n) * time.Second
}

// folder takes the scripts of a folder that cron runs as a whole.
func (l *looker) folder(folder, every string) {
	periods := map[string]time.Duration{"hourly": time.Hour, "daily": 24 * time.Hour, "weekly": 7 * 24 * time.Hour, "monthly": 31 * 24 * time.Hour}
	for _, name := range l.list(folder) {
		path := filepath.Join(folder, name)
		j := Job{
			Kind: Cron, Name: "cron." + every, File: path, Line: 1, User: "root", Path: l.folderPath(), Enabled: true,
			Schedule: every, Every: periods[every], Last: l.anacron("cron." + every),
		}
		if !l.readCommand(&j, path, runner{"root", j.Path, ""}) {
			continue
		}
		j.Script = path
		info, err := os.Stat(l.root + path)
		switch {
		case !cronName.MatchString(name):
			j.Problem = fmt.Sprintf("run-parts ignores %s: a name with other characters than letters, digits, _ and - is not taken", path)
		case err == nil && info.Mode()&0o111 == 0:
			j.Problem = fmt.Sprintf("run-parts ignores %s: it is not executable", path)
		}
		l.jobs = append(l.jobs, j)
	}
}

// folderPath is the PATH of /etc/crontab, which runs the folders.
func (l *looker) folderPath() string {
	for line := range strings.Lines(l.read("/etc/crontab")) {
		if set := cronVariable.FindStringSubmatch(strings.TrimRight(line, "\n")); set != nil && set[1] == "PATH" {
			return set[2]
		}
	}
	return unitPath
}

// anacron returns the day on which anacron last ran a folder.
func (l *looker) anacron(name string) time.Time {
	if !l.exists("/var/spool/anacron/" + name) {
		return time.Time{}
	}
	day, _ := time.Parse("20060102", strings.TrimSpace(l.read("/var/spool/anacron/"+name)))
	return day
}
