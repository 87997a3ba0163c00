package signed_test

import (
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/slack/signed"
	"github.com/certmedic/certmedic/alerting/slack/slackfake"
)

// FuzzSigned lets a payload be anything: signed by Slack it comes through as it was, and changed in
// any byte it does not.
func FuzzSigned(f *testing.F) {
	f.Add([]byte(`{"type":"block_actions"}`), "s3cret", 3)
	f.Add([]byte("a&payload=b%00"), "\x00", 0)
	f.Add([]byte{}, "x", 1)
	f.Fuzz(func(t *testing.T, payload []byte, secret string, place int) {
		s, now := slackfake.Unstarted(slackfake.Options{}), time.Now()
		r, err := s.Signed(t.Context(), "http://localhost/", json.RawMessage(payload), now, secret)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if secret == "" {
			secret = s.SigningSecret
		}
		if err := signed.Check(r.Header, body, secret, now); err != nil {
			t.Fatalf("what Slack signed is refused: %v", err)
		}
		if got, err := signed.Payload(body); (err == nil) != (len(payload) > 0) || string(got) != string(payload) {
			t.Errorf("%q came through as %q, %v", payload, got, err)
		}
		body[(place&0x7fffffff)%len(body)] ^= 1
		if err := signed.Check(r.Header, body, secret, now); !errors.Is(err, signed.ErrSignature) {
			t.Errorf("what was changed is taken: %v", err)
		}
		_, _ = signed.Payload(payload) // of anybody: it must not panic
	})
}
