package slackfake

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	ackWithin = 3 * time.Second
	pingEvery = 10 * time.Second
)

// Click is what a person does with a button.
type Click struct {
	User    string // the ID, U...
	Name    string // the user's name
	Message Message
	Action  string // the action ID
	Value   string // empty: the button's own
}

// Payload is the JSON that Slack sends about a click, in Socket Mode and over signed HTTP. Each
// one has a response URL of its own.
func (s *Server) Payload(c Click) json.RawMessage {
	s.mu.Lock()
	s.serial++
	path := fmt.Sprintf("/response/%d", s.serial)
	s.offers[path] = &offer{at: time.Now()}
	ts := s.stamp()
	s.mu.Unlock()
	value := c.Value
	if value == "" {
		value = c.Message.Buttons()[c.Action]
	}
	data, err := json.Marshal(map[string]any{
		"type": "block_actions", "api_app_id": "A0FAKE", "token": "deprecated", "trigger_id": "1.2.3",
		"team":      map[string]any{"id": "T0FAKE", "domain": "fake"},
		"user":      map[string]any{"id": c.User, "username": c.Name, "name": c.Name, "team_id": "T0FAKE"},
		"container": map[string]any{"type": "message", "message_ts": c.Message.TS, "channel_id": c.Message.Channel, "is_ephemeral": false},
		"channel":   map[string]any{"id": c.Message.Channel, "name": "certs"},
		"message":   c.Message.view(true), "response_url": s.URL + path,
		"actions": []map[string]any{{
			"type": "button", "block_id": "b1", "action_id": c.Action, "value": value, "action_ts": ts,
			"text": map[string]any{"type": "plain_text", "text": "button", "emoji": false},
		}},
	})
	if err != nil {
		panic(err) // of strings only
	}
	return data
}

// Signed returns the request that Slack makes of a payload where an app takes interactions
// over HTTP, signed at a time with a secret (empty: the app's).
func (s *Server) Signed(ctx context.Context, to string, payload json.RawMessage, at time.Time, secret string) (*http.Request, error) {
	body := url.Values{"payload": {string(payload)}}.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if secret == "" {
		secret = s.SigningSecret
	}
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":" + body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Slack-Request-Timestamp", stamp)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return r, nil
}

// open is apps.connections.open: a URL that is good for one connection.
func (s *Server) open(args) (map[string]any, error) {
	s.serial++
	ticket := fmt.Sprintf("ticket-%d", s.serial)
	s.tickets[ticket] = true
	return map[string]any{"url": "ws" + strings.TrimPrefix(s.URL, "http") + "/link?ticket=" + ticket}, nil
}

// socket is a Socket Mode connection.
type socket struct {
	conn  *websocket.Conn
	write sync.Mutex
	done  chan struct{}

	mu   sync.Mutex
	acks map[string]chan json.RawMessage
}

func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	ticket := r.URL.Query().Get("ticket")
	known := s.tickets[ticket]
	delete(s.tickets, ticket)
	s.mu.Unlock()
	if !known {
		http.Error(w, "unknown ticket", http.StatusForbidden)
		return
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has answered
	}
	c := &socket{conn: conn, done: make(chan struct{}), acks: map[string]chan json.RawMessage{}}
	s.mu.Lock()
	s.sockets = append(s.sockets, c)
	n := len(s.sockets)
	s.mu.Unlock()
	if c.send(map[string]any{
		"type": "hello", "num_connections": n, "connection_info": map[string]any{"app_id": "A0FAKE"},
		"debug_info": map[string]any{"host": "applink-fake", "build_number": 1, "approximate_connection_time": 18060},
	}) == nil {
		go c.ping()
		c.read()
	}
	c.close()
	s.forget(c)
}

func (s *Server) forget(c *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.sockets {
		if other == c {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			return
		}
	}
}

func (s *Server) connected() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*socket(nil), s.sockets...)
}

// Connections returns how many Socket Mode connections there are.
func (s *Server) Connections() int { return len(s.connected()) }

func (c *socket) send(v any) error {
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(ackWithin)) // the write fails where this does
	return c.conn.WriteJSON(v)
}

// ping keeps the connection alive, as Slack does.
func (c *socket) ping() {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if c.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(ackWithin)) != nil {
				return
			}
		case <-c.done:
			return
		}
	}
}

// read takes acknowledgements until the connection ends.
func (c *socket) read() {
	for {
		var ack struct {
			EnvelopeID string          `json:"envelope_id"`
			Payload    json.RawMessage `json:"payload"`
		}
		if c.conn.ReadJSON(&ack) != nil {
			return
		}
		c.mu.Lock()
		waiting := c.acks[ack.EnvelopeID]
		delete(c.acks, ack.EnvelopeID)
		c.mu.Unlock()
		if waiting != nil {
			waiting <- ack.Payload
		}
	}
}

func (c *socket) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
	default:
		close(c.done)
		_ = c.conn.Close() // it is over in any case
	}
}

// Errors of [Server.Interact].
var (
	ErrNotConnected = errors.New("no Socket Mode connection")
	ErrLate         = errors.New("the envelope was not acknowledged within 3 s")
)

// Interact sends the payload of an interaction over the newest Socket Mode connection and
// returns how long its acknowledgement took. The same envelope may be sent again, as Slack
// does when it did not hear of an acknowledgement.
func (s *Server) Interact(ctx context.Context, envelope string, payload json.RawMessage) (time.Duration, error) {
	all := s.connected()
	if len(all) == 0 {
		return 0, ErrNotConnected
	}
	c, heard := all[len(all)-1], make(chan json.RawMessage, 1)
	c.mu.Lock()
	c.acks[envelope] = heard
	c.mu.Unlock()
	begin := time.Now()
	if err := c.send(map[string]any{
		"envelope_id": envelope, "type": "interactive", "accepts_response_payload": true, "payload": payload,
	}); err != nil {
		return 0, fmt.Errorf("sending an envelope: %w", err)
	}
	timer := time.NewTimer(ackWithin)
	defer timer.Stop()
	select {
	case <-heard:
		return time.Since(begin), nil
	case <-timer.C:
		s.mu.Lock()
		s.outcome.Late++
		s.mu.Unlock()
		return ackWithin, ErrLate
	case <-c.done:
		return time.Since(begin), ErrNotConnected
	case <-ctx.Done():
		return time.Since(begin), ctx.Err()
	}
}

// Disconnect tells every connection that Slack is about to end it: with the reason "warning"
// ten seconds ahead, with "refresh_requested" or "link_disabled" at once.
func (s *Server) Disconnect(reason string) {
	for _, c := range s.connected() {
		_ = c.send(map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "applink-fake"}}) // it is ended anyway
		if reason != "warning" {
			c.close()
		}
	}
}

// Cut ends every connection without a word, as a network does.
func (s *Server) Cut() {
	for _, c := range s.connected() {
		c.close()
	}
}
