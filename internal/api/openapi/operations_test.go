package openapi_test

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// The places where an operation is offered.
const (
	onListeners = "Offered on every listener, and on the socket."
	withLogin   = "Offered on the socket, and on listeners to those who log in, from the same origin."
	onSocket    = "Offered on the socket of the commands only."
)

// operation is one row of the table.
type operation struct {
	method, path, id, summary, where string
	params                           []param
	request, response                reflect.Type // nil: none
}

type param struct {
	name, about string
	in          string // empty: query
	number      bool
	required    bool
}

func (p param) made() *openapi3.Parameter {
	made := openapi3.NewQueryParameter(p.name)
	if p.in == openapi3.ParameterInPath {
		made = openapi3.NewPathParameter(p.name)
	}
	schema := openapi3.NewStringSchema()
	if p.number {
		schema = openapi3.NewIntegerSchema().WithMin(1).WithMax(10_000)
	}
	return made.WithDescription(p.about).WithRequired(p.required || p.in == openapi3.ParameterInPath).WithSchema(schema)
}

func (o operation) about() string { return o.where }

// tag is the first word of the path.
func (o operation) tag() string {
	return strings.Split(strings.TrimPrefix(o.path, "/api/v1/"), "/")[0]
}

// media is the form of the answer.
func (o operation) media() string {
	if o.id == "events" {
		return "text/event-stream"
	}
	return "application/json"
}

func of[T any]() reflect.Type { return reflect.TypeFor[T]() }

var (
	certificate = param{name: "certificate", about: "Of this certificate only."}
	limit       = param{name: "limit", about: "At most so many; 100 where it is absent.", number: true}
	problemType = of[api.Problem]()
)

// operations are all of the API.
var operations = []operation{
	{http.MethodGet, "/api/v1/status", "status", "The present picture of everything.", onListeners, nil, nil, of[api.Status]()},
	{http.MethodGet, "/api/v1/incidents", "incidents", "The open incidents, and the newest that ended.", onListeners, []param{certificate, limit}, nil, of[[]certmedic.Incident]()},
	{http.MethodGet, "/api/v1/history", "history", "The newest actions and rehearsals.", onListeners, []param{certificate, limit}, nil, of[[]certmedic.Action]()},
	{http.MethodGet, "/api/v1/certificates/{name}/matrix", "matrix", "Which version of a certificate is on which node, address and type of key.", onListeners, []param{{name: "name", about: "The certificate.", in: openapi3.ParameterInPath}}, nil, of[api.Matrix]()},
	{http.MethodGet, "/api/v1/fleet", "fleet", "The picture of all members of the cluster, asked by this one.", onListeners, nil, nil, of[api.Fleet]()},
	{http.MethodGet, "/api/v1/events", "events", "What changes, as server-sent events: the name of each is its kind, its data this object. It never ends.", onListeners, nil, nil, of[api.Change]()},
	{http.MethodGet, "/api/v1/rules", "rules", "The rules in force, and what they say of all that is watched.", onListeners, nil, nil, of[[]api.Rule]()},
	{http.MethodGet, "/api/v1/silences", "silences", "The silences.", onListeners, []param{{name: "ended", about: "true: those that ended, too."}}, nil, of[[]silence.Silence]()},
	{http.MethodPost, "/api/v1/silences", "addSilence", "Keep quiet about something for a while.", withLogin, nil, of[api.SilenceRequest](), of[silence.Silence]()},
	{http.MethodPost, "/api/v1/silences/end", "endSilence", "End a silence now.", withLogin, nil, of[api.EndRequest](), of[silence.Silence]()},
	{http.MethodGet, "/api/v1/acknowledgements", "acknowledgements", "Who looks after what.", onListeners, nil, nil, of[[]api.Acknowledgement]()},
	{http.MethodPost, "/api/v1/acknowledgements", "acknowledge", "Say that one looks after an incident.", withLogin, nil, of[api.AckRequest](), of[[]api.Acknowledgement]()},
	{http.MethodGet, "/api/v1/plans", "plans", "The plans that wait for a person, in full.", withLogin, nil, nil, of[[]approval.Approval]()},
	{http.MethodPost, "/api/v1/plans/approve", "approve", "Let certmedic carry out a plan, once.", withLogin, nil, of[api.WordRequest](), of[approval.Approval]()},
	{http.MethodPost, "/api/v1/plans/reject", "reject", "Keep certmedic from carrying out a plan.", withLogin, nil, of[api.WordRequest](), of[approval.Approval]()},
	{http.MethodPost, "/api/v1/actions", "act", "Carry out an action, or show what it would do. It answers when the action has ended.", onSocket, nil, of[api.ActionRequest](), of[api.ActionAnswer]()},
	{http.MethodPost, "/api/v1/rehearsals", "rehearse", "Rehearse hooks, or a renewal.", onSocket, nil, of[api.RehearsalRequest](), of[api.RehearsalAnswer]()},
	{http.MethodGet, "/api/v1/snapshots", "snapshots", "The kept good versions of a certificate.", onSocket, []param{{name: "certificate", about: "The certificate.", required: true}}, nil, of[[]snapshot.Snapshot]()},
	{http.MethodGet, "/api/v1/keys", "deniedKeys", "The denied keys.", onSocket, nil, nil, of[[]deny.Entry]()},
	{http.MethodPost, "/api/v1/keys", "denyKey", "Never install a key again.", onSocket, nil, of[api.DenyRequest](), of[api.DenyAnswer]()},
	{http.MethodGet, "/api/v1/receivers", "receivers", "How the ways to tell people do.", onSocket, nil, nil, of[[]api.Receiver]()},
	{http.MethodPost, "/api/v1/receivers/test", "testReceivers", "A real message through receivers.", onSocket, nil, of[api.TestRequest](), of[[]api.TestResult]()},
	{http.MethodPost, "/api/v1/receivers/preview", "previewReceivers", "What receivers would be sent.", onSocket, nil, of[api.PreviewRequest](), of[[]api.Preview]()},
	{http.MethodGet, "/api/v1/drills", "drill", "How a drill stands.", onSocket, []param{{name: "id", about: "The ID of the drill."}}, nil, of[api.Drill]()},
	{http.MethodPost, "/api/v1/drills", "startDrill", "Have an incident that is none told from its beginning to its end.", onSocket, nil, of[api.DrillRequest](), of[api.Drill]()},
	{http.MethodPost, "/api/v1/drills/end", "endDrill", "End a drill.", onSocket, nil, of[api.EndDrillRequest](), of[api.Drill]()},
}
