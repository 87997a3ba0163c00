package webhook

import (
	"cmp"
	"net/http"
	"time"

	"github.com/certmedic/certmedic/alerting/template"
)

// Config is what a webhook receiver needs.
type Config struct {
	URL     string        // http or https
	Method  string        // empty: POST
	Headers http.Header   // added to every request, such as Authorization
	Timeout time.Duration // of one request with its answer; 0: 10 s

	Template    *template.Template // makes the request's body; nil: [Body] as JSON
	ContentType string             // of the request's body; empty: application/json
	RunbookURL  string             // stands in front of the name of a rule's runbook; empty: the name alone is told

	SkipResolved bool // the end of an incident is not sent
}

const defaultTimeout = 10 * time.Second

func (c Config) contentType() string { return cmp.Or(c.ContentType, "application/json") }
