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

func TestCheck(t *testing.T) {
	s := slackfake.New(slackfake.Options{})
	defer s.Close()
	now := time.Now()
	for _, row := range []struct {
		about, signs, knows string
		at                  time.Time
		change              bool
		want                error
	}{
		{"Slack's own", "s3cret", "s3cret", now, false, nil},
		{"almost five minutes old", "s3cret", "s3cret", now.Add(-299 * time.Second), false, nil},
		{"more than five minutes old", "s3cret", "s3cret", now.Add(-302 * time.Second), false, signed.ErrTime},
		{"of the future", "s3cret", "s3cret", now.Add(302 * time.Second), false, signed.ErrTime},
		{"somebody else's", "guessed", "s3cret", now, false, signed.ErrSignature},
		{"changed on its way", "s3cret", "s3cret", now, true, signed.ErrSignature},
		{"no secret is known", "s3cret", "", now, false, signed.ErrSignature},
	} {
		r, err := s.Signed(t.Context(), "http://localhost/", json.RawMessage(`{"type":"x"}`), row.at, row.signs)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if row.change {
			body[len(body)-1]++
		}
		if err := signed.Check(r.Header, body, row.knows, now); !errors.Is(err, row.want) || (err == nil) != (row.want == nil) {
			t.Errorf("%s: %v, want %v", row.about, err, row.want)
		}
		r.Header.Del("X-Slack-Request-Timestamp")
		if signed.Check(r.Header, body, row.knows, now) == nil {
			t.Errorf("%s: it is good without a time", row.about)
		}
	}
}

func TestPayload(t *testing.T) {
	got, err := signed.Payload([]byte("payload=%7B%22a%22%3A1%7D"))
	if err != nil || string(got) != `{"a":1}` {
		t.Errorf("%q, %v", got, err)
	}
	for _, body := range []string{"", "a=b", "%zz"} {
		if _, err := signed.Payload([]byte(body)); err == nil {
			t.Errorf("%q has a payload", body)
		}
	}
}
