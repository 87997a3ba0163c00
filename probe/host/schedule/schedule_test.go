package schedule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const debianTimer = `[Unit]
Description=Run certbot twice daily

[Timer]
OnCalendar=*-*-* 00,12:00:00
RandomizedDelaySec=43200
Persistent=true

[Install]
WantedBy=timers.target
`

const debianService = `[Unit]
Description=Certbot
[Service]
Type=oneshot
ExecStart=/usr/bin/certbot -q renew --no-random-sleep-on-renew
PrivateTmp=true
`

const debianCron = `# /etc/cron.d/certbot: crontab entries for the certbot package
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/sbin:/bin:/usr/sbin:/usr/bin

0 */12 * * * root test -x /usr/bin/certbot -a \! -d /run/systemd/system && perl -e 'sleep int(rand(43200))' && certbot -q renew --no-random-sleep-on-renew
`

// tree is a file system to look at.
type tree struct {
	t    testing.TB
	root string
}

func newTree(t testing.TB) tree {
	h := tree{t, t.TempDir()}
	for _, program := range []string{"certbot", "perl", "lego", "dehydrated", "step"} {
		h.put("/usr/bin/"+program, "#!/bin/sh\n", 0o755)
	}
	h.put("/usr/sbin/cron", "#!/bin/sh\n", 0o755)
	h.put("/bin/sh", "#!/bin/sh\n", 0o755)
	h.put("/root/.acme.sh/acme.sh", "#!/bin/sh\n", 0o755)
	return h
}

func (h tree) put(path, text string, mode os.FileMode) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.root+path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.root+path, []byte(text), mode); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Chmod(h.root+path, mode); err != nil {
		h.t.Fatal(err)
	}
}

func (h tree) link(path, to string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.root+path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Symlink(to, h.root+path); err != nil {
		h.t.Fatal(err)
	}
}

func (h tree) timer(name, timer, service string) {
	h.t.Helper()
	h.put("/usr/lib/systemd/system/"+name+".timer", timer, 0o644)
	h.put("/usr/lib/systemd/system/"+name+".service", service, 0o644)
}

func (h tree) enable(name string) {
	h.link("/etc/systemd/system/timers.target.wants/"+name, "/usr/lib/systemd/system/"+name)
}

