package script

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// keyName matches the names of files that hold a private key.
var keyName = regexp.MustCompile(`(?i)privkey|private|[._-]key\b|\bkey\.pem|/key$`)

func holdsKey(paths ...string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return keyName.MatchString(p) && !strings.Contains(p, ".pub") })
}

// keyTargets returns the copies that put a private key somewhere, as far as it shows.
func (e *evidence) keyTargets() []copied {
	var all []copied
	for _, m := range e.copies {
		folder := len(m.From) == 1 && livePath.MatchString(m.From[0]) && !strings.HasSuffix(m.From[0], ".pem") // all of a lineage
		if holdsKey(m.From...) || folder || slices.ContainsFunc(m.From, func(f string) bool { return strings.HasSuffix(f, "*.pem") || strings.HasSuffix(f, "/*") }) {
			all = append(all, m)
		}
	}
	return all
}

func sharedTmp(e *evidence) []Lint {
	var found []Lint
	for _, m := range e.keyTargets() {
		_, to, remote := strings.Cut(m.To, ":")
		if !remote {
			to = m.To
		}
		if to == "/tmp" || strings.HasPrefix(to, "/tmp/") || strings.HasPrefix(to, "/var/tmp") {
			found = append(found, at(m.call))
		}
	}
	return found
}

// openMode matches modes that let others read.
var openMode = regexp.MustCompile(`^0?[0-7]{2}[4-7]$|^(?:[ugo]*[oa][ugo]*|)\+[wx]*r[wxX]*$|^[ugoa,rwx=+]*o\+?=?r`)

func openKey(e *evidence) []Lint {
	targets := e.keyTargets()
	var found []Lint
	for i, c := range e.calls {
		if c.name() != "chmod" || len(c.argv) < 3 || e.closedLater(i) {
			continue
		}
		plain, options := operands(c.argv[1:], "")
		if len(plain) < 2 || !openMode.MatchString(plain[0]) {
			continue
		}
		if slices.ContainsFunc(plain[1:], func(p string) bool { return opens(p, has(options, "R", "--recursive"), targets) }) {
			l := at(c)
			l.Fix = "chmod 640 it, and chgrp it to the group of the service that reads it"
			found = append(found, l)
		}
	}
	for _, m := range targets {
		if e.writesOpen(m) {
			l := at(m.call)
			l.Why = "the file is made with the usual mode of 0644, and it holds the private key: whoever can log in to this host can take it."
			l.Fix = "put umask 077 before it"
			found = append(found, l)
		}
		if mode := modeOf(m); m.Verb == "install" && holdsKey(m.From...) && openMode.MatchString(mode) {
			l := at(m.call)
			l.Fix = "install -m 640 in place of -m " + mode
			found = append(found, l)
		}
	}
	return found
}

// opens reports whether a path of a chmod is a key, or a place where keys were copied to.
func opens(p string, recursive bool, targets []copied) bool {
	if holdsKey(p) {
		return true
	}
	if recursive && livePath.MatchString(p+"/") || recursive && strings.Contains(p, "letsencrypt/archive") {
		return true
	}
	for _, m := range targets {
		folder := strings.TrimSuffix(p, "/*")
		inside := folder != p && (m.To == folder || path.Dir(m.To) == folder || strings.TrimSuffix(m.To, "/") == folder)
		if m.Verb == "cat" && m.To == p || inside || strings.HasSuffix(p, "/*.pem") && path.Dir(p) == path.Dir(m.To) && holdsKey(m.To) {
			return true
		}
	}
	return false
}

// closedLater reports whether a later command takes the rights on keys back.
func (e *evidence) closedLater(i int) bool {
	return slices.ContainsFunc(e.calls[i+1:], func(c *call) bool {
		if c.name() != "chmod" || len(c.argv) < 3 {
			return false
		}
		plain, _ := operands(c.argv[1:], "")
		return len(plain) > 1 && !openMode.MatchString(plain[0]) && holdsKey(plain[1:]...)
	})
}

