package pagerduty_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/pagerduty"
	"github.com/certmedic/certmedic/alerting/pagerduty/pdfake"
)

// TestWhatPeopleDoComesBack sends webhooks of the fake, whose secrets are being rotated.
func TestWhatPeopleDoComesBack(t *testing.T) {
	var came []pagerduty.Came
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := pagerduty.ParseWebhook(r, []string{"other", "old"})
		if err != nil {
			t.Error(err)
		}
		came = append(came, c)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	fake := pdfake.New(pdfake.Options{})
	fake.Subscribe(server.URL, "new", "old")
	deliver(t, newNotifier(t, pagerduty.Config{}, fake.Client()), full())
	for _, err := range []error{
		fake.Acknowledge(conversation, "Ann \x1b[31m<b>\nReed"), fake.Unacknowledge(conversation, ""), fake.Escalate(conversation, "Bob"),
		fake.Reassign(conversation, "Bob", "Ann"), fake.Resolve(conversation, "Ann"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if outcomes := fake.Deliver(t.Context(), server.Client()); len(outcomes) != 6 {
		t.Fatalf("outcomes %q", outcomes)
	}
	var got []string
	for _, c := range came {
		got = append(got, fmt.Sprintf("%s by %q %v to %q", c.Kind, c.By, c.Person, c.To))
		if !c.About(conversation) || c.Conversation() != conversation || c.ID == "" || time.Since(c.At) > time.Minute || !strings.HasPrefix(c.URL, "https://acme.pagerduty.com/incidents/P") {
			t.Errorf("came %+v", c)
		}
	}
	want := []string{
		`triggered by "Events API V2" false to ["On Call"]`,
		`acknowledged by "Ann <b> Reed" true to ["Ann <b> Reed"]`,
		`unacknowledged by "Service" false to ["Ann <b> Reed"]`,
		`escalated by "Service" false to ["Bob"]`,
		`reassigned by "Bob" true to ["Ann"]`,
		`resolved by "Ann" true to ["Ann"]`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("came\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func webhook(body, signature string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	if signature != "" {
		r.Header.Set("X-PagerDuty-Signature", signature)
	}
	return r
}

func TestWebhooksThatAreRefused(t *testing.T) {
	const body = `{"event": {"id": "1", "event_type": "incident.acknowledged", "data": {"incident_key": "k"}}}`
	good := pdfake.Sign([]byte(body), "secret")
	large := `{"event": {"id": "` + strings.Repeat("x", 256<<10) + `"}}`
	tests := []struct {
		name, body, signature string
		secrets               []string
		want                  error // nil: taken
	}{
		{"a good signature", body, good, []string{"secret"}, nil},
		{"the second of several, with a blank", body, "v1=00, " + good, []string{"secret"}, nil},
		{"a secret that is rotated out", body, good, []string{"new", "secret"}, nil},
		{"no signature", body, "", []string{"secret"}, pagerduty.ErrSignature},
		{"another secret", body, good, []string{"other"}, pagerduty.ErrSignature},
		{"no secret", body, good, nil, pagerduty.ErrSignature},
		{"an empty secret, with which everybody could sign", body, pdfake.Sign([]byte(body), ""), []string{""}, pagerduty.ErrSignature},
		{"another version of signatures", body, strings.Replace(good, "v1", "v0", 1), []string{"secret"}, pagerduty.ErrSignature},
		{"another body", body + " ", good, []string{"secret"}, pagerduty.ErrSignature},
		{"a signature that is not hexadecimal", body, "v1=zz", []string{"secret"}, pagerduty.ErrSignature},
		{"an empty body", "", pdfake.Sign(nil, "secret"), []string{"secret"}, pagerduty.ErrMalformed},
		{"no JSON", "{", pdfake.Sign([]byte("{"), "secret"), []string{"secret"}, pagerduty.ErrMalformed},
		{"no event", "{}", pdfake.Sign([]byte("{}"), "secret"), []string{"secret"}, pagerduty.ErrMalformed},
		{"too large", large, pdfake.Sign([]byte(large), "secret"), []string{"secret"}, pagerduty.ErrMalformed},
	}
	for _, tt := range tests {
		if _, err := pagerduty.ParseWebhook(webhook(tt.body, tt.signature), tt.secrets); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestWebhooksOfOtherKinds(t *testing.T) {
	for _, kind := range []string{"pagey.ping", "service.updated", "incident.annotated", "incident.responder.added", "incident."} {
		body := fmt.Sprintf(`{"event": {"id": "1", "event_type": %q, "agent": null, "data": {"incident_key": "k"}}}`, kind)
		came, err := pagerduty.ParseWebhook(webhook(body, pdfake.Sign([]byte(body), "s")), []string{"s"})
		if err != nil || came.Kind != "" || came.Key != "" || came.ID != "1" {
			t.Errorf("%s: %+v, %v", kind, came, err)
		}
	}
}

func TestABodyThatBreaksOff(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("{"), brokenReader{}))
	if _, err := pagerduty.ParseWebhook(r, []string{"s"}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestAbout(t *testing.T) {
	long := strings.Repeat("ü", 200)
	tests := []struct {
		name, conversation string
		about              string
		want               bool
	}{
		{"itself", "certmedic/shop/e1", "certmedic/shop/e1", true},
		{"another", "certmedic/shop/e1", "certmedic/shop/e2", false},
		{"one that is longer than a key may be", "certmedic/" + long + "/e1", "certmedic/" + long + "/e1", true},
		{"another that begins like it", "certmedic/" + long + "/e1", "certmedic/" + long + "/e2", false},
	}
	for _, tt := range tests {
		fake := pdfake.New(pdfake.Options{})
		note := full()
		note.Conversation = tt.conversation
		deliver(t, newNotifier(t, pagerduty.Config{}, fake.Client()), note)
		key := fake.Open()[0].Key
		if first, other := (pagerduty.Came{Key: key}), (pagerduty.Came{Key: key + "/escalated"}); first.About(tt.about) != tt.want || other.About(tt.about) != tt.want {
			t.Errorf("%s: the key %q is about %q: %v", tt.name, key, tt.about, !tt.want)
		}
	}
}
