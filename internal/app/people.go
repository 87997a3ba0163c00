package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/coord"
)

const (
	peopleKey   = "people"        // of the record with what people said
	peopleEvery = 2 * time.Second // how often members look there
	peopleCall  = 5 * time.Second // for reading and writing it
	keepWords   = 24 * time.Hour  // how long it is known that something was taken back
)

// spoken is what people said to any member, and all go by: the silences, and who looks after what. What is newer
// counts, and a silence that was ended stays so, so that members agree in whatever order they write.
type spoken struct {
	Silences []silence.Silence  `json:"silences"`
	Acks     map[string]ackWord `json:"acks"` // by conversation
}

// ackWord is the last word about who looks after a conversation; nobody does where it was taken back.
type ackWord struct {
	alerting.Ack
	Back bool      `json:"back,omitempty"`
	Time time.Time `json:"time"`
}

// people brings what people said to the other members, and what they said to those to this one.
type people struct {
	mu   sync.Mutex
	read bool
	acks map[string]ackWord // that came here, or from others
}

// known reports whether it is known what people said to other members.
func (p *people) known() bool {
	if p == nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.read
}

// say notes a word about who looks after a conversation.
func (p *people) say(conversation string, w ackWord) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.acks[conversation].Time.Before(w.Time) {
		p.acks[conversation] = w
	}
}

// shareWords keeps to what people said on all members until ctx ends. On a single host there are no others.
func (a *App) shareWords(g *generation) func(context.Context) error {
	return func(ctx context.Context) error {
		if a.cluster.keeper == nil {
			return nil
		}
		tick := time.NewTicker(peopleEvery)
		defer tick.Stop()
		before := ""
		for {
			why := ""
			if err := a.shareOnce(ctx, g); err != nil && ctx.Err() == nil {
				why = err.Error()
			}
			if why != before && why != "" {
				a.o.Log.Warn("what people say is not shared with the other members", "err", why)
			}
			before = why
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func (a *App) shareOnce(ctx context.Context, g *generation) error {
	ctx, cancel := context.WithTimeout(ctx, peopleCall)
	defer cancel()
	r, _, err := a.cluster.Records().Get(ctx, peopleKey)
	if err != nil {
		return fmt.Errorf("reading what people said: %w", err)
	}
	var theirs spoken
	if len(r.Value) > 0 {
		if err := json.Unmarshal(r.Value, &theirs); err != nil {
			a.o.Log.Error("what people said to other members cannot be read, and is written anew", "err", err)
			theirs = spoken{}
		}
	}
	now := time.Now()
	if err := a.heard(g, theirs, now); err != nil {
		return err
	}
	all := a.everything(now)
	value, err := json.Marshal(all)
	if err != nil || string(value) == string(r.Value) || r.Revision == 0 && len(all.Silences)+len(all.Acks) == 0 {
		return err
	}
	_, err = a.cluster.Records().Put(ctx, peopleKey, r.Revision, 0, value)
	if errors.Is(err, coord.ErrStale) {
		return nil // another member wrote; both words are there after the next look
	}
	return err
}

// heard takes over what people said to other members.
func (a *App) heard(g *generation, theirs spoken, now time.Time) error {
	if err := a.silences.Merge(theirs.Silences, now); err != nil {
		return err
	}
	kept := a.acks.kept()
	for _, conversation := range slices.Sorted(maps.Keys(theirs.Acks)) {
		w := theirs.Acks[conversation]
		a.people.mu.Lock()
		newer := a.people.acks[conversation].Time.Before(w.Time)
		if newer {
			a.people.acks[conversation] = w
		}
		a.people.mu.Unlock()
		var err error
		switch before, there := kept[conversation]; {
		case !newer:
		case w.Back && there:
			_, err = a.acks.end(conversation)
		case !w.Back && (!there || !before.At.Equal(w.At)):
			err = a.acks.set(conversation, w.Ack)
		}
		if err != nil {
			return err
		}
	}
	a.people.mu.Lock()
	first := !a.people.read
	a.people.read = true
	a.people.mu.Unlock()
	if !first && a.cluster.Speaks("") {
		g.alerter.TellAcks(now)
	}
	return nil
}

// everything is what people said to this member and to others, of which this one has heard.
func (a *App) everything(now time.Time) spoken {
	all := spoken{Acks: map[string]ackWord{}, Silences: a.silences.Shared(now)}
	a.people.mu.Lock()
	defer a.people.mu.Unlock()
	for conversation, ack := range a.acks.kept() { // of an earlier run
		if _, known := a.people.acks[conversation]; !known {
			a.people.acks[conversation] = ackWord{Ack: ack, Time: ack.At}
		}
	}
	for conversation, w := range a.people.acks {
		if _, shared := alerting.SharedCertificate(conversation); shared && (!w.Back || now.Sub(w.Time) < keepWords) {
			all.Acks[conversation] = w
		}
	}
	return all
}
