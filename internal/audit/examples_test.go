package audit

import (
	"net/netip"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/script"
	"github.com/certmedic/certmedic/probe/host/service"
)

func addr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// examples are those of every check.
func examples() []example {
	var all []example
	for _, some := range [][]example{renewalExamples(), moreRenewalExamples(), hookExamples(), scheduleExamples(), serviceExamples(), moreServiceExamples(), parameterExamples(), fileExamples(), monitoringExamples()} {
		all = append(all, some...)
	}
	for code := range script.Codes() {
		if code == "missing_program" {
			continue
		}
		all = append(all, example{"hook-" + strings.ReplaceAll(code, "_", "-"), func(f *Facts) {
			h := hook("systemctl reload nginx")
			h.Script.Lints = []script.Lint{{Code: code, Line: 1, Text: "line", Why: "it hurts", Fix: "mend it"}}
			f.Hooks = []Hook{h}
		}, func(f *Facts) { f.Hooks = []Hook{hook("systemctl reload nginx")} }})
	}
	return all
}

func renewalExamples() []example {
	return []example{
		{"lineage-broken", func(f *Facts) { f.Lineages[0].Broken = []string{"renewal/shop.conf: the section is missing"} }, nil},
		{"lineage-inconsistent", func(f *Facts) { f.Lineages[0].Odd = []string{"live/shop points to different versions"} }, nil},
		{"lineage-without-configuration", func(f *Facts) { f.Trees[0].Orphans = []string{"old"} }, nil},
		{"autorenew-off", func(f *Facts) { f.Lineages[0].Conf.Autorenew = false; set(f, "autorenew", "False") }, func(f *Facts) { set(f, "autorenew", "True") }},
		{
			"manual-without-hook", func(f *Facts) { authenticator(f, "manual") },
			func(f *Facts) { authenticator(f, "manual"); set(f, "manual_auth_hook", "/root/place") },
		},
		{
			"webroot-unusable", func(f *Facts) { f.Lineages[0].Webroots[0].Problem = "does not exist" },
			func(f *Facts) { authenticator(f, "nginx"); f.Lineages[0].Webroots[0].Problem = "does not exist" },
		},
		{
			"standalone-port-taken", func(f *Facts) { authenticator(f, "standalone"); f.Processes = listening("nginx", "80") },
			func(f *Facts) {
				authenticator(f, "standalone")
				set(f, "http01_port", "8080")
				f.Processes = listening("nginx", "80")
			},
		},
		{
			"plugin-missing", func(f *Facts) { authenticator(f, "dns-cloudflare") },
			func(f *Facts) {
				authenticator(f, "dns-cloudflare")
				f.Clients.Plugins = append(f.Clients.Plugins, "dns-cloudflare")
			},
		},
		{
			"credentials-missing", func(f *Facts) {
				f.Lineages[0].Credentials = []Credential{{Path: "/root/cf.ini", Place: Place{confFile, 9}, Missing: true}}
			},
			func(f *Facts) {
				f.Lineages[0].Credentials = []Credential{{Path: "/root/cf.ini", Place: Place{confFile, 9}}}
			},
		},
		{"account-missing", func(f *Facts) {
			f.Lineages[0].Account = Account{ID: "0123", Path: dir + "/accounts/x/0123", Missing: true}
		}, nil},
		{"staging-server", func(f *Facts) { f.Lineages[0].Conf.Server = "https://acme-staging-v02.api.letsencrypt.org/directory" }, nil},
	}
}

func attempt(word acmelog.Word) func(*Facts) {
	return func(f *Facts) {
		f.Lineages[0].Attempt = acmelog.Attempt{Word: word, At: acmelog.Line{File: "/var/log/letsencrypt/letsencrypt.log", Number: 40, Text: "it says so"}}
	}
}

// twin adds a lineage for the same names.
func twin(f *Facts, key string, ends time.Duration) {
	l := lineage("shop-0001", "shop.example.com")
	l.Stored.Chain[0].KeyType, l.Stored.Chain[0].NotAfter = key, noon().Add(ends)
	f.Lineages = append(f.Lineages, l)
}

