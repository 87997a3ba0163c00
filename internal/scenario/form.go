package scenario

import (
	"slices"

	"github.com/goccy/go-yaml/ast"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// document is the form of a scenario file.
type document struct {
	Rules    placedWords          `yaml:"rules"`
	Now      *moment              `yaml:"now"`
	Interval placed[span]         `yaml:"interval"`
	Tests    []placed[testForm]   `yaml:"tests"`
	Coverage placed[coverageForm] `yaml:"coverage"`
}

type coverageForm struct {
	Rules    percent `yaml:"rules"`
	Branches percent `yaml:"branches"`
}

type testForm struct {
	Name    string              `yaml:"name"`
	Waiting string              `yaml:"waiting"`
	Given   placed[givenForm]   `yaml:"given"`
	Steps   []placed[stepForm]  `yaml:"steps"`
	Never   []placed[neverForm] `yaml:"never"`
}

type givenForm struct {
	Certs     table[certForm]     `yaml:"certs"`
	Endpoints table[endpointForm] `yaml:"endpoints"`
	Versions  table[versionForm]  `yaml:"versions"`
}

type certForm struct {
	Version versionForm `yaml:",inline"`

	Stored  *placed[bool]                  `yaml:"stored"`
	ACME    bool                           `yaml:"acme"` // certmedic itself has it issued
	Watched bool                           `yaml:"watched"`
	Labels  map[string]string              `yaml:"labels"`
	Mode    placed[certmedic.Mode]         `yaml:"mode"`
	Allow   []placed[certmedic.ActionKind] `yaml:"allow"`
	ARI     *placed[windowForm]            `yaml:"ari"`
	Ages    []placed[float64]              `yaml:"ages"`
	Files   placed[fileModes]              `yaml:"files"`
}

type versionForm struct {
	Names          []string       `yaml:"names"`
	Issuer         string         `yaml:"issuer"`
	KeyType        placed[string] `yaml:"key_type"`
	Lifetime       placed[span]   `yaml:"lifetime"`
	Age            span           `yaml:"age"`
	Findings       words          `yaml:"findings"`
	StoredFindings words          `yaml:"stored_findings"`
}

type windowForm struct {
	Start *moment `yaml:"start"`
	End   *moment `yaml:"end"`
}

type endpointForm struct {
	Count       int               `yaml:"count"`
	Pattern     string            `yaml:"pattern"`
	Address     string            `yaml:"address"`
	Serves      words             `yaml:"serves"`
	Certificate string            `yaml:"certificate"`
	Labels      map[string]string `yaml:"labels"`
	Protocol    placed[string]    `yaml:"protocol"`
	ServerName  string            `yaml:"server_name"`
	Addresses   int               `yaml:"addresses"`
	Owned       bool              `yaml:"owned"`
	TLS         placed[string]    `yaml:"tls"`
	Findings    words             `yaml:"findings"`
}

type stepForm struct {
	At     *span      `yaml:"at"`
	Change changeForm `yaml:",inline"`

	Then       placed[changeForm]  `yaml:"then"`
	Expect     *placed[expectForm] `yaml:"expect"`
	SlackClick *placed[clickForm]  `yaml:"slack_click"`
}

// happens returns all that happens at the step: what stands under then, too.
func (s *stepForm) happens() changeForm { return s.Change.and(s.Then.value) }

// changeForm is what happens in the world.
type changeForm struct {
	Versions       table[versionForm] `yaml:"versions"`
	Serves         table[words]       `yaml:"serves"`
	Stores         table[string]      `yaml:"stores"`
	Probe          table[probeForm]   `yaml:"probe"`
	Findings       table[words]       `yaml:"findings"`
	StoredFindings table[words]       `yaml:"stored_findings"`
	TLS            table[string]      `yaml:"tls"`
	Lock           table[string]      `yaml:"lock"`
	Hook           table[int]         `yaml:"hook"`
	Action         table[actionForm]  `yaml:"action"`
	ARI            table[windowForm]  `yaml:"ari"`
	Files          table[fileModes]   `yaml:"files"`
	Deny           placedWords        `yaml:"deny"`
	Facts          table[table[raw]]  `yaml:"facts"`
	Gone           placedWords        `yaml:"gone"`
	Clock          span               `yaml:"clock"`
	Restart        bool               `yaml:"restart"`
}

// and returns both changes as one. Where they speak of the same, the other is right.
func (f changeForm) and(other changeForm) changeForm {
	return changeForm{
		Versions: slices.Concat(f.Versions, other.Versions), Serves: slices.Concat(f.Serves, other.Serves), Stores: slices.Concat(f.Stores, other.Stores),
		Probe: slices.Concat(f.Probe, other.Probe), Findings: slices.Concat(f.Findings, other.Findings),
		StoredFindings: slices.Concat(f.StoredFindings, other.StoredFindings), TLS: slices.Concat(f.TLS, other.TLS),
		Lock: slices.Concat(f.Lock, other.Lock), Hook: slices.Concat(f.Hook, other.Hook), Action: slices.Concat(f.Action, other.Action),
		ARI: slices.Concat(f.ARI, other.ARI), Files: slices.Concat(f.Files, other.Files), Facts: slices.Concat(f.Facts, other.Facts),
		Deny: slices.Concat(f.Deny, other.Deny), Gone: slices.Concat(f.Gone, other.Gone), Clock: f.Clock + other.Clock, Restart: f.Restart || other.Restart,
	}
}

// fileModes are the permission bits of files, in octal, by path.
type fileModes map[string]string

// probeForm is how probes go from now on: "ok", "none" for a gap, or an error.
type probeForm struct {
	word  string
	Error string `yaml:"error"`
}

// UnmarshalYAML implements the decoder's interface.
func (f *probeForm) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(ast.MapNode); !ok {
		word, err := text(n)
		if err == nil && word != "ok" && word != "none" {
			err = placeOf(n).problem("%q is none of ok, none and {error: ...}", word)
		}
		f.word = word
		return err
	}
	type plain probeForm
	var p plain
	err := decode(n, &p)
	*f = probeForm(p)
	return err
}

