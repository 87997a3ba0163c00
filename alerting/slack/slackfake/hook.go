package slackfake

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
	"unicode/utf8"
)

const maxBody = 1 << 20

// hookMessage is the body of an incoming webhook. What only the Web API takes is not known.
type hookMessage struct {
	Text            string          `json:"text"`
	Blocks          json.RawMessage `json:"blocks"`
	UnfurlLinks     *bool           `json:"unfurl_links"`
	UnfurlMedia     *bool           `json:"unfurl_media"`
	ReplaceOriginal bool            `json:"replace_original"`
	DeleteOriginal  bool            `json:"delete_original"`
	ResponseType    string          `json:"response_type"`
}

// serveHook answers an incoming webhook: "ok", or a status with a word.
func (s *Server) serveHook(w http.ResponseWriter, r *http.Request) {
	f := s.begin("webhook")
	if !wait(r, f.Delay) || broken(w, f) {
		return
	}
	status, word := s.hook(w, r)
	if f.Drop {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, word) // the caller has gone
}

func (s *Server) hook(w http.ResponseWriter, r *http.Request) (status int, word string) {
	m, status, word := readHook(r)
	if status != http.StatusOK {
		return status, word
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.URL+r.URL.Path != s.WebhookURL() {
		return http.StatusForbidden, "invalid_token"
	}
	c := s.channels[s.Channel]
	if c.closed != "" {
		return http.StatusGone, "channel_" + c.closed
	}
	if err := s.spend(c); err != nil {
		s.outcome.Limited++
		w.Header().Set("Retry-After", "1")
		return http.StatusTooManyRequests, "rate_limited"
	}
	s.outcome.Hooks++
	s.add(c, &Message{Text: m.Text, Blocks: m.Blocks, Hook: true})
	return http.StatusOK, "ok"
}

func readHook(r *http.Request) (m hookMessage, status int, word string) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	switch {
	case r.Method != http.MethodPost || err != nil || !strict(body, &m):
		return m, http.StatusBadRequest, "invalid_payload"
	case m.Text == "" && len(m.Blocks) == 0:
		return m, http.StatusBadRequest, "no_text"
	case utf8.RuneCountInString(m.Text) > maxText:
		return m, http.StatusBadRequest, "msg_too_long"
	}
	if len(m.Blocks) > 0 && string(m.Blocks) != "null" {
		if err := checkBlocks(m.Blocks); err != nil {
			return m, http.StatusBadRequest, err.Error()
		}
	}
	return m, http.StatusOK, ""
}

// Response is what an app told the one who clicked: through the response URL of an
// interaction, or by chat.postEphemeral. Nobody else sees it.
type Response struct {
	User    string // of chat.postEphemeral
	Text    string
	Type    string // "ephemeral", "in_channel"; of a response URL
	Replace bool   // it takes the place of the message
}

// Responses returns what apps told those who clicked.
func (s *Server) Responses() []Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Response(nil), s.responses...)
}

const (
	responseUses = 5
	responseLife = 30 * time.Minute
)

// serveResponse answers a response URL, which is good for half an hour and five uses.
func (s *Server) serveResponse(w http.ResponseWriter, r *http.Request) {
	m, status, word := readHook(r)
	if status == http.StatusOK {
		status, word = s.respond(r.URL.Path, m)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, word) // the caller has gone
}

func (s *Server) respond(path string, m hookMessage) (status int, word string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	given := s.offers[path]
	switch {
	case given == nil:
		return http.StatusNotFound, "used_url"
	case given.uses >= responseUses || time.Since(given.at) > responseLife:
		return http.StatusNotFound, "expired_url"
	}
	given.uses++
	s.responses = append(s.responses, Response{Text: m.Text, Type: m.ResponseType, Replace: m.ReplaceOriginal})
	return http.StatusOK, "ok"
}

// offer is a response URL that was given out.
type offer struct {
	at   time.Time
	uses int
}

// postEphemeral is chat.postEphemeral.
func (s *Server) postEphemeral(a args) (map[string]any, error) {
	c, err := s.where(a, false)
	if err != nil {
		return nil, err
	}
	m, err := a.draft()
	switch {
	case err != nil:
		return nil, err
	case a.get("user") == "":
		return nil, refusal("user_not_in_channel")
	}
	if err := s.spend(c); err != nil {
		return nil, err
	}
	s.responses = append(s.responses, Response{User: a.get("user"), Text: m.Text, Type: "ephemeral"})
	return map[string]any{"message_ts": s.stamp()}, nil
}
