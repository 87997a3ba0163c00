// Package signed checks that a request is Slack's, by the signature that Slack makes with an app's
// signing secret, and takes the payload out of it. The app calls it for what comes over HTTP.
//
// It promises to compare in constant time and to refuse what was signed more than five minutes ago
// or ahead; within that time the same request is good again, so its contents must say whether they
// were there before. It follows https://docs.slack.dev/authentication/verifying-requests-from-slack.
package signed

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// skew is how far a request's time may be from ours.
const skew = 5 * time.Minute

// The errors of [Check].
var (
	ErrSignature = errors.New("the request is not signed with the secret that is known here")
	ErrTime      = errors.New("the request was signed more than five minutes ago, or the clocks differ")
)

// Check reports whether the body of a request with these headers was signed with the secret. The
// time is looked at last, so that [ErrTime] says that the secret is the right one.
func Check(header http.Header, body []byte, secret string, now time.Time) error {
	stamp := header.Get("X-Slack-Request-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || secret == "" { // with an empty secret everybody could sign
		return ErrSignature
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":"))
	mac.Write(body)
	want := "v0=" + hex.EncodeToString(mac.Sum(nil))
	if !hmac.Equal([]byte(header.Get("X-Slack-Signature")), []byte(want)) {
		return ErrSignature
	}
	if now.Sub(time.Unix(seconds, 0)).Abs() > skew {
		return ErrTime
	}
	return nil
}

// Payload returns the JSON of an interaction, which is a field of a form.
func Payload(body []byte) ([]byte, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil || form.Get("payload") == "" {
		return nil, errors.New("the request has no payload of an interaction")
	}
	return []byte(form.Get("payload")), nil
}
