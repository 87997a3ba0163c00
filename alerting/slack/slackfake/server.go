// Package slackfake is a strict stand-in for Slack, for the tests of those who talk to it. It
// speaks the Web API over real HTTP as far as a notifier needs it (chat.postMessage,
// chat.update, chat.postEphemeral, chat.getPermalink, conversations.history,
// conversations.replies, conversations.list, apps.connections.open), incoming webhooks, the
// response URLs of interactions, Socket Mode, and signed requests.
//
// It holds its callers to what Slack documents and does: the limits of Block Kit, unique
// timestamps, one message a second and channel, the tiers of the other methods, metadata that
// is kept, the rules of edits and threads, three seconds to acknowledge an envelope. On top of
// that it refuses what Slack only advises against. Faults can be put in front of any method:
// a delay, a status, an error, or an answer that is lost after the work was done.
//
// Its methods may be called by any goroutine.
package slackfake

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are what can be different from the usual.
type Options struct {
	Every time.Duration // a channel takes a message so often; 0: 1 s
	Burst int           // messages that a channel takes at once; 0: 2
	Tiers bool          // counts calls a minute for the methods that have a tier

	Minute time.Duration // in which the calls of a tier are counted; 0: a minute
}

// Server is the fake. The exported fields are set by [New] and do not change.
type Server struct {
	URL           string // of the server, without a path
	Token         string // of the bot
	AppToken      string // for Socket Mode
	SigningSecret string
	Channel       string // the ID of the channel "#certs", which is there from the beginning

	options Options
	http    *httptest.Server

	mu        sync.Mutex // guards all below
	channels  map[string]*channel
	last      time.Time // of the newest timestamp
	calls     map[string][]time.Time
	counts    map[string]int // by method, calls of any outcome
	outcome   Counts
	fault     func(method string, call int) Fault
	responses []Response
	offers    map[string]*offer // response URLs, by path
	tickets   map[string]bool
	sockets   []*socket
	serial    int
}

// channel is a place for messages.
type channel struct {
	id, name string
	closed   string // the error that posting gives; empty: none
	messages []*Message
	free     time.Time // when it has taken all that it was sent, at its pace
}

// Counts are what was done and refused.
type Counts struct {
	Posts   int // messages in a channel
	Replies int // messages in a thread
	Edits   int
	Hooks   int // messages through an incoming webhook, in Posts too
	Lookups int // of messages and channels
	Limited int // answers 429
	Refused int // answers that are not ok
	Late    int // envelopes that were not acknowledged within 3 s
}

// Fault is what goes wrong with a call. The zero value is that nothing does.
type Fault struct {
	Delay      time.Duration // before the call is looked at
	Status     int           // this answer instead of the call
	RetryAfter string        // header of that answer
	Error      string        // this refusal instead of the call
	Drop       bool          // the call is done and its answer lost
}

// New starts a fake. Close ends it.
func New(options Options) *Server {
	s := Unstarted(options)
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Unstarted returns a fake that listens nowhere: only its own [Server.Client] reaches it, which
// works where time is not real, too.
func Unstarted(options Options) *Server {
	options.Every, options.Burst = cmp.Or(options.Every, time.Second), cmp.Or(options.Burst, 2)
	options.Minute = cmp.Or(options.Minute, time.Minute)
	s := &Server{
		URL: "http://slack.invalid", Token: "xoxb-0000-fake-bot-token", AppToken: "xapp-1-fake-app-token",
		SigningSecret: "fake-signing-secret", Channel: "C0CERTS001",
		options: options, channels: map[string]*channel{}, calls: map[string][]time.Time{}, counts: map[string]int{}, tickets: map[string]bool{}, offers: map[string]*offer{},
	}
	s.channels[s.Channel] = &channel{id: s.Channel, name: "certs"}
	return s
}

// Close ends the fake and its connections.
func (s *Server) Close() {
	for _, c := range s.connected() {
		c.close()
	}
	if s.http != nil {
		s.http.Close()
	}
}

// APIURL is the address of the Web API.
func (s *Server) APIURL() string { return s.URL + "/api/" }

// WebhookURL is the address of an incoming webhook into the channel.
func (s *Server) WebhookURL() string { return s.URL + "/services/T0FAKE/B0FAKE/fake-hook-secret" }

// AddChannel adds another channel; its name is without "#".
func (s *Server) AddChannel(id, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[id] = &channel{id: id, name: name}
}

// CloseChannel makes a channel refuse messages and edits with an error, such as is_archived.
func (s *Server) CloseChannel(id, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[id].closed = code
}

// CloseEdits makes a channel refuse edits of the messages that it has with an error, such as
// edit_window_closed.
func (s *Server) CloseEdits(id, code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.channels[id].messages {
		m.frozen = code
	}
}

// Delete removes a message, as a person can. Its thread stays.
func (s *Server) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.channels {
		for _, m := range c.messages {
			if m.TS == ts {
				m.deleted = true
			}
		}
	}
}

// Fail sets what goes wrong with calls, which are counted from 1 for each method. The incoming
// webhook's method is "webhook". nil: nothing goes wrong.
func (s *Server) Fail(fault func(method string, call int) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Counts returns what was done and refused so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outcome
}

