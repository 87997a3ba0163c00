package acmelog

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
)

// certbotRuns returns the runs in a log of certbot, in the order in which they stand there.
func certbotRuns(file string, data []byte, before int) []Run {
	p := &certbotLog{file: file}
	for r := range records(data, before) {
		p.take(r)
	}
	p.finish()
	return p.runs
}

// certbotLog is what is known at one place of a log of certbot.
type certbotLog struct {
	file string
	runs []Run

	run     Run
	open    bool            // there is a run
	marks   map[string]bool // the messages that begin a run, of those that were seen
	busy    bool            // the run did something after them
	ended   bool            // certbot said how its renewals went
	late    record          // the last message
	lineage string          // which is at work
	tree    string
	problem *problem       // that the CA reported of it
	refusal *problem       // with which the CA answered a request for it
	places  map[string]int // of renewals, by lineage
}

// problem is why the CA could not validate a name.
type problem struct {
	kind, detail, name string
	at                 Line
}

// opening are the messages that certbot begins with, whatever it is to do. The first two stand
// at the beginning of each run: in one order since 1.0, in the other before.
var opening = []string{
	"certbot version: ", "Root logging level set at ",
	"Location of certbot entry point: ", "Arguments: ", "Discovered plugins: ", "Saving debug log to ",
}

// take takes the next message.
func (p *certbotLog) take(r record) {
	begins := slices.IndexFunc(opening, func(o string) bool { return strings.HasPrefix(r.text, o) })
	marks := begins == 0 || begins == 1
	if !p.open || marks && p.over(r, opening[begins]) {
		p.begin(r)
	}
	if marks {
		p.busy = p.busy && len(p.marks) > 0
		p.marks[opening[begins]] = true
	}
	p.late = r
	if begins < 0 {
		p.busy = true
		p.continued()
	}
	text := strings.TrimLeft(r.text, "\n")
	for _, s := range certbotSayings {
		if rest, ok := strings.CutPrefix(text, s.words); ok && s.take(p, r, rest) {
			return
		}
	}
	if strings.HasSuffix(r.text, ")") || strings.Contains(r.text, ")\n") {
		p.report(r)
	}
}

// over reports whether the run that is at work is, as a message comes that begins one. What
// stands before the first such message belongs to its run, if it was written in the same second.
func (p *certbotLog) over(r record, mark string) bool {
	const second = len("2006-01-02 15:04:05")
	if len(p.marks) == 0 {
		return p.told() || p.late.stamp[:second] != r.stamp[:second]
	}
	return p.marks[mark] || p.busy
}

// told reports whether anything is known of the run.
func (p *certbotLog) told() bool {
	return len(p.run.Hooks)+len(p.run.Renewals)+len(p.run.Notes) > 0
}

// begin begins another run.
func (p *certbotLog) begin(r record) {
	p.finish()
	*p = certbotLog{
		file: p.file, runs: p.runs, open: true, marks: map[string]bool{}, places: map[string]int{},
		run: Run{Client: Certbot, Started: r.at(), First: p.line(r)},
	}
}

// finish ends the run that is at work. What was begun and not ended is told as such.
func (p *certbotLog) finish() {
	if !p.open {
		return
	}
	p.run.Ended, p.run.Last = p.late.at(), p.line(p.late)
	p.run.Finished = p.ended || !p.busy || p.lineage == "" && len(p.run.Hooks) == 0
	if n := len(p.run.Hooks); n > 0 && p.ended && p.run.Hooks[n-1].Kind == "post" {
		p.run.Hooks[n-1].Ended = true
	}
	if p.lineage != "" && !p.ended {
		p.renewal(p.lineage)
	}
	for i := range p.run.Renewals {
		if n := &p.run.Renewals[i]; n.Result == Begun && n.Stored {
			n.Result = Renewed
		}
	}
	p.runs = append(p.runs, p.run)
	p.open = false
}

// line returns the place of a message.
func (p *certbotLog) line(r record) Line { return p.place(r.line, firstLine(r.text)) }

