package audit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"mvdan.cc/sh/v3/syntax"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
)

// Place is where something is written, or the file itself.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // from 1; 0: it is of the whole file
}

// Finding is one thing that will hurt.
type Finding struct {
	Code     string             `json:"code"` // see [Checks]
	Severity certmedic.Severity `json:"severity"`
	Subject  string             `json:"subject"` // a lineage, a service, a job; empty: the host
	Place    Place              `json:"place,omitzero"`
	What     string             `json:"what"` // what there is
	Why      string             `json:"why"`
	Fix      string             `json:"fix"` // commands that can be pasted; what a person has to do is a comment of the shell
}

// Result is an audit of a host.
type Result struct {
	Time      time.Time        `json:"time"` // UTC
	Root      string           `json:"root,omitempty"`
	Status    certmedic.Status `json:"status"`
	Lineages  int              `json:"lineages"` // that were looked at
	Findings  []Finding        `json:"findings"` // the worst first; never nil
	Checklist []Item           `json:"checklist"`
	Unseen    []Unseen         `json:"unseen"` // never nil
}

// Options say what of the findings is wanted.
type Options struct {
	Only  []string           // codes; empty: all
	Skip  []string           // codes
	Least certmedic.Severity // findings below it are left out; empty: none are
}

// ExitCode returns 0 where nothing is at or above a warning, 1 for a warning, 2 for something
// critical.
func (r Result) ExitCode() int { return r.Status.ExitCode() }

// Examine asks every check.
func Examine(f *Facts, o Options) Result {
	r := Result{Time: f.Now.UTC(), Root: f.Root, Lineages: len(f.Lineages), Findings: []Finding{}, Status: certmedic.StatusOK}
	for _, c := range checks() {
		if len(o.Only) > 0 && !slices.Contains(o.Only, c.code) || slices.Contains(o.Skip, c.code) || c.severity.Rank() < o.Least.Rank() {
			continue
		}
		for _, found := range c.look(f) {
			found.Code, found.Severity = c.code, c.severity
			found.Why, found.Fix = cmp.Or(found.Why, c.why), cmp.Or(found.Fix, pasted(c.fix))
			r.Findings = append(r.Findings, clean(found))
		}
		if len(r.Findings) > 0 && worst(r.Findings).Rank() >= certmedic.SeverityWarning.Rank() {
			r.Status = statusOf(worst(r.Findings))
		}
	}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Severity.Rank(), a.Severity.Rank()) })
	r.Checklist = checklist(f)
	r.Unseen = []Unseen{}
	for _, u := range f.Unseen {
		r.Unseen = append(r.Unseen, Unseen{u.Part, shown(u.Why)})
	}
	return r
}

func worst(findings []Finding) certmedic.Severity {
	return slices.MaxFunc(findings, func(a, b Finding) int { return cmp.Compare(a.Severity.Rank(), b.Severity.Rank()) }).Severity
}

func statusOf(s certmedic.Severity) certmedic.Status {
	if s == certmedic.SeverityCritical {
		return certmedic.StatusCritical
	}
	return certmedic.StatusWarning
}

// maxFindings bounds what one check says.
const maxFindings = 1000

// check looks for one thing.
type check struct {
	code     string // lower-case words with hyphens
	severity certmedic.Severity
	about    string // a sentence
	why      string
	fix      string
	look     func(*Facts) []Finding
}

// Check says what is looked for, for people.
type Check struct {
	Code     string
	Severity certmedic.Severity
	Subject  string // of the file that it stands in, such as renewal
	About    string
	Why      string
	Fix      string
}

// subject is what checks have in common.
type subject struct {
	name   string
	checks []check
}

func subjects() []subject {
	return []subject{
		{"renewal", append(renewalChecks(), outcomeChecks()...)},
		{"hooks", hookChecks()},
		{"schedule", scheduleChecks()},
		{"services", serviceChecks()},
		{"parameters", parameterChecks()},
		{"files", fileChecks()},
		{"monitoring", monitoringChecks()},
	}
}

func checks() []check {
	var all []check
	for _, s := range subjects() {
		all = append(all, s.checks...)
	}
	return all
}

// Checks lists everything that is looked for.
func Checks() []Check {
	var all []Check
	for _, s := range subjects() {
		for _, c := range s.checks {
			all = append(all, Check{c.code, c.severity, s.name, c.about, c.why, c.fix})
		}
	}
	return all
}

// clean takes secrets and control characters out of what was read from the host.
func clean(f Finding) Finding {
	f.Subject, f.What, f.Why = shown(f.Subject), shown(f.What), shown(f.Why)
	f.Place.File = oneLine(f.Place.File)
	var lines []string
	for line := range strings.Lines(f.Fix) {
		line = strings.TrimSuffix(line, "\n")
		if whole := shown(line); whole == line || strings.HasPrefix(line, "#") {
			lines = append(lines, whole)
		} else {
			lines = append(lines, "# "+whole) // what lacks a part is not to be run
		}
	}
	f.Fix = strings.Join(lines, "\n")
	return f
}

func shown(text string) string { return oneLine(redact.Text(text)) }

// maxText bounds a text that is shown, in runes.
const maxText = 500

func oneLine(text string) string {
	return redact.Truncate(strings.NewReplacer("\n", " ", "\t", " ").Replace(redact.Plain(text)), maxText)
}

// command returns a command line whose words are quoted for a shell.
func command(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		q, err := syntax.Quote(word, syntax.LangBash)
		if err != nil { // only for a NUL, which no name of a file has
			q = "''"
		}
		quoted[i] = q
	}
	return strings.Join(quoted, " ")
}

// remark returns words to a person as a comment of the shell, with commands below it.
func remark(words string, commands ...string) string {
	return strings.Join(append([]string{"# " + strings.Join(strings.Fields(words), " ")}, commands...), "\n")
}

// pasted returns the fix of a check so that it can be pasted: as it is where it is a command, else
// as a comment.
func pasted(fix string) string {
	first, _, _ := strings.Cut(fix, " ")
	isCommand := slices.Contains([]string{"certmedic", "systemctl"}, first)
	if isCommand && !slices.ContainsFunc(strings.Fields(fix), func(w string) bool { return w == strings.ToUpper(w) }) {
		return fix
	}
	return remark(fix)
}

// forEach asks a question of every lineage, and gathers what it finds.
func forEach(f *Facts, ask func(*Lineage) (Finding, bool)) []Finding {
	var all []Finding
	for i := range f.Lineages {
		if found, ok := ask(&f.Lineages[i]); ok && len(all) < maxFindings {
			found.Subject = cmp.Or(found.Subject, f.Lineages[i].Name)
			all = append(all, found)
		}
	}
	return all
}

// ofCertbot asks a question of every lineage of certbot that has a configuration.
func ofCertbot(ask func(*Facts, *Lineage) (Finding, bool)) func(*Facts) []Finding {
	return func(f *Facts) []Finding {
		return forEach(f, func(l *Lineage) (Finding, bool) {
			if l.Conf == nil {
				return Finding{}, false
			}
			return ask(f, l)
		})
	}
}

func none() (Finding, bool) { return Finding{}, false }