// Calls returns how often each method was called, whatever became of it.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Client returns a client that calls the fake without a network.
func (s *Server) Client() *http.Client { return &http.Client{Transport: direct{s}} }

type direct struct{ s *Server }

// RoundTrip lets the server answer.
func (d direct) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		if cause := recover(); cause == http.ErrAbortHandler { //nolint:errorlint // it is this value
			err = io.ErrUnexpectedEOF
		} else if cause != nil {
			panic(cause)
		}
	}()
	w, in := httptest.NewRecorder(), r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	d.s.ServeHTTP(w, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// ServeHTTP answers as Slack does.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody)) // only then a server notices that a caller has gone
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case strings.HasPrefix(r.URL.Path, "/api/"):
		s.serveMethod(w, r, strings.TrimPrefix(r.URL.Path, "/api/"))
	case strings.HasPrefix(r.URL.Path, "/services/"):
		s.serveHook(w, r)
	case strings.HasPrefix(r.URL.Path, "/response/"):
		s.serveResponse(w, r)
	case r.URL.Path == "/link":
		s.serveSocket(w, r)
	default:
		http.NotFound(w, r)
	}
}

// refusal is an answer that is not ok.
type refusal string

func (e refusal) Error() string { return string(e) }

// limited is an answer 429.
type limited struct{ after time.Duration }

func (e limited) Error() string { return "ratelimited" }

// serveMethod answers a call of the Web API.
func (s *Server) serveMethod(w http.ResponseWriter, r *http.Request, method string) {
	f := s.begin(method)
	if !wait(r, f.Delay) || broken(w, f) {
		return
	}
	answer, err := s.call(method, r)
	if f.Error != "" {
		answer, err = nil, refusal(f.Error)
	}
	if f.Drop {
		panic(http.ErrAbortHandler)
	}
	s.answer(w, answer, err)
}

// begin counts a call and returns what goes wrong with it.
func (s *Server) begin(method string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[method]++
	if s.fault == nil {
		return Fault{}
	}
	return s.fault(method, s.counts[method])
}

// wait reports false where the caller has gone.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func broken(w http.ResponseWriter, f Fault) bool {
	if f.Status == 0 {
		return false
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	http.Error(w, "<html>fault</html>", f.Status)
	return true
}

func (s *Server) answer(w http.ResponseWriter, answer map[string]any, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch err := err.(type) { //nolint:errorlint // they are never wrapped
	case nil:
		answer["ok"] = true
	case limited:
		s.outcome.Limited++
		w.Header().Set("Retry-After", fmt.Sprint(max(1, int((err.after+time.Second-1)/time.Second))))
		w.WriteHeader(http.StatusTooManyRequests)
		answer = map[string]any{"ok": false, "error": "ratelimited"}
	default:
		s.outcome.Refused++
		answer = map[string]any{"ok": false, "error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer) // the caller has gone
}

// call does what a method does.
func (s *Server) call(method string, r *http.Request) (map[string]any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, refusal("invalid_form_data")
	}
	token := r.Form.Get("token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	want := s.Token
	if method == "apps.connections.open" {
		want = s.AppToken
	}
	switch token {
	case "":
		return nil, refusal("not_authed")
	case want:
	default:
		return nil, refusal("invalid_auth")
	}
	methods := map[string]func(args) (map[string]any, error){
		"chat.postMessage": s.postMessage, "chat.update": s.update, "chat.postEphemeral": s.postEphemeral,
		"chat.getPermalink": s.permalink, "conversations.history": s.history, "conversations.replies": s.replies,
		"conversations.list": s.list, "apps.connections.open": s.open,
	}
	do := methods[method]
	if do == nil {
		return nil, refusal("unknown_method")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.tier(method); err != nil {
		return nil, err
	}
	return do(args(r.Form))
}

// tier counts a call of a method that a workspace takes only so often.
func (s *Server) tier(method string) error {
	most := map[string]int{
		"chat.update": 50, "conversations.history": 50, "conversations.replies": 50, "conversations.list": 20,
	}[method]
	if most == 0 || !s.options.Tiers {
		return nil
	}
	now := time.Now()
	calls := slices.DeleteFunc(s.calls[method], func(t time.Time) bool { return now.Sub(t) >= s.options.Minute })
	if len(calls) >= most {
		s.calls[method] = calls
		return limited{calls[0].Add(s.options.Minute).Sub(now)}
	}
	s.calls[method] = append(calls, now)
	return nil
}

// spend takes the right to post into a channel.
func (s *Server) spend(c *channel) error {
	now := time.Now()
	ahead := time.Duration(s.options.Burst-1) * s.options.Every
	if wait := c.free.Add(-ahead).Sub(now); wait > 0 {
		return limited{wait}
	}
	if c.free.Before(now) {
		c.free = now
	}
	c.free = c.free.Add(s.options.Every)
	return nil
}

// stamp returns a timestamp that no other message has.
func (s *Server) stamp() string {
	now := time.Now().Truncate(time.Microsecond)
	if !now.After(s.last) {
		now = s.last.Add(time.Microsecond)
	}
	s.last = now
	return fmt.Sprintf("%d.%06d", now.Unix(), now.Nanosecond()/1000)
}