func (p *certbotLog) place(number int, text string) Line {
	return Line{File: p.file, Number: number, Text: told(text, maxText)}
}

// continued notes that certbot went on after the hooks that it had started.
func (p *certbotLog) continued() {
	if n := len(p.run.Hooks); n > 0 {
		p.run.Hooks[n-1].Ended = true
	}
}

// at turns to another lineage, if it is one.
func (p *certbotLog) at(path string) {
	tree, lineage := ofPath(path)
	if lineage == "" || lineage == p.lineage && tree == p.tree {
		return
	}
	p.lineage, p.tree, p.problem, p.refusal = lineage, tree, nil, nil
}

// ofPath returns the tree and the lineage that a file of certbot belongs to.
func ofPath(path string) (tree, lineage string) {
	dir, file := filepath.Split(strings.TrimSuffix(strings.TrimSpace(path), "."))
	dir = filepath.Clean(dir)
	above := filepath.Dir(dir)
	switch {
	case !filepath.IsAbs(path):
		return "", ""
	case filepath.Base(dir) == "renewal" && strings.Contains(file, ".conf"):
		return above, strings.TrimSuffix(strings.TrimSuffix(file, ".new"), ".conf")
	case filepath.Base(above) == "live" || filepath.Base(above) == "archive":
		return filepath.Dir(above), filepath.Base(dir)
	}
	return "", ""
}

// renewal returns what is known about a lineage in this run, Begun where nothing was.
func (p *certbotLog) renewal(lineage string) *Renewal {
	if i, ok := p.places[lineage]; ok {
		return &p.run.Renewals[i]
	}
	n := Renewal{Lineage: lineage, Result: Begun}
	if lineage == p.lineage {
		n.Tree = p.tree
	}
	p.places[lineage] = len(p.run.Renewals)
	p.run.Renewals = append(p.run.Renewals, n)
	return &p.run.Renewals[len(p.run.Renewals)-1]
}

// failed notes that a lineage was not renewed, and why.
func (p *certbotLog) failed(r record, lineage, text string) {
	n := p.renewal(lineage)
	n.Result, n.Detail, n.At = Failed, said(text), p.line(r)
	n.Cause, n.Until = why(text)
	for _, of := range []*problem{p.problem, p.refusal} {
		if n.Cause == certmedic.CauseUnknown && of != nil && lineage == p.lineage {
			n.Cause, n.Until = ofProblem(of.kind, of.detail)
			n.Detail, n.At = said(of.name+": "+of.detail), of.at
		}
	}
	if n.Cause == certmedic.CauseInstallerReloadFailed && !n.Stored {
		n.Cause = certmedic.CauseReloadFailed // around a challenge: nothing new waits to be loaded
	}
}

// broken notes that the configuration of a lineage was not taken.
func (p *certbotLog) broken(r record, path, text string) {
	tree, lineage := ofPath(path)
	if lineage == "" {
		return
	}
	n := p.renewal(lineage)
	n.Tree, n.Result, n.Cause, n.Detail, n.At = tree, Broken, certmedic.CauseLineageBroken, said(text), p.line(r)
}

// note notes what concerns the run as a whole, once for each cause and text.
func (p *certbotLog) note(r record, cause certmedic.Cause, text string) {
	detail := said(text)
	same := func(n Note) bool { return n.Detail == detail || n.Cause == cause && cause == certmedic.CauseLockHeld }
	if !slices.ContainsFunc(p.run.Notes, same) {
		p.run.Notes = append(p.run.Notes, Note{Cause: cause, Detail: detail, At: p.line(r)})
	}
}

// fatal notes why the whole run ended. Where it was about one lineage, that failed.
func (p *certbotLog) fatal(r record, text string) {
	p.ended = true
	if failures.MatchString(text) || text == "An unexpected error occurred:" {
		return
	}
	if p.lineage != "" && !p.reported() {
		p.failed(r, p.lineage, text)
		return
	}
	cause, _ := why(text)
	p.note(r, cause, text)
}

