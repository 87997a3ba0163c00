package api

import (
	"context"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// Receiver is how one receiver does, of the answer to GET /api/v1/receivers.
type Receiver struct {
	Name      string    `json:"name"`
	Kind      string    `json:"kind"`                // slack, webhook, ... as in the configuration
	Failing   bool      `json:"failing"`             // it does not take what it is sent
	Why       string    `json:"why,omitempty"`       // what its last attempt came to, where that failed
	Waits     time.Time `json:"waits,omitzero"`      // since when the oldest notification waits
	Took      time.Time `json:"took,omitzero"`       // when it took something last, since the daemon started
	Heartbeat bool      `json:"heartbeat,omitempty"` // it hears that certmedic lives
	Fallback  bool      `json:"fallback,omitempty"`
	Tested    time.Time `json:"tested,omitzero"`  // when it last took a test
	Drilled   time.Time `json:"drilled,omitzero"` // when it last took a drill, from its beginning to its end
}

// TestRequest is the body of POST /api/v1/receivers/test.
type TestRequest struct {
	Receiver string `json:"receiver,omitempty"` // empty: all of them
	By       string `json:"by,omitempty"`       // the person, where no daemon runs; a daemon asks the kernel
}

// TestResult is what one receiver made of a test.
type TestResult struct {
	Receiver  string        `json:"receiver"`
	Kind      string        `json:"kind"`
	Delivered bool          `json:"delivered"` // the beginning and the end
	Error     string        `json:"error,omitempty"`
	Took      time.Duration `json:"took_ns"`
}

// PreviewRequest is the body of POST /api/v1/receivers/preview. What is empty is made up.
type PreviewRequest struct {
	Receiver    string `json:"receiver,omitempty"` // empty: all of them
	Rule        string `json:"rule,omitempty"`
	Certificate string `json:"certificate,omitempty"`
}

// Preview is what one receiver would be sent.
type Preview struct {
	Receiver string `json:"receiver"`
	Kind     string `json:"kind"`
	Shown    string `json:"shown"`
	Own      bool   `json:"own"` // as it is sent; else the event that it is told, as JSON
	Error    string `json:"error,omitempty"`
}

// DrillRequest is the body of POST /api/v1/drills, which begins a drill.
type DrillRequest struct {
	Certificate string             `json:"certificate,omitempty"` // empty: it is about certmedic itself
	Severity    certmedic.Severity `json:"severity"`
	For         time.Duration      `json:"for_ns"`
	By          string             `json:"by,omitempty"` // the person, where no daemon runs; a daemon asks the kernel
}

// EndDrillRequest is the body of POST /api/v1/drills/end, which ends a drill before its time.
type EndDrillRequest struct {
	ID string `json:"id"`
}

// Drill is how a drill goes.
type Drill struct {
	ID          string             `json:"id"`
	Certificate string             `json:"certificate"`
	Severity    certmedic.Severity `json:"severity"`
	DedupKey    string             `json:"dedup_key"`
	StartedAt   time.Time          `json:"started_at"`
	EndsAt      time.Time          `json:"ends_at"`
	Phase       alerting.Kind      `json:"phase"` // what was told last: firing, update or resolved
	Done        bool               `json:"done"`  // nothing more will come of it
	Receivers   []DrillReceiver    `json:"receivers"`
}

// DrillReceiver is what one receiver took of a drill.
type DrillReceiver struct {
	Receiver string    `json:"receiver"`
	Began    time.Time `json:"began,omitzero"` // when it took the beginning
	Ended    time.Time `json:"ended,omitzero"` // and the end
	Error    string    `json:"error,omitempty"`
	Instead  bool      `json:"instead,omitempty"` // no route names it: it stood in for others
}

// Delivered reports whether every receiver that routes name took the beginning and the end.
func (d Drill) Delivered() bool {
	for _, r := range d.Receivers {
		if !r.Instead && (r.Error != "" || r.Began.IsZero() || r.Ended.IsZero()) {
			return false
		}
	}
	return d.Done && len(d.Receivers) > 0
}

// Receivers asks how the receivers do.
func (c *Client) Receivers(ctx context.Context) ([]Receiver, error) {
	var all []Receiver
	err := c.get(ctx, "/api/v1/receivers", nil, &all)
	return all, err
}

// TestReceivers sends a real message through receivers.
func (c *Client) TestReceivers(ctx context.Context, r TestRequest) ([]TestResult, error) {
	var all []TestResult
	err := c.post(ctx, "/api/v1/receivers/test", r, &all)
	return all, err
}

// PreviewReceivers asks what receivers would be sent.
func (c *Client) PreviewReceivers(ctx context.Context, r PreviewRequest) ([]Preview, error) {
	var all []Preview
	err := c.post(ctx, "/api/v1/receivers/preview", r, &all)
	return all, err
}

// StartDrill begins a drill, which goes on by itself.
func (c *Client) StartDrill(ctx context.Context, r DrillRequest) (Drill, error) {
	var d Drill
	err := c.post(ctx, "/api/v1/drills", r, &d)
	return d, err
}

// Drill asks how a drill goes.
func (c *Client) Drill(ctx context.Context, id string) (Drill, error) {
	var d Drill
	err := c.get(ctx, "/api/v1/drills", map[string][]string{"id": {id}}, &d)
	return d, err
}

// EndDrill ends a drill before its time.
func (c *Client) EndDrill(ctx context.Context, id string) (Drill, error) {
	var d Drill
	err := c.post(ctx, "/api/v1/drills/end", EndDrillRequest{ID: id}, &d)
	return d, err
}
