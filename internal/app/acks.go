package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/redact"
	"github.com/certmedic/certmedic/internal/store"
)

// viaCommand is how an acknowledgement came that no receiver brought.
const viaCommand = "certmedic"

// maxWhy bounds a person's reason, in characters.
const maxWhy = 500

// acks is who looks after which conversation: the one record of it. Receivers are told of it, and
// what they know is held against it at each start.
type acks struct {
	store *store.Store

	mu  sync.Mutex
	all map[string]alerting.Ack // by conversation
}

func openAcks(s *store.Store) (*acks, error) {
	all, err := s.Acks()
	if err != nil {
		return nil, fmt.Errorf("reading who looks after what: %w", err)
	}
	return &acks{store: s, all: all}, nil
}

// kept returns all that is kept.
func (k *acks) kept() map[string]alerting.Ack {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.all)
}

// set keeps who looks after a conversation before it returns.
func (k *acks) set(conversation string, ack alerting.Ack) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.store.SaveAck(conversation, ack); err != nil {
		return fmt.Errorf("keeping who looks after %q: %w", conversation, err)
	}
	k.all[conversation] = ack
	return nil
}

// end forgets who looks after a conversation. It reports whether anybody did.
func (k *acks) end(conversation string) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, there := k.all[conversation]; !there {
		return false, nil
	}
	if err := k.store.ForgetAck(conversation); err != nil {
		return false, fmt.Errorf("forgetting who looks after %q: %w", conversation, err)
	}
	delete(k.all, conversation)
	return true, nil
}

// conversations returns what fires, drills as well, by the conversation that it belongs to.
func (a *App) conversations(g *generation) map[string][]certmedic.Incident {
	all := map[string][]certmedic.Incident{}
	add := func(incidents []certmedic.Incident) {
		for _, in := range incidents {
			if in.State == certmedic.StateFiring { // before that it belongs to no conversation
				conversation := a.conversation(in)
				all[conversation] = append(all[conversation], in)
			}
		}
	}
	for _, v := range g.Views() {
		add(v.Incidents)
	}
	add(g.Fleet())
	add(g.watchdog.Gone())
	for _, e := range a.drills.open() {
		add([]certmedic.Incident{e.Incident})
	}
	return all
}

// Acknowledge says that a person looks after what fires for a certificate, or what an incident's ID
// or a conversation names. It is kept when this returns.
func (a *App) Acknowledge(_ context.Context, r api.AckRequest) ([]api.Acknowledgement, error) {
	return a.acknowledgeBy(a.generation(), r)
}

func (a *App) acknowledgeBy(g *generation, r api.AckRequest) ([]api.Acknowledgement, error) {
	named := []api.Acknowledgement{}
	ack := alerting.Ack{By: r.By, Via: viaCommand, At: time.Now().UTC(), Why: redact.Truncate(r.Why, maxWhy)}
	open := a.conversations(g)
	for _, conversation := range slices.Sorted(maps.Keys(open)) {
		if !slices.ContainsFunc(open[conversation], func(in certmedic.Incident) bool { return isAbout(in, r.About) }) {
			continue
		}
		if err := a.acknowledge(g, conversation, ack); err != nil {
			return named, err
		}
		named = append(named, acknowledgement(conversation, open[conversation], ack))
	}
	if len(named) == 0 {
		return nil, fmt.Errorf("nothing fires that %q names: give a certificate, the ID of an incident or its dedup_key", r.About)
	}
	return named, nil
}

// isAbout reports whether an incident is meant by what a person wrote.
func isAbout(in certmedic.Incident, about string) bool {
	return about != "" && (about == in.Subject.Certificate || about == in.ID || about == in.DedupKey)
}

func acknowledgement(conversation string, incidents []certmedic.Incident, ack alerting.Ack) api.Acknowledgement {
	if certificate := incidents[0].Subject.Certificate; conversation == alerting.SharedConversation(certificate) {
		conversation = incidents[0].DedupKey // as this member names it
	}
	return api.Acknowledgement{Conversation: conversation, Certificate: incidents[0].Subject.Certificate, Ack: ack}
}

// acknowledge keeps who looks after a conversation, and tells everybody.
func (a *App) acknowledge(g *generation, conversation string, ack alerting.Ack) error {
	if err := a.acks.set(conversation, ack); err != nil {
		return err
	}
	a.people.say(conversation, ackWord{Ack: ack, Time: time.Now().UTC()})
	a.o.Log.Info("somebody looks after it", "conversation", conversation, "by", ack.By, "via", ack.Via, "why", ack.Why)
	g.alerter.Acknowledge(conversation, ack)
	a.live.said("")
	return nil
}

// unacknowledge forgets who looks after a conversation, and tells everybody.
func (a *App) unacknowledge(g *generation, conversation string, by alerting.Ack) error {
	ended, err := a.acks.end(conversation)
	if err != nil || !ended {
		return err
	}
	a.people.say(conversation, ackWord{Back: true, Time: time.Now().UTC()})
	a.o.Log.Info("nobody looks after it any more", "conversation", conversation, "by", by.By, "via", by.Via)
	g.alerter.Unacknowledge(conversation, by)
	a.live.said("")
	return nil
}

// Acknowledged returns who looks after what fires, the newest first.
func (a *App) Acknowledged() []api.Acknowledgement { return a.acknowledged(a.generation()) }

func (a *App) acknowledged(g *generation) []api.Acknowledgement {
	all, kept := []api.Acknowledgement{}, a.acks.kept()
	if len(kept) == 0 {
		return all
	}
	open := a.conversations(g)
	for conversation, ack := range kept {
		if incidents := open[conversation]; len(incidents) > 0 {
			all = append(all, acknowledgement(conversation, incidents, ack))
		}
	}
	slices.SortFunc(all, func(a, b api.Acknowledgement) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Conversation, b.Conversation))
	})
	return all
}

// forgetEvery is how often what is over is forgotten, and receivers are told what they missed.
const forgetEvery = 10 * time.Second

// forgetOver forgets who looked after what is over.
func (a *App) forgetOver(g *generation) {
	kept := a.acks.kept()
	if len(kept) == 0 {
		return
	}
	open := a.conversations(g)
	for conversation := range kept {
		if len(open[conversation]) > 0 || !a.cluster.Speaks("") || g.alerter.Tells(conversation) {
			continue
		}
		if _, err := a.acks.end(conversation); err != nil {
			a.o.Log.Error("an acknowledgement of what is over", "err", err)
			continue
		}
		a.people.say(conversation, ackWord{Back: true, Time: time.Now().UTC()})
	}
}

// Acknowledge says that a person looks after what fires, see [App.Acknowledge]. People are told by
// the daemon, once one runs.
func (o *Offline) Acknowledge(_ context.Context, r api.AckRequest) ([]api.Acknowledgement, error) {
	return o.app.acknowledgeBy(o.g, r)
}

// Acknowledged returns who looks after what fires, the newest first.
func (o *Offline) Acknowledged() []api.Acknowledgement { return o.app.acknowledged(o.g) }