// reported reports whether it is known how the lineage at work fared.
func (p *certbotLog) reported() bool {
	i, ok := p.places[p.lineage]
	return ok && p.run.Renewals[i].Result != Begun
}

// failures is how certbot counts what failed when it ends.
var failures = regexp.MustCompile(`^\d+ renew failure\(s\), \d+ parse failure\(s\)`)

// results are the words of certbot's report, by what they say of a lineage.
var results = map[string]Result{" (success)": Renewed, " (failure)": Failed, " (skipped)": NotDue, " (parsefail)": Broken}

// report takes the lines of certbot's report: "  /etc/letsencrypt/live/NAME/fullchain.pem (success)".
func (p *certbotLog) report(r record) {
	for number, line := range r.lines() {
		line = strings.TrimSpace(line)
		cut := strings.LastIndex(line, " (")
		if cut < 0 || !strings.HasPrefix(line, "/") {
			continue
		}
		result, ok := results[line[cut:]]
		path, _, _ := strings.Cut(line[:cut], " expires on ")
		tree, lineage := ofPath(path)
		if !ok || lineage == "" {
			continue
		}
		n := p.renewal(lineage)
		n.Tree = tree
		if n.Result == Begun || n.At.Number == 0 {
			n.Result, n.At = result, p.place(number, line)
		}
		if result == Failed && n.Cause == "" {
			n.Cause = certmedic.CauseUnknown
		}
		if result == Renewed && !p.run.DryRun {
			n.Stored = true
		}
	}
}

// reproach takes what the CA reported of names that it could not validate.
func (p *certbotLog) reproach(r record) bool {
	found := problem{}
	for number, line := range r.lines() {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch {
		case key == "Domain" && found.at.Number == 0:
			found.name = value
		case key == "Type" && found.at.Number == 0:
			found.kind = value
		case key == "Detail" && found.at.Number == 0:
			found.detail, found.at = value, p.place(number, strings.TrimSpace(line))
		}
	}
	if found.at.Number > 0 {
		p.problem = &found
	}
	return found.at.Number > 0
}

// refuse takes the problem (RFC 7807) with which the CA refused a request.
func (p *certbotLog) refuse(r record) bool {
	for number, line := range r.lines() {
		if m := problemType.FindStringSubmatch(line); m != nil {
			_, detail, _ := strings.Cut(strings.Join(strings.Fields(r.text), " "), `"detail": "`)
			detail, _, _ = strings.Cut(detail, `"`)
			p.refusal = &problem{kind: m[1], detail: detail, name: "the CA refused", at: p.place(number, strings.TrimSpace(line))}
		}
	}
	return p.refusal != nil
}

// arguments takes those of the command line.
func (p *certbotLog) arguments(list string) {
	p.run.Arguments = pythonList(list)
	for i, a := range p.run.Arguments {
		name, value, joined := strings.Cut(a, "=")
		if !joined && i+1 < len(p.run.Arguments) {
			value = p.run.Arguments[i+1]
		}
		switch name {
		case "--dry-run":
			p.run.DryRun = true
		case "--force-renewal", "--force-renew", "--renew-by-default":
			p.run.Forced = true
		case "-q", "--quiet":
			p.run.Quiet = true
		case "--cert-name":
			p.lineage = value
		}
	}
}

// pythonString is one string in what Python writes of a list of them.
var pythonString = regexp.MustCompile(`'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"`)

// pythonList returns the strings of a list, as Python writes it: ['-q', "a'b"].
func pythonList(list string) []string {
	var all []string
	for _, m := range pythonString.FindAllStringSubmatch(firstLine(list), maxArguments) {
		all = append(all, told(strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(m[1]+m[2]), maxText))
	}
	return all
}

// maxArguments bounds how many arguments of a command line are kept.
const maxArguments = 200

// exitCode returns the number that ends a text, and whether one does.
func exitCode(text string) (int, bool) {
	fields := strings.Fields(firstLine(text))
	if len(fields) == 0 {
		return 0, false
	}
	code, err := strconv.Atoi(fields[len(fields)-1])
	return code, err == nil
}
