package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/coord"
)

// What etcd itself does is tested with a real one, in test/fleet.

func TestNewRefuses(t *testing.T) {
	good := Options{Endpoints: []string{"a:2379"}, Member: "a", TTL: minTTL}
	for _, row := range []struct {
		about, why string
		change     func(o *Options)
	}{
		{"no endpoints", "no endpoints", func(o *Options) { o.Endpoints = nil }},
		{"a member without a name", "a name is empty", func(o *Options) { o.Member = "" }},
		{"leases that are too short for etcd", "shorter than 2s", func(o *Options) { o.TTL = time.Second }},
		{"a password of nobody", "no user name", func(o *Options) { o.Password = "x" }},
		{"an endpoint of another kind", "neither http nor https", func(o *Options) { o.Endpoints = []string{"ftp://a"} }},
		{"TLS on some of the endpoints", "of 2 endpoints of etcd 1 have TLS", func(o *Options) { o.Endpoints = []string{"https://a", "http://b"} }},
		{"TLS that an endpoint does not use", "is http, and TLS is configured", func(o *Options) {
			o.Endpoints, o.TLS = []string{"a:2379", "http://b:2379"}, &tls.Config{MinVersion: tls.VersionTLS12}
		}},
	} {
		o := good
		row.change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), row.why) {
			t.Errorf("%s gave %v", row.about, err)
		}
	}
	o := good
	o.Endpoints = []string{"https://a:2379", "https://b:2379"}
	e, err := New(o)
	if err != nil || e.o.TLS == nil {
		t.Errorf("endpoints with https gave TLS %v, %v", e.o.TLS, err)
	}
}

// TestUnreachable has an etcd that cannot be reached, in two ways, with and without a password: everything ends in time,
// says so, and nothing is left running.
func TestUnreachable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for about, o := range map[string]Options{
		"nobody listens":          {Endpoints: []string{"127.0.0.1:1"}},
		"nobody answers":          {Endpoints: []string{silent.Addr().String()}},
		"nobody answers the user": {Endpoints: []string{silent.Addr().String()}, Username: "a", Password: "b"},
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			o.Member, o.TTL, o.Timeout = "a", minTTL, 200*time.Millisecond
			e, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := e.Acquire(t.Context(), "shop"); err == nil || errors.Is(err, coord.ErrHeld) {
				t.Errorf("acquiring gave %v", err)
			}
			if _, _, err := e.Get(t.Context(), "order"); err == nil {
				t.Error("reading gave no error")
			}
			if _, err := e.Put(t.Context(), "order", 0, 1, nil); err == nil || errors.Is(err, coord.ErrStale) {
				t.Errorf("writing gave %v", err)
			}
			if _, err := e.List(t.Context(), ""); err == nil {
				t.Error("listing gave no error")
			}
			if err := e.Join(t.Context(), coord.Member{Name: "a"}); err == nil {
				t.Error("joining gave no error")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := e.Watch(ctx, func([]coord.Member) { t.Error("there are members") }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("watching gave %v", err)
			}
			if err := e.Close(); err != nil {
				t.Errorf("closing gave %v", err)
			}
			if _, err := e.Acquire(t.Context(), "shop"); err == nil || !strings.Contains(err.Error(), "closed") {
				t.Errorf("acquiring from what was closed gave %v", err)
			}
			if took := time.Since(start); took > 20*time.Second { // some 2 s on an idle machine
				t.Errorf("all of that took %s", took)
			}
		})
	}
}

// TestSessionEndsByItsOwnClock goes by requests, not by answers.
func TestSessionEndsByItsOwnClock(t *testing.T) {
	start := time.Now()
	s := &session{over: make(chan struct{})}
	s.extended(start, 10*time.Second)
	if !s.alive(start.Add(9*time.Second-time.Millisecond)) || s.alive(start.Add(9*time.Second)) {
		t.Errorf("a session of 10 s asked for at %s lasts until %s", start, s.end())
	}
	s.extended(start.Add(-time.Second), 10*time.Second) // an answer that was overtaken
	if want := start.Add(9 * time.Second); !s.end().Equal(want) {
		t.Errorf("an answer to an earlier request set the end to %s, want %s", s.end(), want)
	}
	s.extended(start.Add(5*time.Second), 10*time.Second)
	if want := start.Add(14 * time.Second); !s.end().Equal(want) {
		t.Errorf("kept alive it lasts until %s, want %s", s.end(), want)
	}
}
