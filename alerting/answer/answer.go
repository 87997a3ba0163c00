// Package answer judges what HTTP services answer to a notification, for the receivers that
// speak HTTP. It promises that no error names a URL, because paths of webhooks are often
// secrets, and that what a service says is quoted in part, redacted and on one line.
package answer

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/redact"
)

const (
	maxAnswer  = 4 << 10 // bytes of an answer that are read
	quoteRunes = 200     // of an answer that are quoted in errors
)

// Judge reads an answer, and closes its body. A 2xx answer is a delivery; 408, 429 and 5xx answers
// are worth a retry, after the Retry-After where the service names one (RFC 9110, section
// 10.2.3); every other answer, a redirect too, is final. What is left of the body is not read: the
// connection is then closed instead of used again, which a failing service may cost.
func Judge(resp *http.Response) (retry bool, err error) {
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // only quoted, so a part will do
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return false, nil
	}
	quoted := strings.TrimSpace(redact.Truncate(redact.Text(redact.Plain(string(text))), quoteRunes))
	err = fmt.Errorf("status %d: %q", resp.StatusCode, quoted)
	if !worthARetry(resp.StatusCode) {
		return false, err
	}
	if delay := retryAfter(resp.Header.Get("Retry-After"), time.Now()); delay > 0 {
		err = &alerting.RetryAfterError{Delay: delay, Err: err}
	}
	return true, err
}

func worthARetry(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
}

// retryAfter reads both forms of the header: seconds, or a date. 0 means none.
func retryAfter(header string, now time.Time) time.Duration {
	const most = 24 * 60 * 60 // seconds; more cannot be meant, and must not overflow
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(min(max(0, seconds), most)) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// WithoutURL takes the URL out of an error of an HTTP client.
func WithoutURL(err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		return urlErr.Err
	}
	return err
}
