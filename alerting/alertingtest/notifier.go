package alertingtest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
)

// secret is in the URL of the tested notifier, and comes back in answers.
const secret = "s3cr3t-0123456789"

// Recorder is a notifier that keeps what it was told. Answer, where it is set, decides
// about each attempt. Its methods may be called by several goroutines.
type Recorder struct {
	Answer func(attempt int) (retry bool, err error) // attempts count from 1

	mu       sync.Mutex
	attempts int
	got      []alerting.Notification
}

var _ alerting.Notifier = (*Recorder)(nil)

// Notify keeps the notification if Answer lets it.
func (r *Recorder) Notify(_ context.Context, n alerting.Notification) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts++
	if r.Answer != nil {
		if retry, err := r.Answer(r.attempts); err != nil {
			return retry, err
		}
	}
	r.got = append(r.got, n)
	return false, nil
}

// Delivered returns what it was told so far.
func (r *Recorder) Delivered() []alerting.Notification {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]alerting.Notification(nil), r.got...)
}

// Attempts returns how often it was called.
func (r *Recorder) Attempts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.attempts
}

// Notification returns a notification about one firing incident.
func Notification() alerting.Notification {
	e := entry("", 0).Event
	return alerting.Notification{
		Receiver: "ops", Conversation: e.Conversation(), Status: alerting.StatusFiring,
		Events: []alerting.Event{e},
	}
}

// TestNotifier checks a notifier that speaks HTTP: which answers are deliveries, which
// are worth a retry, that Retry-After is passed on, that ctx is obeyed, and that no
// secret is in an error. build returns a notifier that sends to url.
func TestNotifier(t *testing.T, build func(url string) alerting.Notifier) {
	t.Helper()
	for status := 200; status < 600; status++ {
		if http.StatusText(status) != "" {
			testStatus(t, build, status)
		}
	}
	t.Run("retry-after", func(t *testing.T) { testRetryAfter(t, build) })
	t.Run("refused connection", func(t *testing.T) { testRefused(t, build) })
	t.Run("cancelled", func(t *testing.T) { testCancelled(t, build) })
}

func testStatus(t *testing.T, build func(url string) alerting.Notifier, status int) {
	t.Helper()
	retry, err := attempt(t, build, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "no: token="+secret) // a 204 has no body
	})
	wantErr := status > 299
	wantRetry := status == 408 || status == 429 || status >= 500
	if (err != nil) != wantErr || retry != wantRetry {
		t.Errorf("status %d: retry %v, error %v; want retry %v, an error %v", status, retry, err, wantRetry, wantErr)
	}
}

func testRetryAfter(t *testing.T, build func(url string) alerting.Notifier) {
	tests := []struct {
		name, header string
		least, most  time.Duration
	}{
		{"seconds", "7", 7 * time.Second, 7 * time.Second},
		{"a date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), 50 * time.Minute, time.Hour},
		{"nonsense", "soon", 0, 0},
		{"a negative number", "-5", 0, 0},
		{"a huge number", "99999999999", 0, 1000 * time.Hour},
	}
	for _, tt := range tests {
		_, err := attempt(t, build, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", tt.header)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		var asked *alerting.RetryAfterError
		var delay time.Duration
		if errors.As(err, &asked) {
			delay = asked.Delay
		}
		if delay < tt.least || delay > tt.most {
			t.Errorf("%s: delay %v, want %v to %v", tt.name, delay, tt.least, tt.most)
		}
	}
}

func testRefused(t *testing.T, build func(url string) alerting.Notifier) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	retry, err := build(server.URL+"/"+secret).Notify(t.Context(), Notification())
	if !retry || err == nil {
		t.Errorf("retry %v, error %v; want a retry", retry, err)
	}
	wantNoSecret(t, err)
}

func testCancelled(t *testing.T, build func(url string) alerting.Notifier) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client has gone
		<-r.Context().Done()
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	retry, err := build(server.URL+"/"+secret).Notify(ctx, Notification())
	if !retry || err == nil {
		t.Errorf("retry %v, error %v; want a retry", retry, err)
	}
	wantNoSecret(t, err)
}

// attempt lets a notifier try once against a handler.
func attempt(t *testing.T, build func(url string) alerting.Notifier, handle http.HandlerFunc) (bool, error) {
	t.Helper()
	var mu sync.Mutex
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		calls++
		mu.Unlock()
		handle(w, r)
	}))
	defer server.Close()
	url := strings.Replace(server.URL, "http://", "http://user:"+secret+"@", 1) + "/" + secret + "?token=" + secret
	retry, err := build(url).Notify(t.Context(), Notification())
	wantNoSecret(t, err)
	if mu.Lock(); calls != 1 {
		t.Errorf("%d requests, want one attempt", calls)
	}
	mu.Unlock()
	return retry, err
}

func wantNoSecret(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), secret) {
		t.Errorf("a secret is in the error: %v", err)
	}
}

// Incident returns a firing incident of the certificate "shop", for tests.
func Incident(id, rule string, severity certmedic.Severity) certmedic.Incident {
	i := entry("", 0).Event.Incident
	i.ID, i.Rule, i.Severity = id, rule, severity
	return i
}

// Diagnosed returns an incident with a cause, whose fix is a remark and a command.
func Diagnosed(in certmedic.Incident) certmedic.Incident {
	in.Cause, in.CauseSummary = certmedic.CauseHookFailed, "The deploy hook \"10-nginx\" failed with exit code 1."
	in.Fix = "# mend the hook, then\ncertmedic redeploy shop && echo '<b> & done'"
	return in
}