func (h tree) jobs() []Job {
	h.t.Helper()
	jobs, problems := lookBelow(h.root, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	if len(problems) > 0 {
		h.t.Errorf("problems: %q", problems)
	}
	return jobs
}

func (h tree) job() Job {
	h.t.Helper()
	jobs := h.jobs()
	if len(jobs) != 1 {
		h.t.Fatalf("%d jobs: %+v", len(jobs), jobs)
	}
	return jobs[0]
}

func TestDebianTimer(t *testing.T) {
	h := newTree(t)
	h.timer("certbot", debianTimer, debianService)
	h.enable("certbot.timer")
	h.put("/etc/systemd/system/certbot.service.d/path.conf", "[Service]\nEnvironment=\"PATH=/opt/x:/usr/bin\" A=b\nUser=acme\n", 0o644)
	h.put("/usr/lib/systemd/system/service.d/all.conf", "[Unit]\nOnFailure=mail@%n.service\n", 0o644)
	last := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	h.put("/var/lib/systemd/timers/stamp-certbot.timer", "", 0o644)
	if err := os.Chtimes(h.root+"/var/lib/systemd/timers/stamp-certbot.timer", last, last); err != nil {
		t.Fatal(err)
	}
	got := h.job()
	want := Job{
		Kind: Timer, Client: "certbot", Name: "certbot.timer", Command: "/usr/bin/certbot -q renew --no-random-sleep-on-renew", Schedule: "OnCalendar=*-*-* 00,12:00:00",
		File: "/usr/lib/systemd/system/certbot.timer", Line: 5, User: "acme", Path: "/opt/x:/usr/bin", Enabled: true, Quiet: true,
		Sends: "OnFailure=mail@%n.service", Last: last, Every: 24 * time.Hour,
	}
	if len(got.Hooks) > 0 || !same(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func same(a, b Job) bool {
	a.Hooks, b.Hooks = nil, nil
	return strings.Join([]string{a.Client}, "") == b.Client && a.Kind == b.Kind && a.Name == b.Name && a.Command == b.Command && a.Schedule == b.Schedule &&
		a.File == b.File && a.Line == b.Line && a.User == b.User && a.Path == b.Path && a.Enabled == b.Enabled && a.Quiet == b.Quiet &&
		a.Sends == b.Sends && a.Last.Equal(b.Last) && a.Every == b.Every && a.Problem == b.Problem && a.Masked == b.Masked && a.Guarded == b.Guarded
}

func TestTimersThatDoNotRun(t *testing.T) {
	for _, row := range []struct {
		about   string
		change  func(tree)
		enabled bool
		masked  bool
		problem string // part of it
	}{
		{"it is in order", func(h tree) { h.enable("certbot.timer") }, true, false, ""},
		{"nothing starts it", func(tree) {}, false, false, ""},
		{"it is masked", func(h tree) {
			h.enable("certbot.timer")
			h.link("/etc/systemd/system/certbot.timer", "/dev/null")
		}, false, true, "masked by /etc/systemd/system/certbot.timer"},
		{"its service is masked by an empty file", func(h tree) {
			h.enable("certbot.timer")
			h.put("/etc/systemd/system/certbot.service", "", 0o644)
		}, true, false, "certbot.service is masked"},
		{"it is enabled under another name", func(h tree) {
			h.link("/etc/systemd/system/timers.target.wants/renew.timer", "/usr/lib/systemd/system/certbot.timer")
		}, true, false, ""},
		{"its program is gone", func(h tree) {
			h.enable("certbot.timer")
			if err := os.Remove(h.root + "/usr/bin/certbot"); err != nil {
				t.Fatal(err)
			}
		}, true, false, "/usr/bin/certbot"},
		{"its schedule is in a language of its own", func(h tree) {
			h.enable("certbot.timer")
			h.put("/etc/systemd/system/certbot.timer.d/when.conf", "[Timer]\nOnCalendar=\nOnCalendar=every full moon\n", 0o644)
		}, true, false, "when.conf:3: the schedule is not understood"},
		{"it elapses once", func(h tree) {
			h.enable("certbot.timer")
			h.put("/etc/systemd/system/certbot.timer.d/when.conf", "[Timer]\nOnCalendar=\nOnBootSec=5min\n", 0o644)
		}, true, false, "elapses only once"},
	} {
		h := newTree(t)
		h.timer("certbot", debianTimer, debianService)
		row.change(h)
		j := h.job()
		if j.Client != "certbot" || j.Enabled != row.enabled || j.Masked != row.masked || !strings.Contains(j.Problem, row.problem) || (row.problem == "") != (j.Problem == "") {
			t.Errorf("%s: %+v", row.about, j)
		}
	}
}

func TestDebianCronGivesWayToTheTimer(t *testing.T) {
	h := newTree(t)
	h.put("/etc/cron.d/certbot", debianCron, 0o644)
	j := h.job()
	if j.Guarded != "" || j.User != "root" || j.Line != 5 || j.Every != 24*time.Hour || !j.Quiet || j.Sends != "mail to root" || j.Problem != "" {
		t.Errorf("without systemd: %+v", j)
	}
	h.put("/run/systemd/system/x", "", 0o644)
	if j := h.job(); !strings.Contains(j.Guarded, "/run/systemd/system") {
		t.Errorf("with systemd: %+v", j)
	}
	h = newTree(t)
	h.put("/etc/cron.d/certbot", debianCron, 0o644)
	h.link("/sbin/init", "/lib/systemd/systemd")
	if j := h.job(); !strings.Contains(j.Guarded, "/run/systemd/system") {
		t.Errorf("in a tree that does not run, and would with systemd: %+v", j)
	}
}

func TestCronLines(t *testing.T) {
	for _, row := range []struct {
		about, file, text string
		mode              os.FileMode
		want              Job // of which Client, User, Every, Quiet, Force, Sends are compared
		problem           string
	}{
		{"certbot of root", "/var/spool/cron/crontabs/root", "17 3,15 * * * certbot renew --quiet --deploy-hook 'systemctl reload nginx'\n", 0o600, Job{Client: "certbot", User: "root", Every: 12 * time.Hour, Quiet: true, Sends: "mail to root"}, ""},
		{"forced each week, to nobody", "/etc/crontab", "MAILTO=\"\"\nPATH=/usr/bin\n@weekly root certbot renew --force-renewal\n", 0o644, Job{Client: "certbot", User: "root", Every: 7 * 24 * time.Hour, Force: true}, ""},
		{"acme.sh's own line", "/var/spool/cron/root", "7 0 * * * \"/root/.acme.sh\"/acme.sh --cron --home \"/root/.acme.sh\" > /dev/null\n", 0o600, Job{Client: "acme.sh", User: "root", Every: 24 * time.Hour, Sends: ">/dev/null"}, ""},
		{"lego", "/etc/cron.d/lego", "MAILTO=ops@example.com\nPATH=/usr/bin\n30 2 * * 1-5 www lego --path /x renew --renew-hook ./hook.sh\n", 0o644, Job{Client: "lego", User: "www", Every: 72 * time.Hour, Sends: "MAILTO=ops@example.com"}, ""},
		{"dehydrated by a script", "/etc/cron.daily/tls", "#!/bin/sh\nexec /usr/bin/dehydrated -c\n", 0o755, Job{Client: "dehydrated", User: "root", Every: 24 * time.Hour}, ""},
		{"a name with a dot is ignored", "/etc/cron.d/certbot.sh", "PATH=/usr/bin\n0 0 * * * root certbot renew\n", 0o644, Job{Client: "certbot", User: "root", Every: 24 * time.Hour, Sends: "mail to root"}, "ignores /etc/cron.d/certbot.sh"},
		{"a table that others may write is ignored", "/etc/cron.d/certbot", "PATH=/usr/bin\n0 0 * * * root certbot renew\n", 0o664, Job{Client: "certbot", User: "root", Every: 24 * time.Hour, Sends: "mail to root"}, "may write it"},
		{"a script with a dot in its name is left out", "/etc/cron.daily/certbot.sh", "#!/bin/sh\n/usr/bin/certbot renew\n", 0o755, Job{Client: "certbot", User: "root", Every: 24 * time.Hour}, "run-parts ignores"},
		{"a script that is not executable", "/etc/cron.weekly/certbot", "#!/bin/sh\n/usr/bin/certbot renew\n", 0o644, Job{Client: "certbot", User: "root", Every: 7 * 24 * time.Hour}, "not executable"},
		{"the last line has no newline", "/etc/cron.d/certbot", "PATH=/usr/bin\n0 0 * * * root certbot renew", 0o644, Job{Client: "certbot", User: "root", Every: 24 * time.Hour, Sends: "mail to root"}, "newline"},
		{"a percent ends the command", "/etc/cron.d/certbot", "PATH=/usr/bin\n0 0 * * * root certbot renew --cert-name a >>/var/log/a-$(date +%F)\n", 0o644, Job{Client: "certbot", User: "root", Every: 24 * time.Hour, Sends: "mail to root"}, "%"},
		{"only at the start", "/etc/cron.d/certbot", "PATH=/usr/bin\n@reboot root certbot renew\n", 0o644, Job{Client: "certbot", User: "root", Sends: "mail to root"}, "starts"},
		{"a schedule with a mistake", "/etc/cron.d/certbot", "PATH=/usr/bin\n0 25 * * * root certbot renew\n", 0o644, Job{Client: "certbot", User: "root", Sends: "mail to root"}, "not understood"},
		{"anacron", "/etc/anacrontab", "PATH=/usr/bin\n1 5 tls certbot renew\n", 0o644, Job{Client: "certbot", User: "root", Every: 24 * time.Hour, Sends: "mail to root"}, ""},
		{"the program lies outside PATH", "/etc/cron.d/step", "0 0 * * * root certbot-auto renew\n", 0o644, Job{Client: "certbot", User: "root", Every: 24 * time.Hour, Sends: "mail to root"}, "not found with PATH=/usr/bin:/bin; it is /snap/bin/certbot-auto"},
	} {
		h := newTree(t)
		h.put("/snap/bin/certbot-auto", "#!/bin/sh\n", 0o755)
		h.put(row.file, row.text, row.mode)
		j := h.job()
		if !strings.Contains(j.Problem, row.problem) || (row.problem == "") != (j.Problem == "") {
			t.Errorf("%s: its problem is %q", row.about, j.Problem)
		}
		if j.Client != row.want.Client || j.User != row.want.User || j.Every != row.want.Every || j.Quiet != row.want.Quiet || j.Force != row.want.Force || j.Sends != row.want.Sends || j.File != row.file || !j.Enabled {
			t.Errorf("%s: %+v", row.about, j)
		}
	}
}

func TestCronWithoutCron(t *testing.T) {
	h := newTree(t)
	if err := os.Remove(h.root + "/usr/sbin/cron"); err != nil {
		t.Fatal(err)
	}
	h.put("/var/spool/cron/crontabs/root", "0 0 * * * certbot renew\n", 0o600)
	if j := h.job(); !strings.Contains(j.Problem, "no cron is installed") {
		t.Errorf("%+v", j)
	}
}

func TestClientsThroughScripts(t *testing.T) {
	h := newTree(t)
	h.timer("tls", "[Timer]\nOnUnitActiveSec=6h\nOnBootSec=1min\n", "[Service]\nExecStart=/bin/sh -c 'exec /opt/tls/renew.sh --now'\n")
	h.enable("tls.timer")
	h.put("/opt/tls/renew.sh", "#!/bin/sh\nset -e\n/usr/bin/certbot renew -q --post-hook 'systemctl reload nginx'\n", 0o755)
	j := h.job()
	if j.Script != "/opt/tls/renew.sh" || j.Client != "certbot" || !j.Quiet || j.Every != 6*time.Hour || len(j.Hooks) != 1 || j.Hooks[0] != "systemctl reload nginx" {
		t.Errorf("%+v", j)
	}
}

func TestClientsInContainers(t *testing.T) {
	for command, want := range map[string]string{
		"docker compose -f /opt/x/compose.yml run --rm certbot renew && docker compose exec web nginx -s reload": "certbot",
		"docker run --rm -v /etc/letsencrypt:/etc/letsencrypt certbot/certbot renew -q":                          "certbot",
		"podman run --rm docker.io/certbot/dns-cloudflare:latest renew":                                          "certbot",
		"docker exec acme.sh --cron":                                 "acme.sh",
		"docker start certbot":                                       "certbot",
		"docker run certbot/certbot --help":                          "",
		"docker exec web nginx -s reload":                            "",
		"docker run --rm -v /etc/letsencrypt:/etc/certbot web renew": "",
	} {
		h := newTree(t)
		h.put("/usr/bin/docker", "", 0o755)
		h.put("/usr/bin/podman", "", 0o755)
		h.put("/etc/cron.d/renew", "PATH=/usr/bin\n0 3 * * * root "+command+"\n", 0o644)
		jobs, _ := lookBelow(h.root, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
		switch {
		case want == "" && len(jobs) > 0:
			t.Errorf("%s: is taken for %s", command, jobs[0].Client)
		case want != "" && (len(jobs) != 1 || jobs[0].Client != want || jobs[0].Problem != "" || jobs[0].Path != ""):
			t.Errorf("%s: %+v", command, jobs)
		}
	}
}

func TestScriptsThatGiveWayToALock(t *testing.T) {
	for _, row := range []struct{ about, before, lock string }{
		{"it ends where a file is there, and it is", "[ -e /srv/lock ] && exit 0\n", "/srv/lock"},
		{"the same in other words", "if test -f /srv/lock; then\n  exit\nfi\n", "/srv/lock"},
		{"the file is not there", "[ -e /srv/other ] && exit 0\n", ""},
		{"it ends where there is none", "[ -e /srv/lock ] || exit 0\n", ""},
		{"it ends for more than that", "[ -e /srv/lock -a -e /srv/other ] && exit 0\n", ""},
		{"the file's name is made", "[ -e \"/srv/$HOST\" ] && exit 0\n", ""},
		{"it says so, and goes on", "[ -e /srv/lock ] && echo locked\n", ""},
	} {
		h := newTree(t)
		h.put("/srv/lock", "", 0o644)
		h.put("/etc/cron.d/tls", "0 0 * * * root /opt/tls/renew.sh\n", 0o644)
		h.put("/opt/tls/renew.sh", "#!/bin/sh\n"+row.before+"/usr/bin/certbot renew -q\n[ -e /srv/lock ] && exit 1\n", 0o755)
		if j := h.job(); j.Lock != row.lock || (j.LockLine > 0) != (row.lock != "") || j.Guarded != "" {
			t.Errorf("%s: %+v", row.about, j)
		}
	}
}

func TestScriptsOfAShellNeedNoMode(t *testing.T) {
	for mode, problem := range map[string]string{"": "nobody may execute it", "/bin/sh ": ""} {
		h := newTree(t)
		h.put("/opt/tls/renew.sh", "/usr/bin/certbot renew\n", 0o644)
		h.put("/etc/cron.d/tls", "0 0 * * * root "+mode+"/opt/tls/renew.sh\n", 0o644)
		if j := h.job(); !strings.Contains(j.Problem, problem) || (problem == "") != (j.Problem == "") {
			t.Errorf("run as %q: %+v", mode, j)
		}
	}
}

func TestSnapAndServices(t *testing.T) {
	h := newTree(t)
	h.put("/etc/systemd/system/snap.certbot.renew.timer", "[Timer]\nUnit=snap.certbot.renew.service\nOnCalendar=*-*-* 05:41\nOnCalendar=*-*-* 17:10\n", 0o644)
	h.put("/etc/systemd/system/snap.certbot.renew.service", "[Service]\nExecStart=/usr/bin/snap run --timer=\"00:00~24:00/2\" certbot.renew\n", 0o644)
	h.put("/usr/bin/snap", "#!/bin/sh\n", 0o755)
	h.link("/etc/systemd/system/timers.target.wants/snap.certbot.renew.timer", "/etc/systemd/system/snap.certbot.renew.timer")
	h.put("/usr/lib/systemd/system/caddy.service", "[Service]\nUser=caddy\nExecStart=/usr/bin/caddy run --environ --config /etc/caddy/Caddyfile\n", 0o644)
	h.link("/etc/systemd/system/multi-user.target.wants/caddy.service", "/usr/lib/systemd/system/caddy.service")
	h.put("/usr/lib/systemd/system/traefik.service", "[Service]\nExecStart=/usr/bin/traefik\n", 0o644) // not enabled
	h.put("/etc/systemd/system/cert-renewer@.timer", "[Timer]\nOnCalendar=*:1/15\nRandomizedDelaySec=5m\n", 0o644)
	h.put("/etc/systemd/system/cert-renewer@.service", "[Service]\nExecStart=/usr/bin/step ca renew --force /etc/%i.crt /etc/%i.key\n", 0o644)
	h.link("/etc/systemd/system/timers.target.wants/cert-renewer@shop.timer", "../cert-renewer@.timer")
	jobs := map[string]Job{}
	for _, j := range h.jobs() {
		jobs[j.Name] = j
	}
	if j := jobs["snap.certbot.renew.timer"]; j.Kind != Snap || !j.Quiet || !j.Enabled || j.Every != 12*time.Hour+31*time.Minute {
		t.Errorf("snap: %+v", j)
	}
	if j := jobs["caddy.service"]; j.Kind != Loop || j.Client != "caddy" || j.User != "caddy" || !j.Enabled {
		t.Errorf("caddy: %+v", j)
	}
	if j := jobs["cert-renewer@shop.timer"]; j.Client != "step" || !j.Enabled || j.Every != 20*time.Minute || !strings.Contains(j.Command, "/etc/shop.crt") {
		t.Errorf("an instance: %+v", j)
	}
	if _, there := jobs["traefik.service"]; there {
		t.Error("a service that nothing starts is a job")
	}
}

func TestCommandsThatRenewNothing(t *testing.T) {
	h := newTree(t)
	h.put("/etc/cron.d/other", "0 0 * * * root certbot certificates\n0 0 * * * root echo certbot renew\n# 0 0 * * * root certbot renew\n0 0 * * * root ssh web2 certbot renew\n", 0o644)
	if jobs := h.jobs(); len(jobs) > 0 {
		t.Errorf("%+v", jobs)
	}
}

func TestEvery(t *testing.T) {
	day := 24 * time.Hour
	for _, row := range []struct {
		text string
		want time.Duration
	}{
		{"daily", day},
		{"hourly", time.Hour},
		{"weekly", 7 * day},
		{"minutely", time.Minute},
		{"monthly", 31 * day},
		{"quarterly", 92 * day},
		{"yearly", 365 * day},
		{"*-*-* 00,12:00:00", 12 * time.Hour},
		{"*-*-* 00/6:30", 6 * time.Hour},
		{"*:0/15", 15 * time.Minute},
		{"*-*-* 03:00:00 UTC", day},
		{"Mon,Thu 04:00", 4 * day},
		{"Mon..Fri 04:00", 3 * day},
		{"Fri..Sun *-*-* 4:00", 5 * day},
		{"*-*-1,15 00:00", 17 * day},
		{"*-*~1", 31 * day},
		{"2020-01-01", 0},
		{"04:00 Europe/Berlin", day},
		{"*-01,07-01", 184 * day},
		{"*-*-* *:00/30:00", 30 * time.Minute},
	} {
		c, err := parseCalendar(row.text)
		if err != nil {
			t.Errorf("%s: %v", row.text, err)
		} else if got := longest([]calendar{c}, time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)); got != row.want {
			t.Errorf("%s: every %v, want %v", row.text, got, row.want)
		}
	}
	for _, text := range []string{"", "sometimes", "25:00", "*-13-01", "1:2:3:4", "*-*-* 00:61", "Foo 00:00", "*:0/0", "Sat..Mon 4:00", "12..6:00"} {
		if _, err := parseCalendar(text); err == nil {
			t.Errorf("%q is understood", text)
		}
	}
}

func TestSpans(t *testing.T) {
	for _, row := range []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{"43200", 12 * time.Hour, false},
		{"12h", 12 * time.Hour, false},
		{"1h 30min", 90 * time.Minute, false},
		{"2 days", 48 * time.Hour, false},
		{"", 0, false},
		{"1.5h", 90 * time.Minute, false},
		{"soon", 0, true},
		{"5 parsecs", 0, true},
		{"99999999999999999999h", 0, true},
	} {
		if got, err := parseSpan(row.text); got != row.want || (err != nil) != row.bad {
			t.Errorf("%q: %v, %v", row.text, got, err)
		}
	}
}

func FuzzTables(f *testing.F) {
	h := newTree(f)
	for _, text := range []string{debianCron, debianTimer, "@daily root certbot renew", "0 0 1 1 0 certbot renew % x", "1 5 a certbot renew", "A=b\n=\n* * * * *", "0~9 0 * * mon-fri root lego renew"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tab := range []table{{path: "/x", system: true}, {path: "/x", user: "a"}, {path: "/x", anacron: true}} {
			tab.env = map[string]string{}
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); line == "" {
					continue
				}
				if e, ok := tab.entry(line); ok && e.command == "" {
					t.Errorf("a line without a command: %q", line)
				}
			}
		}
		if c, err := parseCalendar(text); err == nil && longest([]calendar{c}, time.Unix(0, 0)) < 0 {
			t.Errorf("%q elapses before it elapsed", text)
		}
		if d, err := parseSpan(text); err == nil && d < 0 {
			t.Errorf("%q lasts %v", text, d)
		}
		l := &looker{root: h.root}
		l.readCommand(&Job{}, text, runner{"a", "/usr/bin", "/"})
	})
}
