package gather

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/script"
)

// systemdPath is the PATH of a service that sets none, see systemd.exec(5).
const systemdPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// reading reads hooks, each once however many lineages it is run for.
type reading struct {
	look  *look
	job   schedule.Job // that runs certbot
	found map[hookKey]int
	all   []audit.Hook
	more  bool // there are more than are read
}

// maxHooks bounds the hooks that are read.
const maxHooks = 2000

type hookKey struct{ kind, command, at string }

// hooks reads the hooks of every lineage as the job that renews it would find them.
func (l *look) hooks() func() {
	r := &reading{look: l, found: map[hookKey]int{}, job: schedule.Job{Path: systemdPath}}
	for _, j := range l.f.Jobs {
		if j.Client == "certbot" && j.Enabled && !j.Masked && j.Guarded == "" && j.Path != "" {
			r.job = j
			break
		}
	}
	count := map[string]int{}
	for _, one := range l.f.Lineages {
		count[one.Tree]++
	}
	for i := range l.f.Lineages {
		if one := &l.f.Lineages[i]; one.Client == "certbot" {
			r.of(one, count[one.Tree] > 1)
		}
	}
	r.ofJobs()
	return func() {
		if l.f.Hooks = r.all; r.more {
			l.miss("the hooks", fmt.Sprintf("there are more than %d, which are all that were read", maxHooks))
		}
	}
}

// of reads the hooks of a lineage.
func (r *reading) of(one *audit.Lineage, several bool) {
	src := certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: one.Tree, Lineage: one.Name}
	for _, kind := range []struct {
		name string
		list func(certmedic.Source) ([]disk.Hook, []certmedic.Finding)
	}{{script.Pre, disk.PreHooks}, {script.Deploy, disk.DeployHooks}, {script.Post, disk.PostHooks}} {
		hooks, findings := kind.list(src)
		for _, h := range hooks {
			at := source(one.Tree, h)
			shared := several && (h.FromDir || strings.HasPrefix(h.Source, "cli.ini"))
			r.take(one.ID(), hookKey{kind.name, h.Command, at.File + ":" + strconv.Itoa(at.Line)}, func() audit.Hook {
				return audit.Hook{Place: at, FromDir: h.FromDir, Script: r.read(h, r.environment(kind.name, shared))}
			})
		}
		for _, f := range findings {
			file, why, ok := strings.Cut(f.Detail, ": ")
			if !ok || f.Code != certmedic.FilePermissions || mayRun(file, why) {
				continue
			}
			r.take(one.ID(), hookKey{kind.name, file, file}, func() audit.Hook {
				return audit.Hook{Place: audit.Place{File: file}, Skipped: why, FromDir: true}
			})
		}
	}
}

// mayRun reports whether a hook is skipped only for the user who looks: certbot runs as root.
func mayRun(file, why string) bool {
	info, err := os.Stat(file)
	return err == nil && strings.Contains(why, "not executable") && info.Mode()&0o111 != 0
}

// take adds a lineage to a hook, which is read where it is new.
func (r *reading) take(lineage audit.ID, key hookKey, read func() audit.Hook) {
	i, ok := r.found[key]
	if !ok && len(r.all) >= maxHooks {
		r.more = true
		return
	}
	if !ok {
		i = len(r.all)
		h := read()
		h.Kind, h.Command = key.kind, key.command
		if h.Skipped == "" && h.Script.Path != "" {
			h.Writable = r.look.writable(h.Script.Path)
		}
		r.found[key], r.all = i, append(r.all, h)
	}
	r.all[i].Lineages = append(r.all[i].Lineages, lineage)
}

// source returns where a hook is set.
func source(tree string, h disk.Hook) audit.Place {
	if h.FromDir {
		return audit.Place{File: h.Path}
	}
	file, line, _ := strings.Cut(h.Source, ":")
	n, _ := strconv.Atoi(line) // one without a line is of the whole file
	return audit.Place{File: filepath.Join(tree, file), Line: n}
}

func (r *reading) environment(kind string, shared bool) script.Environment {
	e := script.Environment{Path: r.job.Path, Kind: kind, Shared: shared, User: r.job.User}
	switch kind {
	case script.Deploy:
		e.Variables = []string{"RENEWED_LINEAGE", "RENEWED_DOMAINS"}
	case script.Post:
		e.Variables = []string{"RENEWED_DOMAINS", "FAILED_DOMAINS"}
	}
	return e
}

// read reads a hook: a script that is called by its path, else the command line itself.
func (r *reading) read(h disk.Hook, e script.Environment) script.Script {
	if h.FromDir {
		return script.Read(h.Path, e)
	}
	if h.Path != "" {
		if s := script.Read(h.Path, e); s.Language != "binary" && s.Language != "" {
			return s
		}
	}
	return script.Parse(h.Command, e)
}

// ofJobs reads the hooks that jobs give on the command line, which hold for all lineages.
func (r *reading) ofJobs() {
	var all []audit.ID
	for i := range r.look.f.Lineages {
		if one := &r.look.f.Lineages[i]; one.Client == "certbot" {
			all = append(all, one.ID())
		}
	}
	for _, j := range r.look.f.Jobs {
		if j.Client != "certbot" || !j.Enabled || j.Masked || j.Guarded != "" || len(all) == 0 {
			continue
		}
		for _, text := range j.Hooks {
			e := script.Environment{Path: j.Path, User: j.User, Variables: []string{"RENEWED_LINEAGE", "RENEWED_DOMAINS", "FAILED_DOMAINS"}}
			h := audit.Hook{Kind: "job", Command: text, Place: audit.Place{File: j.File, Line: j.Line}, Script: r.read(disk.Hook{Command: text, Path: programOf(text)}, e), Lineages: all}
			if !slices.ContainsFunc(r.all, func(o audit.Hook) bool { return o.Kind == h.Kind && o.Command == text && o.Place == h.Place }) {
				r.all = append(r.all, h)
			}
		}
	}
}

// programOf returns the path that a command line begins with; empty where it does not.
func programOf(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	if !filepath.IsAbs(first) || strings.ContainsAny(first, "'\"$`;&|") {
		return ""
	}
	return first
}
