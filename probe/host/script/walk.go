package script

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// maxNested bounds how deep commands within words of commands are followed, as in sh -c.
const maxNested = 3

// reading is a shell script while it is read.
type reading struct {
	data     []byte
	file     *syntax.File
	e        Environment
	nested   int
	values   map[string]string // of variables that are set once
	assigned map[string]bool   // variables that are set at all
	defined  map[string]bool   // functions
	calls    []*call
	errexit  bool // set -e holds here
	pipefail bool
	line     int // of all calls, where the text is a word of a command of that line
}

// flow is what surrounds a command and decides what becomes of its status.
type flow struct {
	last     bool   // its status is that of the script
	handled  bool   // something looks at its status
	exempt   bool   // set -e does not stop for it: it stands before &&
	lost     string // how its status is thrown away, such as "|| true"; empty: not
	piped    bool   // it stands before a pipe
	fed      bool   // something is written to its standard input
	optional bool   // it is run on some hosts only
	fallback bool   // it is run where another command failed
	quiet    bool   // its output goes to /dev/null
	guard    string
	host     string
	loop     bool
}

// call is a simple command, wrappers such as sudo left out.
type call struct {
	flow
	argv     []string
	named    bool     // its name is written out, not taken from a variable
	wrappers []string // programs that run it
	outs     []string // files that it writes by redirection
	errexit  bool
	pipefail bool
	line     int
	text     string
}

func (c *call) name() string {
	if len(c.argv) == 0 {
		return ""
	}
	return c.argv[0][strings.LastIndexByte(c.argv[0], '/')+1:]
}

// unseen reports whether a failure of the command ends neither the script nor is its status.
func (c *call) unseen() bool {
	switch {
	case c.handled:
		return false
	case c.lost != "":
		return true
	case c.piped:
		return !c.pipefail
	case c.errexit && !c.exempt:
		return false
	}
	return !c.last
}

// shell parses a script and gathers everything that is told of it.
func (s *Script) shell(data []byte, e Environment, options ...string) {
	r := &reading{data: data, e: e, values: map[string]string{}, assigned: map[string]bool{}, defined: map[string]bool{}}
	file := s.parse(data, e)
	if file == nil {
		return
	}
	r.file = file
	r.option(options)
	r.learn(file)
	syntax.Walk(file, func(n syntax.Node) bool {
		if f, ok := n.(*syntax.FuncDecl); ok && f.Name != nil {
			r.defined[f.Name.Value] = true
		}
		return true
	})
	r.stmts(file.Stmts, flow{last: true})
	s.tell(r)
}

// parse returns what the interpreter will read, nil where that is not known. What /bin/sh is
// differs: it is taken for bash unless it is known to be less.
func (s *Script) parse(data []byte, e Environment) *syntax.File {
	var refused error
	if s.Language != "bash" && plainShell(e.Root) {
		file, err := parse(data, syntax.LangPOSIX)
		if err == nil {
			return file
		}
		refused = err
	}
	file, err := parse(data, syntax.LangBash)
	var beyond syntax.LangError
	switch {
	case handsOver.Match(data): // another language may follow, or a better shell
	case err == nil && refused != nil:
		s.syntaxProblem(refused)
	case err != nil && !errors.As(err, &beyond) && !strings.Contains(err.Error(), "arithm"):
		s.syntaxProblem(err) // else it may be bash that the parser does not know
	}
	return file
}

// handsOver matches what gives a script to another interpreter, or asks which one reads it.
var handsOver = regexp.MustCompile(`exec.*\$0|BASH_VERSION|KSH_VERSION`)

func parse(data []byte, variant syntax.LangVariant) (file *syntax.File, err error) {
	defer func() {
		if broken := recover(); broken != nil { // the parser's own mistake, not the script's
			file, err = nil, fmt.Errorf("it cannot be parsed: %v", broken)
		}
	}()
	file, err = syntax.NewParser(syntax.Variant(variant)).Parse(bytes.NewReader(data), "")
	if err != nil {
		return nil, err // in place of the half that was parsed
	}
	return file, nil
}