func moreRenewalExamples() []example {
	return []example{
		{"certificate-expired", func(f *Facts) { leaf(f).NotAfter = noon().Add(-time.Hour) }, nil},
		{"renewal-overdue", func(f *Facts) { f.Lineages[0].Due = noon().Add(-time.Hour) }, nil},
		{"renewal-failed", attempt(acmelog.AttemptFailed), attempt(acmelog.AttemptNotDue)},
		{"deploy-hook-failed", attempt(acmelog.AttemptHookFailed), attempt(acmelog.AttemptOK)},
		{"duplicate-lineage", func(f *Facts) { twin(f, "ec256", 80*aDay) }, func(f *Facts) { twin(f, "rsa2048", 80*aDay) }},
		{
			"renew-before-expiry",
			func(f *Facts) {
				lives(f, 6*aDay)
				f.Lineages[0].Conf.Top["renew_before_expiry"] = disk.Setting{Values: []string{"30 days"}, Line: 3}
			},
			func(f *Facts) { lives(f, 6*aDay); f.Lineages[0].Conf.Top = param("version", "5.1.0") },
		},
		{
			"renew-before-expiry", // by the default of an old certbot
			func(f *Facts) { lives(f, 6*aDay) },
			func(f *Facts) {
				f.Lineages[0].Conf.Top["renew_before_expiry"] = disk.Setting{Values: []string{"21 days"}, Line: 3}
			},
		},
		{"must-staple", func(f *Facts) { set(f, "must_staple", "True") }, func(f *Facts) {
			set(f, "must_staple", "True")
			f.Lineages[0].Conf.Server, f.Lineages[0].Stored.Directory = "https://ca.example.com/acme", ""
		}},
	}
}

func hookExamples() []example {
	file := func(name, skipped string) Hook {
		return Hook{Kind: "deploy", Command: name, Place: Place{File: name}, Skipped: skipped, FromDir: true}
	}
	broken := func(kind string) func(*Facts) {
		return func(f *Facts) {
			h := hook("systemctl reload nginx")
			h.Script.Problems = []script.Problem{{Kind: kind, Line: 1, Text: "it is wrong", Fix: "sed -i s/x/y/ file"}}
			f.Hooks = []Hook{h}
		}
	}
	needs := func(p script.Program) func(*Facts) {
		return func(f *Facts) {
			h := hook("systemctl reload nginx")
			h.Script.Programs = []script.Program{p}
			f.Hooks = []Hook{h}
		}
	}
	return []example{
		{
			"hook-skipped", func(f *Facts) {
				f.Hooks = []Hook{file("/etc/letsencrypt/renewal-hooks/deploy/a", "hook not executable")}
			},
			func(f *Facts) { f.Hooks = []Hook{file("/x/a~", "hook's name ends with ~"), file("/x/a", "")} },
		},
		{
			"hook-skipped", func(f *Facts) { f.Hooks = []Hook{file("/x/reload.sh", "hook not executable")} },
			func(f *Facts) {
				f.Hooks = []Hook{file("/x/README", "hook not executable"), file("/x/.gitkeep", "hook not executable"), file("/x/reload.sh.disabled", "hook not executable")}
			},
		},
		{"hook-misplaced", func(f *Facts) { f.Trees[0].Misplaced = []string{dir + "/renewal-hooks/reload.sh"} }, nil},
		{"hook-wrong-key", func(f *Facts) { set(f, "deploy-hook", "systemctl reload nginx") }, func(f *Facts) { set(f, "renew_hook", "systemctl reload nginx") }},
		{
			"hook-wrong-key", func(f *Facts) { f.Lineages[0].Conf.Top["renew_hook"] = disk.Setting{Values: []string{"x"}, Line: 2} }, nil,
		},
		{"hook-old-key", func(f *Facts) { set(f, "deploy_hook", "x") }, func(f *Facts) { set(f, "renew_hook", "x") }},
		{
			"hooks-switched-off", func(f *Facts) { f.Trees[0].Hooked, f.Trees[0].Ini.NoDirHooks = true, true },
			func(f *Facts) { f.Trees[0].Ini.NoDirHooks = true },
		},
		{"hook-cannot-run", broken("crlf"), broken("name")},
		{"hook-missing-program", needs(script.Program{Name: "rsync", Line: 1}), needs(script.Program{Name: "rsync", Line: 1, Optional: true})},
		{
			"hook-writable", func(f *Facts) {
				h := hook("/root/h")
				h.Writable = []Writable{{Path: "/root/h", Problem: "/root/h may be written by others", Fix: "chmod go-w /root/h"}}
				f.Hooks = []Hook{h}
			}, nil,
		},
	}
}