func modeOf(m copied) string {
	for i, o := range m.options {
		if (o == "-m" || o == "--mode") && i+1 < len(m.options) {
			return m.options[i+1]
		}
		if mode, ok := strings.CutPrefix(o, "--mode="); ok {
			return mode
		}
	}
	return ""
}

// writesOpen reports whether a redirection makes a file of a key that others may read.
func (e *evidence) writesOpen(m copied) bool {
	if m.Verb != "cat" || m.host != "" || !holdsKey(m.From...) || strings.Contains(m.To, "mktemp") || strings.Contains(m.To, "$TMP") || strings.Contains(m.To, "$tmp") {
		return false
	}
	for _, c := range e.calls {
		switch c.name() {
		case "umask", "chmod", "install", "setfacl":
			return false // it thinks of modes; whether of all is not guessed
		}
	}
	for _, place := range []string{m.To, path.Dir(m.To)} {
		info, err := os.Stat(e.e.Root + place)
		if err == nil && path.IsAbs(place) && info.Mode()&0o007 == 0 {
			return false
		}
	}
	return true
}

// lineageName matches the name of a lineage in a path that is written out.
var lineageName = regexp.MustCompile(`letsencrypt/live/([A-Za-z0-9][A-Za-z0-9.-]*)(?:/|$)`)

func fixedLineage(e *evidence) []Lint {
	if !e.e.Shared || e.kind != Deploy || bytesContain(e.data, "RENEWED_") {
		return nil
	}
	names := map[string]copied{}
	for _, m := range e.copies {
		for _, from := range m.From {
			if found := lineageName.FindStringSubmatch(from); found != nil {
				if _, known := names[found[1]]; !known {
					names[found[1]] = m
				}
			}
		}
	}
	if len(names) != 1 {
		return nil
	}
	for _, m := range names {
		return []Lint{at(m.call)}
	}
	return nil
}

func oldBeforeNew(e *evidence) []Lint {
	var found []Lint
	for _, m := range e.copies {
		backup := strings.Contains(strings.ToLower(m.To), "backup") || strings.Contains(m.To, ".bak") || strings.Contains(m.To, ".old")
		if e.kind == Pre && isLive(m.From) && !backup {
			found = append(found, at(m.call))
		}
	}
	return found
}

func unknownVariable(e *evidence) []Lint {
	if e.kind == Job {
		return nil
	}
	asked := map[string]bool{} // variables that the script looks at before it uses them
	for _, c := range e.calls {
		if name := c.name(); name == "[" || name == "test" || name == "[[" {
			for _, word := range c.argv {
				asked[strings.TrimPrefix(word, "$")] = true
			}
		}
	}
	lines := map[string]Lint{}
	syntax.Walk(e.file, func(n syntax.Node) bool {
		if test, ok := n.(*syntax.UnaryTest); ok {
			asked[strings.Trim(e.source(test.X), `"${}`)] = true
		}
		p, ok := n.(*syntax.ParamExp)
		if !ok || p.Param == nil || p.Exp != nil {
			return true
		}
		name := p.Param.Value
		if _, known := lines[name]; !known && e.neverSet(name) {
			lines[name] = Lint{Line: int(p.Pos().Line()), Text: "$" + name, Why: e.whyUnset(name), Fix: e.instead(name)}
		}
		return true
	})
	var found []Lint
	for name, l := range lines {
		if !asked[name] {
			found = append(found, l)
		}
	}
	slices.SortFunc(found, func(a, b Lint) int { return strings.Compare(a.Text, b.Text) })
	return found
}

// neverSet reports whether certbot never sets a variable for hooks of this kind.
func (e *evidence) neverSet(name string) bool {
	if e.assigned[name] || slices.Contains(e.e.Variables, name) {
		return false
	}
	switch name {
	case "FAILED_LINEAGES", "RENEWED_LINEAGES":
		return true
	case "RENEWED_LINEAGE":
		return e.kind == Pre || e.kind == Post
	case "RENEWED_DOMAINS":
		return e.kind == Pre
	case "FAILED_DOMAINS":
		return e.kind != Post
	}
	return strings.HasPrefix(name, "CERTBOT_")
}