func (s *Script) syntaxProblem(err error) {
	var wrong syntax.ParseError
	var lang syntax.LangError
	check := "sh -n " + quoted(s.Path)
	if s.Language == "bash" {
		check = "bash -n " + quoted(s.Path)
	}
	switch {
	case errors.As(err, &wrong):
		s.problem("syntax", int(wrong.Pos.Line()), wrong.Text, check)
	case errors.As(err, &lang):
		text := fmt.Sprintf("%s is not known to /bin/sh of this host", lang.Feature)
		s.problem("syntax", int(lang.Pos.Line()), text, "sed -i '1s|^#!.*|#!/bin/bash|' "+quoted(s.Path))
	}
}

func (r *reading) stmts(list []*syntax.Stmt, f flow) {
	for i, stmt := range list {
		inner := f
		inner.last = f.last && r.endsWith(list[i+1:])
		if i+1 < len(list) && strings.Contains(head(r.source(list[i+1])), "$?") {
			inner.handled = true
		}
		if f.last && i+1 < len(list) && r.saysFine(list[i+1:]) {
			inner.lost = "; " + head(r.source(list[i+1]))
		}
		r.stmt(stmt, inner)
	}
}

// head returns the first line of a text.
func head(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return strings.TrimSpace(line)
}

// endsWith reports whether what follows a command leaves its status as that of the script.
func (r *reading) endsWith(rest []*syntax.Stmt) bool {
	if len(rest) == 0 {
		return true
	}
	for _, stmt := range rest {
		if _, function := stmt.Cmd.(*syntax.FuncDecl); !function {
			return slices.Contains([]string{"exit", "exit $?", "return", "return $?"}, r.source(stmt))
		}
	}
	return true
}

// saysFine reports whether the script ends at once and claims success, whatever was before.
func (r *reading) saysFine(rest []*syntax.Stmt) bool {
	return len(rest) == 1 && slices.Contains([]string{"true", ":", "exit 0", "return 0"}, strings.TrimSuffix(r.source(rest[0]), ";"))
}

func (r *reading) stmt(s *syntax.Stmt, f flow) {
	if s.Background {
		f.lost, f.handled = "&", false
	}
	if s.Negated {
		f.handled = true
	}
	var outs []string
	for _, redirect := range s.Redirs {
		outs = append(outs, r.redirect(redirect, &f)...)
	}
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		r.call(c, s, f, outs)
	case *syntax.BinaryCmd:
		r.binary(c, f)
	case *syntax.Block:
		r.stmts(c.Stmts, f)
	case *syntax.Subshell:
		before, pipes := r.errexit, r.pipefail
		r.stmts(c.Stmts, f)
		r.errexit, r.pipefail = before, pipes
	case *syntax.FuncDecl:
		r.stmt(c.Body, flow{last: true})
	case *syntax.TimeClause:
		if c.Stmt != nil {
			r.stmt(c.Stmt, f)
		}
	default:
		r.compound(s, f)
	}
}

// redirect follows a redirection, and returns the file that the command's output goes to.
func (r *reading) redirect(redirect *syntax.Redirect, f *flow) []string {
	to := r.text(redirect.Word)
	r.within(redirect.Word, *f)
	switch redirect.Op {
	case syntax.RdrIn, syntax.RdrInOut, syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc:
		f.fed = true
	case syntax.RdrOut, syntax.AppOut, syntax.RdrAll, syntax.AppAll, syntax.RdrClob:
		if redirect.N != nil && redirect.N.Value == "2" {
			return nil
		}
		if to == "/dev/null" {
			f.quiet = true
			return nil
		}
		return []string{to}
	}
	return nil
}