// timer changes the timer of the healthy host.
func timer(change func(*schedule.Job)) func(*Facts) {
	return func(f *Facts) { change(&f.Jobs[1]) }
}

func scheduleExamples() []example {
	second := func(j schedule.Job) func(*Facts) {
		j.Client, j.Kind, j.Name, j.File, j.Line = "certbot", schedule.Cron, "root", "/var/spool/cron/crontabs/root", 3
		return func(f *Facts) { f.Jobs = append(f.Jobs, j) }
	}
	return []example{
		{"no-job", timer(func(j *schedule.Job) { j.Enabled = false }), func(f *Facts) {
			f.Jobs = nil
			f.Own.Certificates = []certmedic.Certificate{{
				Source: certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: dir, Lineage: "shop"}, Mode: certmedic.ModeAuto, Allow: []certmedic.ActionKind{certmedic.ActionRenew},
			}}
		}},
		{"job-unable", timer(func(j *schedule.Job) { j.Masked, j.Problem = true, "certbot.timer is masked" }), timer(func(j *schedule.Job) { j.Problem = "the schedule is not understood" })},
		{
			"job-unable", timer(func(j *schedule.Job) { j.Masked, j.Problem = true, "certbot.timer is masked" }), // in favour of a line of cron
			func(f *Facts) {
				f.Jobs[0].Guarded = ""
				f.Jobs[1].Masked, f.Jobs[1].Problem = true, "certbot.timer is masked"
			},
		},
		{"no-job", func(f *Facts) { f.Jobs = nil }, func(f *Facts) {
			f.Jobs = nil
			f.Processes.Processes = []process.Process{{PID: 9, Argv: []string{"/bin/sh", "-c", "while :; do certbot renew; sleep 12h & wait $!; done"}}}
		}},
		{"timer-stopped", func(f *Facts) { f.Units[0].Active = "inactive" }, nil},
		{"several-jobs", second(schedule.Job{Enabled: true, Command: "certbot renew"}), second(schedule.Job{Enabled: true, Command: "certbot renew --cert-name other"})},
		{"job-forces", timer(func(j *schedule.Job) { j.Force = true }), second(schedule.Job{Force: true})},
		{"job-rehearses", timer(func(j *schedule.Job) { j.DryRun = true }), second(schedule.Job{Enabled: true, DryRun: true})},
		{"job-late", timer(func(j *schedule.Job) { j.Last = noon().Add(-5 * aDay) }), nil},
		{"job-too-rare", func(f *Facts) { lives(f, 2*aDay) }, func(f *Facts) { lives(f, 6*aDay) }},
		{"ari-window-missed", func(f *Facts) { lives(f, 6*aDay) }, func(f *Facts) { lives(f, 6*aDay); f.Jobs[1].Every = time.Hour }},
		{"job-quiet", func(*Facts) {}, func(f *Facts) { f.Own.Running = true }},
		{"job-quiet", func(*Facts) {}, timer(func(j *schedule.Job) { j.Sends = "OnFailure=mail.service" })},
	}
}

func serviceExamples() []example {
	use := func(change func(*Used)) func(*Facts) { return func(f *Facts) { change(&f.Used[0]) } }
	return []example{
		{"no-reload", func(f *Facts) { unhooked(f) }, func(f *Facts) { unhooked(f, hook("systemctl reload nginx")) }},
		{"no-reload", func(f *Facts) { unhooked(f, hook("touch /tmp/x")) }, func(f *Facts) { unhooked(f, hook("/usr/local/lib/deploy --all")) }},
		{"no-reload", func(f *Facts) { unhooked(f, hook("ssh web2 systemctl reload nginx")) }, func(f *Facts) {
			unhooked(f)
			f.Elsewhere = []Mention{{"0 4 * * * root systemctl reload nginx", Place{"/etc/cron.d/nginx", 1}}}
		}},
		{"wrong-reload", func(f *Facts) { unhooked(f, hook("systemctl reload apache2")) }, func(f *Facts) { unhooked(f, hook("systemctl reload apache2 nginx")) }},
		{"no-deploy-hook", func(f *Facts) { unhooked(f); f.Used = nil }, func(f *Facts) { unhooked(f, hook("touch /srv/x")); f.Used = nil }},
		{"uses-archive", use(func(u *Used) { u.Lead, u.Path = LeadPinned, dir+"/archive/shop/fullchain1.pem" }), nil},
		{"uses-missing", use(func(u *Used) { u.Lead = LeadMissing }), nil},
		{"uses-old-lineage", func(f *Facts) { twin(f, "ec256", 85*aDay) }, func(f *Facts) { twin(f, "ec256", 20*aDay) }},
		{
			"uses-unrenewed", func(f *Facts) {
				f.Trees[0].Orphans = []string{"old"}
				f.Used[0] = Used{Path: dir + "/live/old/fullchain.pem", Place: Place{"/etc/nginx/nginx.conf", 4}, Lead: LeadForeign}
			}, nil,
		},
	}
}

