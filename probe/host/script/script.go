// Package script reads hooks as a careful person would before they are run: what interprets
// them, whether that exists, whether their lines end as Unix has them, which programs they
// call and whether those are found with the PATH of the timer that will call them, what they
// reload, and which habits make a deployment fail without a word.
//
// internal/diagnose and internal/audit ask it, and probe/host/schedule for what a cron line
// calls. Shell scripts are parsed whole by mvdan.cc/sh; nothing is executed. A script in
// another language is judged by its first line and its modes only. It would rather miss a
// mistake than see one in a script that works: what depends on the host is not guessed.
package script

import (
	"os"
	"strings"
)

// The kinds of scripts in [Environment.Kind].
const (
	Deploy = "deploy" // run after a renewal, for each lineage
	Pre    = "pre"    // run before renewals
	Post   = "post"   // run after all renewals, whatever came of them
	Job    = "job"    // run by a timer or cron; it may well start certbot
)

// Environment is what a script will be run with.
type Environment struct {
	Path      string   // PATH, as the timer or cron has it; empty: it is not known, and all usual folders are looked into
	Variables []string // names that are set besides, such as RENEWED_LINEAGE
	Folder    string   // working folder; empty: /
	Kind      string   // one of the kinds; empty: deploy
	Shared    bool     // it is run for more than one lineage
	User      string   // who runs it; empty: root
	Root      string   // the tree in which it, programs and units are looked up; empty: /
}

// Script is one hook, a file or a command line.
type Script struct {
	Path        string // empty: a command line
	Text        string // of a command line
	Mode        os.FileMode
	Owner       string    // user:group
	Interpreter string    // of its first line; /bin/sh for a command line, and for a script without one
	Language    string    // sh, bash, python, perl, binary, ...; empty: not known
	Problems    []Problem // why it cannot run
	Programs    []Program
	Commands    []Command
	Reloads     []Reload
	Lints       []Lint
	Copies      []Copy
	Lines       int
}

// Problem is a reason why the kernel or the shell would refuse the script.
type Problem struct {
	Kind string // crlf, no_interpreter, not_executable, exec_format, syntax, missing_program, unreadable, name
	Line int    // 0: of the whole file
	Text string // the line, or what is wrong, for people
	Fix  string // a command
}

// Program is a program that the script calls by name.
type Program struct {
	Name      string // as written
	Found     string // its path with the given PATH; empty: it is missing there
	Elsewhere string // where it is outside that PATH; empty: nowhere
	Optional  bool   // the script looks first whether it is there, or calls it on some hosts only
	Line      int
}

// Command is one simple command of the script. Quotes are taken away, variables that the
// script sets once are put in, and others stay as $NAME; wrappers such as sudo are left out.
type Command struct {
	Argv  []string
	Host  string // where it is run by ssh, or in which container; empty: here
	Guard string // the condition that was written before it, such as `test -x /usr/bin/certbot`; empty: none
	Quiet bool   // its output goes to /dev/null
	Line  int
	Text  string
}

// Reload is a command that makes a service load files.
type Reload struct {
	Service string // such as nginx
	Verb    string // reload, restart, signal, map, copy
	Tested  bool   // its configuration is tested before, in a way that stops the script, or by the reload itself
	Host    string // where it is done by ssh, or in which container; empty: here
	Line    int
	Text    string
}

// Copy is a command that copies or imports a certificate: cp, install, cat, rsync, scp, keytool,
// openssl pkcs12, postmap.
type Copy struct {
	Verb string
	From []string // as written; variables that the script sets once are put in
	To   string   // the same
	Line int
	Text string
}

// Lint is a habit that will hurt.
type Lint struct {
	Code string // see [Codes]
	Line int
	Text string // the line
	Why  string
	Fix  string
}

// Read reads a hook in a file.
func Read(path string, e Environment) Script {
	s := Script{Path: path}
	data, ok := s.open(e)
	if !ok {
		return s
	}
	s.judge(data, e)
	return s
}

// Parse reads a command line, as a renewal configuration holds it.
func Parse(command string, e Environment) Script {
	s := Script{Text: command, Interpreter: "/bin/sh", Language: "sh"}
	if len(command) > maxScript {
		s.problem("unreadable", 0, "the command is too long to be read", "")
		return s
	}
	s.shell([]byte(strings.ToValidUTF8(command, "?")), e)
	return s
}

func (s *Script) problem(kind string, line int, text, fix string) {
	s.Problems = append(s.Problems, Problem{Kind: kind, Line: line, Text: text, Fix: fix})
}