// compound follows conditions, loops and choices.
func (r *reading) compound(s *syntax.Stmt, f flow) {
	switch c := s.Cmd.(type) {
	case *syntax.IfClause:
		r.ifClause(c, f)
	case *syntax.WhileClause:
		asked := f
		asked.handled = true
		r.stmts(c.Cond, asked)
		r.loopBody(c.Do, f)
	case *syntax.ForClause:
		if iter, ok := c.Loop.(*syntax.WordIter); ok {
			for _, item := range iter.Items {
				r.within(item, f)
			}
		}
		r.loopBody(c.Do, f)
	case *syntax.CaseClause:
		f.optional = f.optional || !aboutRenewal(r.source(c.Word))
		f.guard = "case " + r.source(c.Word)
		for _, item := range c.Items {
			r.stmts(item.Stmts, f)
		}
	case *syntax.DeclClause:
		for _, a := range c.Args {
			r.within(a.Value, f)
		}
	}
}

func (r *reading) loopBody(body []*syntax.Stmt, f flow) {
	f.loop, f.last = true, false
	r.stmts(body, f)
}

func (r *reading) ifClause(c *syntax.IfClause, f flow) {
	if len(c.Cond) > 0 {
		asked := f
		asked.handled = true
		r.stmts(c.Cond, asked)
	}
	then := f
	if len(c.Cond) > 0 {
		condition := r.sources(c.Cond)
		then.guard = condition
		then.optional = f.optional || r.aboutHost(c.Cond)
	}
	r.stmts(c.Then, then)
	if c.Else != nil {
		other := f
		other.optional = then.optional
		if then.guard != "" {
			other.guard = "! " + then.guard
		}
		r.ifClause(c.Else, other)
	}
}

func (r *reading) sources(list []*syntax.Stmt) string {
	if len(list) == 0 {
		return ""
	}
	from, to := list[0].Pos().Offset(), list[len(list)-1].End().Offset()
	return strings.TrimRight(string(r.data[from:min(to, uint(len(r.data)))]), "; \n")
}

func (r *reading) binary(c *syntax.BinaryCmd, f flow) {
	x, y := f, f
	switch c.Op {
	case syntax.AndStmt:
		x.exempt = true
		if r.jumps(c.Y) {
			x.handled = true
		}
		y.guard = r.source(c.X)
		y.optional = f.optional || r.aboutHost([]*syntax.Stmt{c.X})
	case syntax.OrStmt:
		if idle := r.idle(c.Y); idle != "" && !f.handled {
			x.lost = "|| " + idle
		} else {
			x.handled, x.lost = true, ""
		}
		y.fallback, y.optional = true, true
		y.guard = "! " + r.source(c.X)
	default: // a pipe
		x.piped = true
		y.fed = true
	}
	r.stmt(c.X, x)
	r.stmt(c.Y, y)
}

// jumps reports whether a statement leaves a loop, a function or the script.
func (r *reading) jumps(s *syntax.Stmt) bool {
	word, _, _ := strings.Cut(r.source(s), " ")
	return slices.Contains([]string{"break", "exit", "return"}, strings.TrimRight(word, ";"))
}

// idle returns what a statement behind || says where it does nothing about the failure.
func (r *reading) idle(s *syntax.Stmt) string {
	stmts := []*syntax.Stmt{s}
	if block, ok := s.Cmd.(*syntax.Block); ok {
		stmts = block.Stmts
	}
	for _, stmt := range stmts {
		c, ok := stmt.Cmd.(*syntax.CallExpr)
		if !ok || len(c.Args) == 0 {
			return ""
		}
		text := strings.TrimSuffix(r.source(stmt), ";")
		name := c.Args[0].Lit()
		if !slices.Contains([]string{"true", ":", "echo", "printf", "/bin/true"}, name) && text != "exit 0" && text != "return 0" {
			return ""
		}
	}
	return head(r.source(s))
}

// aboutHost reports whether a condition asks something of the host, so that what it guards is
// run on some hosts only. A comparison of strings does not.
func (r *reading) aboutHost(cond []*syntax.Stmt) bool {
	text := r.sources(cond)
	if aboutRenewal(text) && !asksFile.MatchString(text) {
		return false
	}
	return asksFile.MatchString(text) || asksHost.MatchString(text)
}

