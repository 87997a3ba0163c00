package scenario

import (
	"github.com/goccy/go-yaml/ast"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// document is the form of a scenario file.
type document struct {
	Rules    words              `yaml:"rules"`
	Now      *moment            `yaml:"now"`
	Interval span               `yaml:"interval"`
	Tests    []placed[testForm] `yaml:"tests"`
	Coverage struct {
		Rules    percent `yaml:"rules"`
		Branches percent `yaml:"branches"`
	} `yaml:"coverage"`
}

type testForm struct {
	Name    string              `yaml:"name"`
	Waiting string              `yaml:"waiting"`
	Given   givenForm           `yaml:"given"`
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

	Stored  *bool                  `yaml:"stored"`
	Watched bool                   `yaml:"watched"`
	Labels  map[string]string      `yaml:"labels"`
	Mode    certmedic.Mode         `yaml:"mode"`
	Allow   []certmedic.ActionKind `yaml:"allow"`
	ARI     *windowForm            `yaml:"ari"`
	Ages    []float64              `yaml:"ages"`
	Files   map[string]string      `yaml:"files"`
}

type versionForm struct {
	Names          []string `yaml:"names"`
	Issuer         string   `yaml:"issuer"`
	KeyType        string   `yaml:"key_type"`
	Lifetime       span     `yaml:"lifetime"`
	Age            span     `yaml:"age"`
	Findings       words    `yaml:"findings"`
	StoredFindings words    `yaml:"stored_findings"`
}

type windowForm struct {
	Start moment `yaml:"start"`
	End   moment `yaml:"end"`
}

type endpointForm struct {
	Count       int               `yaml:"count"`
	Pattern     string            `yaml:"pattern"`
	Address     string            `yaml:"address"`
	Serves      words             `yaml:"serves"`
	Certificate string            `yaml:"certificate"`
	Labels      map[string]string `yaml:"labels"`
	Protocol    string            `yaml:"protocol"`
	ServerName  string            `yaml:"server_name"`
	Addresses   int               `yaml:"addresses"`
	Owned       bool              `yaml:"owned"`
	TLS         string            `yaml:"tls"`
	Findings    words             `yaml:"findings"`
}

type stepForm struct {
	At     *span      `yaml:"at"`
	Change changeForm `yaml:",inline"`

	Then       *changeForm `yaml:"then"`
	Expect     *expectForm `yaml:"expect"`
	SlackClick *raw        `yaml:"slack_click"`
}

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
	Deny           placed[words]      `yaml:"deny"`
	Facts          table[table[raw]]  `yaml:"facts"`
	Gone           placed[words]      `yaml:"gone"`
	Clock          span               `yaml:"clock"`
	Restart        bool               `yaml:"restart"`
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
	Events        *words                      `yaml:"events"`

	Slack     *raw `yaml:"slack"`
	PagerDuty *raw `yaml:"pagerduty"`
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
// that is asked for, or a notification; with a count, not more often than that.
type neverForm struct {
	Rule         string               `yaml:"rule"`
	Subject      string               `yaml:"subject"`
	Severity     certmedic.Severity   `yaml:"severity"`
	Action       certmedic.ActionKind `yaml:"action"`
	Notification alerting.Kind        `yaml:"notification"`
	Alert        *firedForm           `yaml:"alert"`
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
		f.Rule, f.Subject, f.Severity = f.Alert.Rule, f.Alert.Subject, f.Alert.Severity
	}
	return f
}