func (e *evidence) whyUnset(name string) string {
	if strings.HasPrefix(name, "CERTBOT_") {
		return fmt.Sprintf("certbot sets %s for the hooks of the manual plugin only: here it is empty.", name)
	}
	return fmt.Sprintf("certbot never sets %s for a %s hook: here it is empty.", name, e.kind)
}

func (e *evidence) instead(name string) string {
	switch {
	case e.kind == Deploy:
		return "use RENEWED_LINEAGE, the folder of the links, or RENEWED_DOMAINS, the names"
	case e.kind == Post && name == "RENEWED_LINEAGE":
		return "make it a deploy hook, which is given RENEWED_LINEAGE"
	case e.kind == Post:
		return "use RENEWED_DOMAINS or FAILED_DOMAINS, which certbot sets from 4.2.0"
	}
	return "make it a deploy hook, which is given RENEWED_LINEAGE and RENEWED_DOMAINS"
}

func runsCertbot(e *evidence) []Lint {
	if e.kind == Job {
		return nil
	}
	for _, c := range e.calls {
		name := c.name()
		if c.host == "" && (name == "certbot" || name == "certbot-auto" || name == "letsencrypt") && len(c.argv) > 1 && !slices.Contains(c.argv, "--version") && !slices.Contains(c.argv, "--help") {
			return []Lint{at(c)}
		}
	}
	return nil
}

func waitsForInput(e *evidence) []Lint {
	var found []Lint
	seen := map[string]bool{}
	for _, c := range e.calls {
		why, fix := e.waits(c)
		if why == "" || seen[why] {
			continue
		}
		seen[why] = true
		l := at(c)
		l.Why, l.Fix = why, fix
		found = append(found, l)
	}
	return found
}

// waits says for what a command waits, and how it would not; empty where it does not.
func (e *evidence) waits(c *call) (why, fix string) {
	if len(c.argv) == 0 || c.host != "" {
		return "", ""
	}
	line := strings.Join(c.argv, " ")
	sudo := slices.ContainsFunc(c.wrappers, func(w string) bool { return path.Base(w) == "sudo" })
	switch name := c.name(); {
	case name == "read" && !c.fed && !c.loop && !has(c.argv[1:], "tu"):
		return "read waits for a line that nobody types: under a timer it fails at once, and by hand certbot holds its lock meanwhile.", "take the value from the environment or a file"
	case (name == "ssh" || name == "scp" || name == "sftp") && !has(c.argv[1:], "iFb") && !strings.Contains(line, "BatchMode") && !strings.Contains(line, "PasswordAuthentication") && !slices.Contains(c.wrappers, "sshpass"):
		return "where the key or the host is not known, it asks for a password, and waits.", name + " -o BatchMode=yes -o ConnectTimeout=10 ..."
	case name == "openssl" && len(c.argv) > 2 && c.argv[1] == "pkcs12" && slices.Contains(c.argv, "-export") && !c.fed && !strings.Contains(line, "-passout") && !strings.Contains(line, "-password"):
		return "openssl asks for the password of the new file, and waits.", "add -passout file:PATH"
	case sudo && e.e.User != "" && e.e.User != "root" && !strings.Contains(c.text, "sudo -n") && !strings.Contains(c.text, "--non-interactive"):
		return "sudo asks " + e.e.User + " for a password, and waits.", "sudo -n ..., with a rule in sudoers for this command"
	}
	return "", ""
}

func pidFileOnce(e *evidence) []Lint {
	var found []Lint
	for _, c := range e.calls {
		line := strings.Join(c.argv, " ")
		if c.name() == "step" && strings.Contains(line, "ca renew") && slices.Contains(c.argv, "--daemon") && strings.Contains(line, "--pid-file") {
			found = append(found, at(c))
		}
	}
	return found
}
