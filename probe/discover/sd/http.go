package sd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// fetchTimeout bounds a whole request.
const fetchTimeout = 30 * time.Second

// Fetch asks a server for targets in the form of http_sd: status 200, a JSON list of groups.
// Refresh is how often it is asked, which it is told in whole seconds; 0 tells nothing.
// Errors name the server and the path, and nothing of the URL that may be secret.
func Fetch(ctx context.Context, client *http.Client, address string, refresh time.Duration) ([]Group, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("http_sd: its URL cannot be read") // the cause would quote it
	}
	shown := (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path}).String()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	data, err := get(ctx, client, address, refresh)
	if err != nil {
		return nil, fmt.Errorf("http_sd %q: %w", shown, err)
	}
	groups, line, err := parseJSON(data)
	if err == nil {
		err = check(groups)
	}
	if err != nil {
		return nil, fmt.Errorf("http_sd %q: line %d: %w", shown, line, err)
	}
	return groups, nil
}

func get(ctx context.Context, client *http.Client, address string, refresh time.Duration) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, withoutURL(err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "certmedic")
	if refresh > 0 {
		request.Header.Set("X-Prometheus-Refresh-Interval-Seconds", strconv.FormatFloat(refresh.Seconds(), 'f', 0, 64))
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %q, not 200", answer.Status)
	}
	if kind, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")); kind != "application/json" {
		return nil, fmt.Errorf("its Content-Type is %q, not application/json", answer.Header.Get("Content-Type"))
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = errTooLarge
	}
	return data, err
}

// withoutURL removes what the caller says anyway.
func withoutURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
