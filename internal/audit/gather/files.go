package gather

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/probe/host/acmelog"
)

// maxText bounds what is read of a text file, in bytes.
const maxText = 256 << 10

// lines returns the lines of a regular file, within bounds; none where it cannot be read. A pipe
// in its place is not waited for.
func lines(path string) []string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return nil
	}
	return strings.Split(string(data), "\n")
}

// logs reads what certbot wrote for each tree.
func (l *look) logs() func() {
	var all []audit.Log
	var unseen []string
	attempts := map[string]map[string]acmelog.Attempt{}
	for _, t := range l.f.Trees {
		for _, folder := range l.logFolders(t.Dir) {
			log := audit.Log{Tree: t.Dir, Folder: folder, Missing: absent(folder), Rotated: rotation(folder)}
			if !log.Missing {
				log.Found = acmelog.Read(acmelog.Options{Client: acmelog.Certbot, Path: folder})
				for name, a := range log.Found.Attempts(t.Dir) {
					if attempts[t.Dir] == nil {
						attempts[t.Dir] = map[string]acmelog.Attempt{}
					}
					if a.Time.After(attempts[t.Dir][name].Time) {
						attempts[t.Dir][name] = a
					}
				}
			}
			if log.Found.Problem != "" {
				unseen = append(unseen, log.Found.Problem)
			}
			all = append(all, log)
		}
	}
	return func() {
		l.f.Logs = all
		for i := range l.f.Lineages {
			one := &l.f.Lineages[i]
			one.Attempt = attempts[one.Tree][one.Name]
		}
		for _, why := range unseen {
			l.miss(audit.PartLogs, why)
		}
	}
}

// maxFolders bounds the folders of logs of one tree.
const maxFolders = 16

// logFolders returns where the logs of a tree are: as its lineages have it, else certbot's default
// for its default tree.
func (l *look) logFolders(tree string) []string {
	var all []string
	for _, one := range l.f.Lineages {
		if one.Tree == tree && one.Conf != nil && filepath.IsAbs(one.Conf.LogsDir) && len(all) < maxFolders {
			all = append(all, one.Conf.LogsDir)
		}
	}
	if len(all) == 0 && tree == defaultTree {
		all = append(all, "/var/log/letsencrypt")
	}
	return distinct(all)
}

// The words of logrotate.conf(5) that say how long logs are kept.
var (
	rotateWord = regexp.MustCompile(`^\s*rotate\s+(\d+)`)
	periodWord = regexp.MustCompile(`^\s*(hourly|daily|weekly|monthly|yearly)\b`)
)

// rotation finds the block of logrotate for a folder.
func rotation(folder string) *audit.Rotation {
	periods := map[string]time.Duration{"hourly": time.Hour, "daily": 24 * time.Hour, "weekly": 7 * 24 * time.Hour, "monthly": 30 * 24 * time.Hour, "yearly": 365 * 24 * time.Hour}
	for _, entry := range list("/etc/logrotate.d") {
		path := filepath.Join("/etc/logrotate.d", entry.Name())
		text := lines(path)
		i := slices.IndexFunc(text, func(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), folder+"/") })
		if i < 0 {
			continue
		}
		r := &audit.Rotation{Place: audit.Place{File: path, Line: i + 1}}
		count, period := 0, time.Duration(0)
		for _, line := range text[i:] {
			if m := rotateWord.FindStringSubmatch(line); m != nil {
				count, _ = strconv.Atoi(m[1]) // it is all digits; one that is too large keeps nothing known
			}
			if m := periodWord.FindStringSubmatch(line); m != nil {
				period = periods[m[1]]
			}
			if strings.TrimSpace(line) == "}" {
				break
			}
		}
		r.Keeps = time.Duration(min(count, 1000)) * period
		return r
	}
	return nil
}