type actionForm struct {
	Do       certmedic.ActionKind  `yaml:"do"`
	Outcome  certmedic.OutcomeKind `yaml:"outcome"`
	Reason   string                `yaml:"reason"`
	ExitCode int                   `yaml:"exit_code"`
}

type expectForm struct {
	Some          bool                        `yaml:"some"`
	Alerts        *[]placed[alertForm]        `yaml:"alerts"`
	Pending       *[]placed[alertForm]        `yaml:"pending"`
	Notifications *[]placed[notificationForm] `yaml:"notifications"`
	Actions       *[]placed[wantForm]         `yaml:"actions"`
	Events        *placedWords                `yaml:"events"`
	Errors        *placedWords                `yaml:"errors"`

	Slack     *[]placed[slackForm] `yaml:"slack"`
	PagerDuty *[]placed[pagerForm] `yaml:"pagerduty"`
}

type alertForm struct {
	Rule     string                  `yaml:"rule"`
	Subject  string                  `yaml:"subject"`
	State    certmedic.IncidentState `yaml:"state"`
	Severity certmedic.Severity      `yaml:"severity"`
	Because  string                  `yaml:"because"`
	Summary  string                  `yaml:"summary"`
	Members  *membersForm            `yaml:"members"`
}

// membersForm is how many members an incident has, or which.
type membersForm struct {
	count int
	names words
}

// UnmarshalYAML implements the decoder's interface.
func (f *membersForm) UnmarshalYAML(n ast.Node) error {
	if _, ok := n.(*ast.IntegerNode); ok {
		return decode(n, &f.count)
	}
	return f.names.UnmarshalYAML(n)
}

type notificationForm struct {
	Kind     alerting.Kind      `yaml:"kind"`
	Rule     string             `yaml:"rule"`
	Subject  string             `yaml:"subject"`
	Severity certmedic.Severity `yaml:"severity"`
	Contains words              `yaml:"contains"`
}

type wantForm struct {
	Do          certmedic.ActionKind `yaml:"do"`
	Certificate string               `yaml:"certificate"`
	Mode        string               `yaml:"mode"`
}

// neverForm is what must not happen in the whole test: an incident that fires, an action
// that is asked for, a notification, or a message; with a count, not more often than that.
type neverForm struct {
	Rule         string               `yaml:"rule"`
	Subject      string               `yaml:"subject"`
	Severity     certmedic.Severity   `yaml:"severity"`
	Action       certmedic.ActionKind `yaml:"action"`
	Notification alerting.Kind        `yaml:"notification"`
	Alert        *placed[firedForm]   `yaml:"alert"`
	Slack        *placed[neverSlack]  `yaml:"slack"`
	PagerDuty    *placed[neverPager]  `yaml:"pagerduty"`
	CountGT      int                  `yaml:"count_gt"`
}

type firedForm struct {
	Rule     string             `yaml:"rule"`
	Subject  string             `yaml:"subject"`
	Severity certmedic.Severity `yaml:"severity"`
}

// plain returns the form with what stands below alert beside it.
func (f neverForm) plain() neverForm {
	if f.Alert != nil {
		f.Rule, f.Subject, f.Severity = f.Alert.value.Rule, f.Alert.value.Subject, f.Alert.value.Severity
	}
	return f
}