var (
	asksFile = regexp.MustCompile(`(?:\[|test)\s.*-[abcdefghkprstuwxLOGSN]\s+["'/$]`)
	asksHost = regexp.MustCompile(`\b(?:command\s+-[vV]|which|type|hash|pidof|pgrep|id|getent|hostname|uname|grep|is-active|is-enabled|status|list-units|list-unit-files|docker\s+(?:ps|inspect|container)|podman\s+ps|dpkg|rpm|systemd-detect-virt)\b|\$\(`)
	renewal  = regexp.MustCompile(`RENEWED_|\$\{?(?:DOMAIN|domain|d)\b`)
)

func aboutRenewal(condition string) bool { return renewal.MatchString(condition) }

// within follows the commands inside of a word.
func (r *reading) within(w *syntax.Word, f flow) {
	if w == nil {
		return
	}
	f.handled, f.last, f.lost = true, false, ""
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst:
			r.stmts(n.Stmts, f)
			return false
		case *syntax.ProcSubst:
			r.stmts(n.Stmts, f)
			return false
		}
		return true
	})
}

func (r *reading) call(c *syntax.CallExpr, s *syntax.Stmt, f flow, outs []string) {
	for _, a := range c.Assigns {
		r.within(a.Value, f)
	}
	if len(c.Args) == 0 {
		return
	}
	var argv []string
	for _, arg := range c.Args {
		r.within(arg, f)
		argv = append(argv, r.text(arg))
	}
	if argv[0] == "set" {
		r.option(argv[1:])
	}
	if argv[0] == "trap" && len(argv) > 2 && slices.Contains(argv[2:], "ERR") {
		r.errexit = true // whoever traps errors has them seen
	}
	made := &call{
		flow: f, outs: outs, errexit: r.errexit, pipefail: r.pipefail,
		line: int(s.Pos().Line()), text: head(r.source(s)), named: c.Args[0].Lit() != "" || literal(c.Args[0]),
	}
	if r.line > 0 {
		made.line = r.line
	}
	made.argv, made.wrappers = unwrap(argv)
	r.calls = append(r.calls, made)
	r.follow(made)
}

// literal reports whether a word is written out, whatever its quotes.
func literal(w *syntax.Word) bool {
	plain := true
	syntax.Walk(w, func(n syntax.Node) bool {
		switch n.(type) {
		case *syntax.ParamExp, *syntax.CmdSubst, *syntax.ProcSubst, *syntax.ArithmExp:
			plain = false
		}
		return plain
	})
	return plain
}

// option takes options of the shell, as set has them.
func (r *reading) option(words []string) {
	for i, word := range words {
		on := strings.HasPrefix(word, "-")
		if !on && !strings.HasPrefix(word, "+") {
			continue
		}
		if strings.Contains(word, "e") && !strings.HasPrefix(word, "--") {
			r.errexit = on
		}
		if strings.HasSuffix(word, "o") && i+1 < len(words) {
			switch words[i+1] {
			case "errexit":
				r.errexit = on
			case "pipefail":
				r.pipefail = on
			}
		}
	}
}

// follow reads the command that a command is given as words, such as that of sh -c, ssh or
// docker exec.
func (r *reading) follow(c *call) {
	if r.nested >= maxNested {
		return
	}
	if argv, container, ok := contained(c.argv); ok {
		inner := *c
		inner.host, inner.wrappers, inner.named = container, nil, true
		inner.argv, _ = unwrap(argv)
		r.calls = append(r.calls, &inner)
		c = &inner
	}
	text, host, ok := commandLine(c.argv)
	if !ok {
		return
	}
	inner := &reading{
		data: []byte(text), e: r.e, nested: r.nested + 1, values: map[string]string{},
		assigned: r.assigned, defined: map[string]bool{}, line: c.line,
	}
	file, err := parse(inner.data, syntax.LangBash)
	if err != nil {
		return // it may be of another shell, or made of variables
	}
	f := c.flow
	if host != "" {
		f.host = host
	}
	inner.learn(file)
	inner.stmts(file.Stmts, f)
	for _, made := range inner.calls {
		made.text = c.text
		r.calls = append(r.calls, made)
	}
}