// disks asks how much space is left where certbot writes.
func (l *look) disks() func() {
	var all []audit.Disk
	var paths []string
	for _, t := range l.f.Trees {
		paths = append(append(paths, t.Dir), l.logFolders(t.Dir)...)
	}
	if len(paths) > 0 {
		paths = append(paths, "/var/lib/letsencrypt")
	}
	devices := map[uint64]bool{}
	for _, path := range distinct(paths) {
		var st unix.Statfs_t
		var file unix.Stat_t
		if unix.Statfs(path, &st) != nil || unix.Stat(path, &file) != nil || devices[file.Dev] {
			continue
		}
		devices[file.Dev] = true
		size := uint64(st.Bsize)
		all = append(all, audit.Disk{Path: path, Free: st.Bavail * size, Total: st.Blocks * size, Inodes: st.Files == 0 || st.Ffree > 0})
	}
	return func() { l.f.Disks = all }
}

// reloading matches what makes a service read its files again.
var reloading = regexp.MustCompile(`(?i)\b(?:reload|restart|graceful|try-restart|force-reload|sighup|usr1|-hup|-s hup)\b`)

// elsewhere finds the lines of cron, and of the administrator's own units, that reload something.
func (l *look) elsewhere() func() {
	paths := []string{"/etc/crontab", "/etc/anacrontab"}
	for _, folder := range []string{
		"/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly",
		"/var/spool/cron/crontabs", "/var/spool/cron", "/etc/crontabs", "/etc/systemd/system",
	} {
		for _, entry := range list(folder) {
			if filepath.Dir(folder) != "/etc/systemd" || filepath.Ext(entry.Name()) == ".service" {
				paths = append(paths, filepath.Join(folder, entry.Name()))
			}
		}
	}
	var all []audit.Mention
	for _, path := range paths[:min(len(paths), maxEntries)] {
		for i, line := range lines(path) {
			text := strings.TrimSpace(line)
			ours := filepath.Ext(path) != ".service" || strings.HasPrefix(text, "ExecStart")
			if ours && text != "" && text[0] != '#' && !strings.HasPrefix(text, "@reboot") && reloading.MatchString(text) {
				all = append(all, audit.Mention{Text: text, Place: audit.Place{File: path, Line: i + 1}})
			}
		}
	}
	return func() { l.f.Elsewhere = all[:min(len(all), maxEntries)] }
}

// pluginFolders are where the packages of certbot and its plugins are: of the distribution, of
// pip, of a virtual environment as certbot's guide has it, and of the snap.
var pluginFolders = []string{
	"/usr/lib/python3/dist-packages", "/usr/lib/python3*/site-packages", "/usr/lib64/python3*/site-packages",
	"/usr/local/lib/python3*/dist-packages", "/usr/local/lib/python3*/site-packages",
	"/opt/certbot/lib/python3*/site-packages", "/opt/eff.org/certbot/venv/lib*/python3*/site-packages",
	"/snap/certbot/current/lib/python3*/site-packages", "/snap/certbot-*/current/lib/python3*/site-packages",
	"/var/lib/snapd/snap/certbot*/current/lib/python3*/site-packages",
}

// clients finds certbot and its plugins by what its packages declare.
func (l *look) clients() func() {
	var c audit.Clients
	for _, pattern := range pluginFolders {
		folders, _ := filepath.Glob(pattern) // the patterns are ours
		for _, folder := range folders {
			plugins := declared(folder)
			if !absent(filepath.Join(folder, "certbot")) {
				c.Known = true
				c.Certbot = append(c.Certbot, filepath.Join(folder, "certbot"))
			}
			if len(plugins) > 0 {
				c.Plugins = append(c.Plugins, plugins...)
				c.Packages = append(c.Packages, folder)
			}
		}
	}
	return func() { l.f.Clients = c }
}

// declared returns the plugins of certbot that the packages in a folder declare.
func declared(folder string) []string {
	var all []string
	for _, entry := range list(folder) {
		if ext := filepath.Ext(entry.Name()); ext != ".dist-info" && ext != ".egg-info" || !strings.Contains(entry.Name(), "certbot") && !strings.Contains(entry.Name(), "acme") && !strings.Contains(entry.Name(), "dns") {
			continue
		}
		in := false
		for _, line := range lines(filepath.Join(folder, entry.Name(), "entry_points.txt")) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				in = line == "[certbot.plugins]"
				continue
			}
			if name, _, ok := strings.Cut(line, "="); ok && in {
				all = append(all, strings.TrimSpace(name))
			}
		}
	}
	return all
}
