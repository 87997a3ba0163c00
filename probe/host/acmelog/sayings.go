package acmelog

import (
	"strings"

	"github.com/certmedic/certmedic"
)

// certbotSaying is a message of certbot that is known by its beginning.
type certbotSaying struct {
	words string
	take  func(p *certbotLog, r record, rest string) bool // whether that is what it was
}

// certbotSayings are the messages that tell how a run went. Those that begin alike stand with
// the longer one first.
var certbotSayings = []certbotSaying{
	{"certbot version: ", func(p *certbotLog, _ record, rest string) bool {
		p.run.Version = firstLine(rest)
		return true
	}},
	{"Root logging level set at 40", func(p *certbotLog, _ record, _ string) bool {
		p.run.Quiet = true
		return true
	}},
	{"Arguments: ", func(p *certbotLog, _ record, rest string) bool {
		p.arguments(rest)
		return true
	}},
	{"Processing ", turns},
	{"Writing new private key to ", turns},
	{"Writing certificate to ", turns},
	{"Writing new config ", func(p *certbotLog, r record, rest string) bool {
		p.at(firstLine(rest))
		if p.lineage != "" {
			n := p.renewal(p.lineage)
			n.Tree, n.Stored, n.At = p.tree, true, p.line(r)
		}
		return true
	}},
	{"Auto-renewal forced with --force-renewal", func(p *certbotLog, _ record, _ string) bool {
		p.run.Forced = true
		return true
	}},
	{"Dry run: skipping deploy hook command: ", func(p *certbotLog, r record, rest string) bool {
		p.run.DryRun = true
		p.run.Hooks = append(p.run.Hooks, Hook{Kind: "deploy", Command: told(rest, maxText), Lineage: p.lineage, Skipped: true, At: p.line(r)})
		return true
	}},
	{"Running ", startsHook},
	{"Hook command \"", endsHookOf0},
	{"Hook '", endsHook},
	{"Error output from ", hookWrote},
	{"pre-hook command \"", endsHookOf1},
	{"deploy-hook command \"", endsHookOf1},
	{"post-hook command \"", endsHookOf1},
	{"manual-auth-hook command \"", endsHookOf1},
	{"manual-cleanup-hook command \"", endsHookOf1},
	{"Certificate not yet due for renewal", notDue},
	{"Cert not yet due for renewal", notDue},
	{"Failed to renew certificate ", func(p *certbotLog, r record, rest string) bool {
		lineage, text, ok := strings.Cut(rest, " with error: ")
		if ok {
			p.failed(r, lineage, text)
		}
		return ok
	}},
	{"Attempting to renew cert (", func(p *certbotLog, r record, rest string) bool { // before 1.6
		lineage, rest, _ := strings.Cut(rest, ")")
		path, text, ok := strings.Cut(rest, " produced an unexpected error: ")
		if !ok {
			return false
		}
		p.at(strings.TrimPrefix(path, " from "))
		p.failed(r, lineage, strings.TrimSuffix(text, ". Skipping."))
		return true
	}},
	{"Renewal configuration file ", func(p *certbotLog, r record, rest string) bool {
		path, _, _ := strings.Cut(rest, " ")
		p.broken(r, path, r.text)
		return true
	}},
	{"An error occurred while parsing ", func(p *certbotLog, r record, rest string) bool {
		path, _, _ := strings.Cut(rest, ". The error was ")
		p.broken(r, path, r.text)
		return true
	}},
	{"The error was: ", func(p *certbotLog, _ record, rest string) bool {
		if !p.reported() || p.renewal(p.lineage).Result != Broken {
			return false
		}
		p.renewal(p.lineage).Detail += " " + said(strings.TrimSuffix(rest, "\nSkipping."))
		return true
	}},
	{"Successfully received certificate.", received},
	{"Congratulations! Your certificate and chain have been saved at", received},
	{" - Congratulations! Your certificate and chain have been saved at", received},
	{"no renewal failures", func(p *certbotLog, _ record, _ string) bool {
		p.ended = true
		return true
	}},
	{"Exiting abnormally:", func(p *certbotLog, _ record, _ string) bool {
		p.ended = true
		return true
	}},
	{"Certbot failed to authenticate some domains", reproaches},
	{refused, func(p *certbotLog, r record, _ string) bool { return p.refuse(r) }},
	{"The following errors were reported by the server:", reproaches},
	{"A lock on ", func(p *certbotLog, r record, rest string) bool {
		if !strings.Contains(rest, "is held by another process") {
			return false
		}
		p.note(r, certmedic.CauseLockHeld, r.text)
		return true
	}},
	{"Found a new certificate /archive/ that was not linked to in /live/", func(p *certbotLog, r record, _ string) bool {
		p.note(r, certmedic.CauseHookSkipped, p.lineage+": "+firstLine(r.text))
		return true
	}},
	{"An error occurred requesting ACME Renewal Information", func(p *certbotLog, r record, _ string) bool {
		p.note(r, certmedic.CauseUnknown, firstLine(r.text))
		return true
	}},
	{"Misconfigured PluginEntryPoint#", func(p *certbotLog, r record, _ string) bool {
		p.note(r, certmedic.CauseConfigTestFailed, r.text)
		return true
	}},
	{"", func(p *certbotLog, r record, _ string) bool { // how a run ends that failed
		ends := r.level == "ERROR" && (strings.HasSuffix(r.logger, ".log") || r.logger == "certbot.main")
		if ends {
			p.fatal(r, r.text)
		}
		return ends
	}},
}

