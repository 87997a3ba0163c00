package pagerduty_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/certmedic/certmedic/alerting/pagerduty"
)

// FuzzWebhook lets a webhook be anything: without a signature nothing of it is read, and with one the
// names in it are short and in one line.
func FuzzWebhook(f *testing.F) {
	const came = `{"event":{"id":"E1","event_type":"incident.acknowledged","resource_type":"incident","occurred_at":"2026-03-01T00:00:00Z",` +
		`"agent":{"type":"user_reference","summary":"Ann"},"data":{"incident_key":"certmedic/shop/e1","html_url":"https://x/","assignees":[{"summary":"Bob"}]}}}`
	f.Add([]byte(came))
	f.Add([]byte(strings.ReplaceAll(came, "Ann", `\u2028\u202e\u0000<b>`)))
	f.Add([]byte(strings.ReplaceAll(came, "https", "javascript")))
	f.Add([]byte(`{"event":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(body))
		if _, err := pagerduty.ParseWebhook(r, []string{"s3cret"}); err == nil {
			t.Fatal("it is read without a signature")
		}
		r = httptest.NewRequest("POST", "/", bytes.NewReader(body))
		mac := hmac.New(sha256.New, []byte("s3cret"))
		mac.Write(body)
		r.Header.Set("X-PagerDuty-Signature", "v1=0000, v1="+hex.EncodeToString(mac.Sum(nil)))
		c, err := pagerduty.ParseWebhook(r, []string{"other", "s3cret"})
		if err != nil {
			if !errors.Is(err, pagerduty.ErrMalformed) {
				t.Errorf("error %v", err)
			}
			return
		}
		for _, said := range append(c.To, c.By, c.ID) {
			hidden := strings.ContainsFunc(said, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) })
			if hidden || !utf8.ValidString(said) || utf8.RuneCountInString(said) > 101 {
				t.Errorf("named %q", said)
			}
		}
		if c.URL != "" && !strings.HasPrefix(strings.ToLower(c.URL), "http") {
			t.Errorf("the address is %q", c.URL)
		}
	})
}
