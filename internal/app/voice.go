package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/pages"
	"github.com/certmedic/certmedic/internal/shard"
)

// speaker is this member's part in telling people, over one generation.
type speaker struct {
	a     *App
	g     *generation
	since time.Time // when the generation was made

	mu     sync.Mutex
	proven time.Time // when the coordinator said last that this member speaks
}

// voice returns this member's part in telling people; nil on a single host.
func (a *App) voice(g *generation) *alerting.Voice {
	if a.cluster.keeper == nil || a.offline {
		return nil
	}
	s := &speaker{a: a, g: g, since: time.Now()}
	return &alerting.Voice{
		Member: a.cluster.self.Name, Book: pages.Book{Records: a.cluster.Records()}, Patience: s.patience(),
		Speaks: a.cluster.Speaks, Confirm: s.confirm, Lives: s.lives, Holds: s.holds, Alone: s.alone,
		Lost: func() bool { _, why := a.cluster.Lost(); return why != nil },
	}
}

// patience is for how long a member that does not speak waits for the speaker to tell what it sees: until
// that has seen it, too.
func (s *speaker) patience() time.Duration { return period(s.g.config) + 3*s.a.cluster.ttl }

// confirm proves that this member speaks, where it was not proven within a third of a lease. A coordinator that
// cannot be asked is no reason to keep quiet.
func (s *speaker) confirm(ctx context.Context, _ string) error {
	s.mu.Lock()
	fresh := time.Since(s.proven) < s.a.cluster.ttl/3
	s.mu.Unlock()
	if s.a.cluster.setting.Shard || fresh {
		return nil
	}
	asked := time.Now()
	_, err := s.a.cluster.Confirm(ctx, voice)
	switch {
	case errors.Is(err, coord.ErrHeld), errors.Is(err, coord.ErrLost):
		return err
	case err == nil:
		s.mu.Lock()
		s.proven = asked
		s.mu.Unlock()
	}
	return nil
}

// lives reports whether a member is there, and judges a certificate, where one is named: with shares only the
// one whose it is, but for what each member has itself.
func (s *speaker) lives(member, certificate string) bool {
	members := namesOf(s.a.cluster.Members())
	if !slices.Contains(members, member) {
		return false
	}
	if !s.a.cluster.setting.Shard || certificate == "" {
		return true
	}
	if c, ok := s.certificate(certificate); ok && (c.Watched || ownCopy(c)) {
		return true
	}
	return shard.Of(members).Owner(certificate) == member
}

func (s *speaker) certificate(name string) (certmedic.Certificate, bool) {
	i := slices.IndexFunc(s.g.certificates, func(c certmedic.Certificate) bool { return c.Name == name })
	if i < 0 {
		return certmedic.Certificate{}, false
	}
	return s.g.certificates[i], true
}

// alone reports whether it is this member's turn to tell what happened at a time while the coordinator cannot
// be asked: once whoever held the lease lost it and another could have it, and the members before this one, by
// name, had a lease's time each.
func (s *speaker) alone(at time.Time) bool {
	since, why := s.a.cluster.Lost()
	if since.Before(at) {
		since = at
	}
	rank := slices.Index(namesOf(s.a.cluster.Members()), s.a.cluster.self.Name)
	return why != nil && time.Since(since) >= time.Duration(2+max(rank, 0))*s.a.cluster.ttl
}

// holds reports whether an incident that a member told of is open here; known is false until this member has
// seen everything of its certificate itself.
func (s *speaker) holds(e alerting.Event) (holds, known bool) {
	name := e.Certificate.Name
	for _, v := range s.g.Views() {
		if v.Name != name {
			continue
		}
		for _, in := range v.Incidents {
			if in.Rule == e.Incident.Rule && in.Subject == e.Incident.Subject {
				return true, true
			}
		}
		return false, s.g.watchdog.SeenSince(name, s.since) && v.Judged.After(s.since)
	}
	return false, false
}

// conversation returns the conversation that an incident belongs to: with other members that of its
// certificate, for all that they judge alike.
func (a *App) conversation(in certmedic.Incident) string {
	e := alerting.Event{Incident: in, Drill: isDrill(in)}
	if a.cluster.keeper == nil || e.Own() || in.Subject.Certificate == "" {
		return in.DedupKey
	}
	return alerting.SharedConversation(in.Subject.Certificate)
}

// isDrill reports whether an incident is an exercise.
func isDrill(in certmedic.Incident) bool { return in.Episode != "" && in.Episode == in.ID }

// noBeat says why there is no sign of life of a generation: with other members the one that speaks gives it.
func (a *App) noBeat(g *generation) func(now time.Time) string {
	blind := a.blind(g)
	return func(now time.Time) string {
		if !a.cluster.Speaks("") {
			return "another member of the cluster speaks"
		}
		return blind(now)
	}
}

// named returns what this process calls a conversation that receivers know by a key.
func (a *App) named(g *generation, key, certificate string) string {
	if shared := alerting.SharedConversation(certificate); certificate != "" && a.cluster.keeper != nil && g.alerter.Key(shared) == key {
		return shared
	}
	return key
}

// elsewhere says of a plan that is not here where it may be: a plan waits on the member that made it, and is
// approved there, so that nobody can by what members share.
func (a *App) elsewhere(certificate string, err error) error {
	if a.cluster.keeper == nil {
		return err
	}
	if who := a.cluster.Lead(certificate).Member; certificate != "" && who != "" && who != a.cluster.self.Name {
		return fmt.Errorf("%w: plans wait on the member that acts for %s, which is %s: say it there", err, certificate, who)
	}
	return fmt.Errorf("%w on member %s: plans wait on the member that acts for their certificate: say it there", err, a.cluster.self.Name)
}

// whileSpeaking runs something whenever this member speaks, until ctx ends.
func (a *App) whileSpeaking(ctx context.Context, run func(context.Context) error) error {
	for ctx.Err() == nil {
		if !a.cluster.Speaks("") {
			if !rest(ctx) {
				return nil
			}
			continue
		}
		speaking, cancel := context.WithCancel(ctx)
		var err error
		ended := make(chan struct{})
		go func() {
			err = run(speaking)
			close(ended)
		}()
		a.untilSilent(speaking, ended)
		cancel()
		<-ended
		if a.cluster.Speaks("") {
			return err
		}
	}
	return nil
}

// untilSilent returns when this member speaks no more, or something has ended.
func (a *App) untilSilent(ctx context.Context, ended <-chan struct{}) {
	for a.cluster.Speaks("") {
		select {
		case <-ended:
			return
		default:
		}
		if !rest(ctx) {
			return
		}
	}
}

// rest waits a moment, and says whether to go on.
func rest(ctx context.Context) bool {
	select {
	case <-time.After(unmuteEvery):
		return true
	case <-ctx.Done():
		return false
	}
}
