package e2e_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/webhook"
	"github.com/certmedic/certmedic/internal/testhost"
)

// alerts is a receiver of webhooks, on a host.
type alerts struct {
	url string

	mu     sync.Mutex
	bodies []webhook.Body
}

// listen starts a receiver that ends with the test.
func listen(t *testing.T, host *testhost.Host) *alerts {
	t.Helper()
	listener, err := host.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &alerts{url: "http://" + listener.Addr().String() + "/alerts"}
	server := &http.Server{Handler: http.HandlerFunc(a.hear), ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // until it is closed
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return a
}

func (a *alerts) hear(w http.ResponseWriter, r *http.Request) {
	var body webhook.Body
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.bodies = append(a.bodies, body)
}

// about returns what was heard about a rule, oldest first. An update that does no more than name the
// cause is left out: on a fast machine that comes in the first message.
func (a *alerts) about(rule string) []webhook.Body {
	a.mu.Lock()
	defer a.mu.Unlock()
	var heard []webhook.Body
	last := map[string]webhook.Body{}
	for _, b := range a.bodies {
		before, known := last[b.Incident]
		explained := known && b.Event == alerting.KindUpdate && before.Cause != b.Cause && before.Severity == b.Severity && slices.Equal(before.Members, b.Members)
		last[b.Incident] = b
		if b.Rule == rule && !explained {
			heard = append(heard, b)
		}
	}
	return heard
}