func turns(p *certbotLog, _ record, rest string) bool {
	p.at(firstLine(rest))
	return true
}

func notDue(p *certbotLog, r record, _ string) bool {
	if p.lineage != "" {
		n := p.renewal(p.lineage)
		n.Result, n.At = NotDue, p.line(r)
	}
	return true
}

func reproaches(p *certbotLog, r record, _ string) bool { return p.reproach(r) }

// received takes what certbot says at the end of certonly and run.
func received(p *certbotLog, r record, _ string) bool {
	for number, line := range r.lines() {
		line = strings.TrimSpace(strings.TrimPrefix(line, "Certificate is saved at:"))
		if !strings.HasPrefix(line, "/") || !strings.HasSuffix(line, "/fullchain.pem") {
			continue
		}
		p.at(line)
		n := p.renewal(p.lineage)
		n.Tree, n.Result, n.Stored, n.At = p.tree, Renewed, true, p.place(number, line)
	}
	p.ended = true
	return true
}

// startsHook takes "Running deploy-hook command: COMMAND".
func startsHook(p *certbotLog, r record, rest string) bool {
	kind, command, ok := strings.Cut(rest, "-hook command: ")
	if !ok || strings.Contains(kind, " ") {
		return false
	}
	h := Hook{Kind: kind, Command: told(command, maxText), At: p.line(r)}
	if kind != "pre" && kind != "post" {
		h.Lineage = p.lineage
	}
	p.run.Hooks = append(p.run.Hooks, h)
	return true
}

// last returns the hook of a kind that was started last; any of them where the kind is empty.
func (p *certbotLog) last(kind string) *Hook {
	for i := len(p.run.Hooks) - 1; i >= 0; i-- {
		if h := &p.run.Hooks[i]; kind == "" || h.Kind == kind {
			return h
		}
	}
	return nil
}

// endsHook takes what certbot says since 1.16: "Hook 'deploy-hook' reported error code 3" and
// "... ran with error output:".
func endsHook(p *certbotLog, r record, rest string) bool {
	name, rest, _ := strings.Cut(rest, "'")
	h := p.last(strings.TrimSuffix(strings.TrimLeft(name, "-"), "-hook"))
	if h == nil {
		return false
	}
	if strings.Contains(firstLine(rest), " ran with error output:") {
		h.Stderr = outdented(afterFirst(rest))
	} else if strings.Contains(firstLine(rest), " reported error code ") {
		p.fails(h, r, rest)
	}
	return true
}

// endsHookOf1 takes what certbot said up to 1.15: `deploy-hook command "COMMAND" returned error
// code 3`.
func endsHookOf1(p *certbotLog, r record, _ string) bool {
	kind, rest, _ := strings.Cut(r.text, "-hook command ")
	if h := p.last(kind); h != nil && strings.Contains(rest, "\" returned error code ") {
		p.fails(h, r, r.text)
		return true
	}
	return false
}

// endsHookOf0 takes what certbot said before 1.0: `Hook command "COMMAND" returned error code
// 3`. It said nothing when it started those of the manual plugin.
func endsHookOf0(p *certbotLog, r record, rest string) bool {
	command, _, ok := strings.Cut(rest, "\" returned error code ")
	if !ok {
		return false
	}
	h := p.last("")
	if h == nil || h.Command != told(command, maxText) {
		p.run.Hooks = append(p.run.Hooks, Hook{Kind: "manual", Command: told(command, maxText), Lineage: p.lineage, Ended: true, At: p.line(r)})
		h = p.last("")
	}
	p.fails(h, r, r.text)
	return true
}

// hookWrote takes "Error output from deploy-hook command NAME:" of 1.x and "Error output from
// NAME:" of 0.x.
func hookWrote(p *certbotLog, r record, _ string) bool {
	if h := p.last(""); h != nil {
		h.Stderr = told(afterFirst(r.text), maxOutput)
	}
	return true
}

func (p *certbotLog) fails(h *Hook, r record, text string) {
	h.Failed, h.Result = true, p.line(r)
	h.ExitCode, _ = exitCode(text)
}

// outdented takes away the blank that certbot puts before each line.
func outdented(text string) string {
	return told(strings.TrimPrefix(strings.ReplaceAll(text, "\n ", "\n"), " "), maxOutput)
}