func moreServiceExamples() []example {
	copied := func(stale bool, hooks ...Hook) func(*Facts) {
		return func(f *Facts) {
			unhooked(f, hooks...)
			f.Used[0].Lead, f.Used[0].Path, f.Used[0].Stale = LeadCopy, "/etc/ssl/shop.pem", stale
		}
	}
	mapped := func(made time.Time, hooks ...Hook) func(*Facts) {
		return func(f *Facts) {
			f.Hooks = hooks
			f.Services = append(f.Services, service.Service{Kind: service.Postfix, Conf: "/etc/postfix/main.cf", Maps: []service.Map{{
				Source: "/etc/postfix/sni", Made: "/etc/postfix/sni.db", ModTime: made, Holds: true, Names: []string{dir + "/live/shop/fullchain.pem"},
				Make: []string{"postmap", "-F", "hash:/etc/postfix/sni"}, File: "/etc/postfix/main.cf", Line: 12,
			}}})
		}
	}
	problem := func(sure bool) func(*Facts) {
		return func(f *Facts) {
			f.Services[0].Problems = []service.Problem{{File: "/etc/nginx/sites-enabled/blog", Line: 4, Text: `unknown directive "lsten"`, Sure: sure}}
		}
	}
	denied := func(sure bool) func(*Facts) {
		return func(f *Facts) {
			f.Denials = []Denial{{User: "www-data", Path: dir + "/live/shop/privkey.pem", Place: Place{"/etc/nginx/nginx.conf", 4}, Denial: access.Denial{Path: dir + "/live", By: access.Mode, Why: "drwx------ root:root", Sure: sure}}}
		}
	}
	fresh := noon().Add(-29 * aDay)
	return []example{
		{"copy-stale", copied(true), copied(false)},
		{"copy-without-hook", copied(false, hook("systemctl reload nginx")), copied(false, hook("cp -L $RENEWED_LINEAGE/fullchain.pem /etc/ssl/shop.pem && systemctl reload nginx"))},
		{"map-stale", mapped(noon().Add(-40 * aDay)), mapped(fresh)},
		{"map-without-hook", mapped(fresh), mapped(fresh, hook("postmap -F hash:/etc/postfix/sni && systemctl reload postfix"))},
		{"configuration-refused", problem(true), problem(false)},
		{"key-unreadable", denied(true), denied(false)},
	}
}

// setting changes what nginx has for its server.
func configured(kind service.Kind, name string, values ...string) func(*Facts) {
	return func(f *Facts) {
		f.Services[0].Kind = kind
		f.Services[0].Settings = append(f.Services[0].Settings, service.Setting{Name: name, Values: values, Where: "server shop", File: "/etc/x.conf", Line: 9})
	}
}

