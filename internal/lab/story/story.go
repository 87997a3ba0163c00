// Package story plays the main job of certmedic on a stage of the laboratory and tells
// it on a terminal: a certificate is issued and served, it is renewed, its deploy hook
// fails without anybody noticing, and certmedic notices, redeploys and proves that the
// new certificate is served. `certlab story`, and with it `make run`, is this package.
//
// Everything is real: an ACME authority, DNS, http-01, a TLS server in a process of its
// own, certmedic itself as a child. Nothing outside the story's folder is touched, and
// every process that it started is ended with it.
package story

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Name is the name that the story's certificate is for.
const Name = "shop.certlab.test"

// certificate is what the story's configuration calls the certificate.
const certificate = "shop"

// healTimeout is how long certmedic may take from the issuer's exit to the proof that
// the new leaf is served.
const healTimeout = 60 * time.Second

// Options say how the story is played.
type Options struct {
	Dir       string        // everything is kept here; missing, empty, or of an earlier story
	Certlab   string        // path of the certlab program, for the node and the issuer
	Certmedic string        // path of the certmedic program
	WebPort   int           // certmedic's port when it is free, any other when not; 0: any
	NodePort  int           // the node's port, in the same way
	Once      bool          // end after one renewal has been healed
	Every     time.Duration // else the time between two renewals
	Out       io.Writer     // where the story is told
	Colour    bool          // whether Out shows colours
}

// Run plays the story until ctx ends, or until the first renewal has been healed when
// Once is set. It returns nil when it ended as it should: healed, or told to stop.
// Otherwise the error says at which point of the way it stopped.
func Run(ctx context.Context, o Options) (err error) {
	teller := newTeller(o.Out, o.Colour)
	stage, err := build(ctx, o, teller)
	if err != nil {
		return errors.Join(err, stage.strike())
	}
	defer func() { err = errors.Join(err, stage.strike()) }()
	for {
		err := stage.play(ctx)
		if ctx.Err() != nil {
			teller.say(plain, "stopping", "ending what was started")
			return nil
		}
		if err != nil || o.Once {
			return err
		}
		teller.say(plain, "next", "renewal in %s; Ctrl-C ends the story", o.Every)
		if !stage.rest(ctx, o.Every) {
			teller.say(plain, "stopping", "ending what was started")
			return stage.healthy()
		}
	}
}

// play tells one renewal, from the issuer's start to the proof that it was healed.
func (s *stage) play(ctx context.Context) error {
	old, err := s.served(ctx)
	if err != nil {
		return fmt.Errorf("looking at what is served: %w", err)
	}
	began := time.Now()
	renewed, err := s.renew(ctx)
	if err != nil {
		return err
	}
	exited := time.Now()
	now, err := s.served(ctx)
	if err != nil {
		return fmt.Errorf("looking at what is served: %w", err)
	}
	if now == old {
		s.teller.say(bad, "stuck", "%s is stored, but %s is still served", renewed.Short(), now.Short())
	}
	healed, err := s.watch(ctx, round{began: began, version: renewed})
	if err != nil {
		return err
	}
	s.teller.say(good, "healed", "%.1f s after the issuer exited", healed.Sub(exited).Seconds())
	return nil
}

// rest waits, and reports whether the story goes on: not when ctx ends, and not when
// one of the children has ended.
func (s *stage) rest(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.certmedic.ended:
	case <-s.node.ended:
	}
	return false
}
