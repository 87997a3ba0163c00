// Package socket listens to Slack through Socket Mode: a WebSocket that certmedic opens, so that no
// port has to be open for what people press. The app runs a [Listener] for each app token.
//
// It promises that an envelope is acknowledged before anything is done about it, well within Slack's
// three seconds; that what cannot be taken is not acknowledged, so that Slack says so to the person
// and sends it again; that a connection of which nothing is heard for a minute is given up, and a
// new one is opened with back-off and jitter; and that the next one is open before Slack ends one
// that it has announced to end. The same envelope may come twice. The token, and the address of a
// connection, which is a secret too, are in no error and in no log.
//
// It speaks the protocol itself rather than by slack-go's socketmode, which reconnects at once and
// for ever where connections end right away, acknowledges only after its caller has taken the
// event, and ends a connection before it opens the next.
package socket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	defaultAPIURL = "https://slack.com/api/"
	openTimeout   = 10 * time.Second // to ask for a connection, and again to make it
	writeTimeout  = 2 * time.Second  // of an acknowledgement; Slack waits for three
	silence       = time.Minute      // without a word, not even a ping: the connection is dead
	farewell      = time.Minute      // a connection lives on after its end was announced
	steady        = 30 * time.Second // a connection that lasted so long was a good one
	firstBackoff  = time.Second
	lastBackoff   = 5 * time.Minute
	maxMessage    = 1 << 20 // bytes
)

// Listener is what one app token hears.
type Listener struct {
	Token  string // of the app (xapp-...)
	APIURL string // empty: https://slack.com/api/

	// Take takes the payload of an interaction and reports whether it did. It must not block: the
	// acknowledgement waits for it.
	Take func(payload []byte) bool

	Log *slog.Logger
}

// Run listens until ctx ends. Every connection has ended when it returns.
func (l *Listener) Run(ctx context.Context) error {
	client := newClient()
	defer client.CloseIdleConnections()
	var links sync.WaitGroup
	defer links.Wait()
	for failures := 0; ctx.Err() == nil; {
		began := time.Now()
		err := l.link(ctx, client, &links)
		if ctx.Err() != nil {
			break
		}
		if failures++; time.Since(began) > steady {
			failures = 0
		}
		delay := backoff(failures)
		if err != nil {
			l.Log.Warn("Slack's Socket Mode", "err", err, "again_in", delay)
		}
		sleep(ctx, delay)
	}
	return nil
}

// backoff returns how long to wait before the next connection: between half and all of 1 s, 2 s,
// 4 s ... 5 min.
func backoff(failures int) time.Duration {
	delay := lastBackoff
	if failures < 9 { // 2^9 s is more than the last back-off
		delay = min(lastBackoff, firstBackoff<<max(0, failures-1))
	}
	return delay/2 + rand.N(delay/2)
}

// link opens a connection and returns when another one is needed: because it has ended, then with
// the reason, or because it is about to.
func (l *Listener) link(ctx context.Context, client *http.Client, links *sync.WaitGroup) error {
	address, err := l.open(ctx, client)
	if err != nil {
		return fmt.Errorf("asking for a connection: %w", err)
	}
	conn, err := l.dial(ctx, address)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	over := make(chan error, 1)
	links.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // the reader then returns
		defer stop()
		err := l.serve(conn, over)
		_ = conn.Close() // it is over in any case
		tell(over, err)
	})
	select {
	case err := <-over:
		return err
	case <-ctx.Done():
		return nil
	}
}

// tell says once that another connection is needed.
func tell(over chan<- error, err error) {
	select {
	case over <- err:
	default: // it was said before
	}
}

// open asks Slack for the address of a connection, which is good for one (apps.connections.open).
func (l *Listener) open(ctx context.Context, client *http.Client) (string, error) {
	base := l.APIURL
	if base == "" {
		base = defaultAPIURL
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+"/apps.connections.open", nil)
	if err != nil {
		return "", errors.New("the address of Slack is not valid")
	}
	r.Header.Set("Authorization", "Bearer "+l.Token)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(r)
	if err != nil {
		return "", withoutURL(err)
	}
	defer resp.Body.Close()
	var answer struct {
		OK    bool   `json:"ok"`
		URL   string `json:"url"`
		Error string `json:"error"`
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxMessage)).Decode(&answer); err != nil {
		return "", errors.New("the answer is not valid JSON")
	}
	if !answer.OK {
		return "", fmt.Errorf("it was refused: %q", answer.Error)
	}
	return answer.URL, encrypted(answer.URL, base)
}

// encrypted refuses a connection in the clear, except where Slack itself is asked so, as in tests.
func encrypted(address, base string) error {
	switch {
	case strings.HasPrefix(address, "wss://"), strings.HasPrefix(address, "ws://") && strings.HasPrefix(base, "http://"):
		return nil
	}
	return errors.New("no encrypted address was named")
}

// withoutURL drops the URL from an error of an HTTP client.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func newClient() *http.Client {
	return &http.Client{
		Timeout: openTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: openTimeout}).DialContext,
			TLSHandshakeTimeout: openTimeout, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
		// A redirect would carry the token to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (l *Listener) dial(ctx context.Context, address string) (*websocket.Conn, error) {
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: openTimeout}
	conn, resp, err := d.DialContext(ctx, address, nil)
	if resp != nil {
		_ = resp.Body.Close() // gorilla has read what there is
	}
	if err != nil {
		return nil, withoutURL(err)
	}
	conn.SetReadLimit(maxMessage)
	conn.SetPingHandler(func(data string) error {
		_ = conn.SetReadDeadline(time.Now().Add(silence)) // the read fails where this does
		return conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeTimeout))
	})
	return conn, nil
}

// envelope is a message of Slack.
type envelope struct {
	Type    string          `json:"type"`
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload"`
	Reason  string          `json:"reason"`
}

// serve takes what comes through a connection until it ends, and returns why that was; nil where
// Slack has asked for another one.
func (l *Listener) serve(conn *websocket.Conn, over chan<- error) error {
	deadline := time.Time{} // of a connection whose end was announced
	for {
		next := time.Now().Add(silence)
		if !deadline.IsZero() && deadline.Before(next) {
			next = deadline
		}
		_ = conn.SetReadDeadline(next) // the read fails where this does
		var e envelope
		if err := conn.ReadJSON(&e); err != nil {
			return fmt.Errorf("the connection ended: %w", err)
		}
		if e.Type == "disconnect" {
			l.Log.Debug("Slack ends a connection", "reason", e.Reason)
			if e.Reason != "warning" {
				return nil
			}
			deadline = time.Now().Add(farewell)
			tell(over, nil)
			continue
		}
		if err := l.take(conn, e); err != nil {
			return err
		}
	}
}

// take takes an envelope and acknowledges it. Of a kind that nobody here waits for it is
// acknowledged, so that it does not come again.
func (l *Listener) take(conn *websocket.Conn, e envelope) error {
	if e.ID == "" {
		return nil // a greeting
	}
	if e.Type == "interactive" && !l.Take(e.Payload) {
		l.Log.Warn("too much comes from Slack at once, a click is not taken")
		return nil
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // the write fails where this does
	if err := conn.WriteJSON(map[string]string{"envelope_id": e.ID}); err != nil {
		return fmt.Errorf("acknowledging an envelope: %w", err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