func parameterExamples() []example {
	return []example{
		{"weak-key", func(f *Facts) { leaf(f).KeyType = "rsa1024" }, func(f *Facts) { leaf(f).KeyType = "rsa2048" }},
		{"weak-key", func(f *Facts) { leaf(f).KeyType = "ec224" }, func(f *Facts) { leaf(f).KeyType = "ed25519" }},
		{"weak-signature", func(f *Facts) { f.Lineages[0].Leaf = Leaf{Signature: "SHA1-RSA", Weak: true} }, nil},
		{
			"must-staple-unstapled", func(f *Facts) { f.Lineages[0].Leaf.MustStaple = true },
			func(f *Facts) {
				f.Lineages[0].Leaf.MustStaple, f.Lineages[0].Leaf.OCSP = true, []string{"http://ocsp.example.com"}
			},
		},
		{
			"stapling-without-responder", configured(service.Nginx, "ssl_stapling", "on"),
			func(f *Facts) { configured(service.Nginx, "ssl_stapling", "on")(f); f.Used[0].OCSP = true },
		},
		{"old-protocol", configured(service.Nginx, "ssl_protocols", "TLSv1.1", "TLSv1.2"), configured(service.Nginx, "ssl_protocols", "TLSv1.2")},
		{"old-protocol", configured(service.Apache, "SSLProtocol", "all", "-SSLv3"), configured(service.Apache, "SSLProtocol", "all", "-SSLv3", "-TLSv1", "-TLSv1.1")},
		{"old-protocol", configured(service.HAProxy, "ssl-default-bind-options", "ssl-min-ver", "TLSv1.0"), configured(service.HAProxy, "ssl-min-ver", "TLSv1.2")},
		{"old-protocol", configured(service.Dovecot, "ssl_min_protocol", "TLSv1"), configured(service.Dovecot, "ssl_min_protocol", "TLSv1.2")},
		{"old-protocol", configured(service.Postfix, "smtpd_tls_protocols", ">=SSLv3"), configured(service.Postfix, "smtpd_tls_protocols", "!SSLv2", "!SSLv3")},
		{"weak-cipher", configured(service.Nginx, "ssl_ciphers", "HIGH:RC4-SHA"), configured(service.Nginx, "ssl_ciphers", "HIGH:!RC4")},
		{"weak-cipher", configured(service.Postfix, "smtpd_tls_mandatory_ciphers", "export"), configured(service.Postfix, "smtpd_tls_mandatory_ciphers", "high")},
	}
}

func fileExamples() []example {
	disk := func(free uint64, inodes bool) func(*Facts) {
		return func(f *Facts) { f.Disks[0].Free, f.Disks[0].Inodes = free, inodes }
	}
	credential := func(open bool) func(*Facts) {
		return func(f *Facts) {
			f.Lineages[0].Credentials = []Credential{{Path: "/root/cf.ini", Place: Place{confFile, 9}, Facts: access.Facts{Path: "/root/cf.ini", Mode: 0o644, OthersRead: open}}}
		}
	}
	return []example{
		{"key-readable", func(f *Facts) { f.Lineages[0].Key.OthersRead = true }, nil},
		{"credentials-readable", credential(true), credential(false)},
		{"tree-open", func(f *Facts) { f.Trees[0].Folders[0].Mode = 0o755 }, func(f *Facts) { f.Trees[0].Folders[0].Mode = 0o750 }},
		{"configuration-writable", func(f *Facts) { f.Trees[0].Writable = []Writable{{confFile, "may be written by others", "chmod go-w"}} }, nil},
		{"logs-missing", func(f *Facts) { f.Logs[0].Missing = true }, nil},
		{"logs-short", func(f *Facts) { f.Logs[0].Rotated.Keeps = 28 * aDay }, func(f *Facts) { lives(f, 6*aDay); f.Logs[0].Rotated.Keeps = 7 * aDay }},
		{"logs-endless", func(f *Facts) { f.Logs[0].Rotated = nil }, nil},
		{"disk-full", disk(1<<20, true), disk(60<<20, true)},
		{"disk-full", disk(1<<30, false), disk(10<<20, true)},
		{"disk-nearly-full", disk(20<<20, true), disk(2<<30, true)},
		{"clock-unsynchronised", func(f *Facts) { f.Clock.Synced = false }, func(f *Facts) { f.Clock = Clock{} }},
	}
}

func monitoringExamples() []example {
	own := func(kind string, change func(*Own)) func(*Facts) {
		return func(f *Facts) {
			f.Own = Own{File: "/etc/certmedic/certmedic.yml", Running: true, Discovers: []string{dir}, Receivers: []Receiver{{Name: "ops", Kind: kind}}, Snapshots: 1}
			if change != nil {
				change(&f.Own)
			}
		}
	}
	return []example{
		{"unmonitored", func(*Facts) {}, func(f *Facts) { f.Own.Exporters = []string{"ssl_exporter.service"} }},
		{"configuration-invalid", own("slack", func(o *Own) { o.Problem = "unknown key" }), own("slack", nil)},
		{"daemon-stopped", own("slack", func(o *Own) { o.Running = false }), own("slack", nil)},
		{"unwatched-lineage", own("slack", func(o *Own) { o.Discovers = nil }), own("slack", nil)},
		{"told-to-log-only", own("log", nil), own("slack", nil)},
		{"no-snapshot", func(*Facts) {}, own("slack", nil)},
		{"snapshot-broken", own("slack", func(o *Own) { o.Broken = 1 }), own("slack", nil)},
	}
}
