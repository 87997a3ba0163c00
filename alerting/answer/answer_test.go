package answer_test

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/answer"
)

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		name       string
		status     int
		retryAfter string
		text       string
		fails      bool
		retry      bool
		delay      time.Duration
		quoted     string
	}{
		{name: "taken", status: 204},
		{name: "a redirect is final", status: 302, fails: true},
		{name: "so is a mistake of ours, which is quoted without secrets", status: 400, text: "bad\x1b[1m token=abc", fails: true, quoted: `"bad token=***"`},
		{name: "too many, for a time that is told", status: 429, retryAfter: "7", fails: true, retry: true, delay: 7 * time.Second},
		{name: "a time beyond reason is bounded", status: 503, retryAfter: "99999999999", fails: true, retry: true, delay: 24 * time.Hour},
		{name: "a long answer is cut", status: 500, text: strings.Repeat("é", 9000), fails: true, retry: true, quoted: strings.Repeat("é", 199) + "…"},
	} {
		closed := &body{Reader: strings.NewReader(tt.text)}
		resp := &http.Response{StatusCode: tt.status, Header: http.Header{"Retry-After": {tt.retryAfter}}, Body: closed}
		retry, err := answer.Judge(resp)
		var asked *alerting.RetryAfterError
		delay := time.Duration(0)
		if errors.As(err, &asked) {
			delay = asked.Delay
		}
		if (err != nil) != tt.fails || retry != tt.retry || delay != tt.delay || err != nil && !strings.Contains(err.Error(), tt.quoted) {
			t.Errorf("%s: retry %v after %v, error %v", tt.name, retry, delay, err)
		}
		if !closed.closed {
			t.Errorf("%s: the answer is left open", tt.name)
		}
	}
}

type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error {
	b.closed = true
	return nil
}

func TestWithoutURL(t *testing.T) {
	cause := errors.New("refused")
	if got := answer.WithoutURL(&url.Error{Op: "Post", URL: "https://h/s3cr3t", Err: cause}); !errors.Is(got, cause) || strings.Contains(got.Error(), "s3cr3t") {
		t.Errorf("got %v", got)
	}
	if got := answer.WithoutURL(cause); !errors.Is(got, cause) {
		t.Errorf("got %v", got)
	}
}
