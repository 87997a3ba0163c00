// Package silence keeps what people do not want to hear of for a while. The app asks a [Book]
// about each event; the commands, and buttons in messages, add silences to it and end them.
//
// It promises that a silence that was added holds from then on, also after kill -9: it is kept
// before [Book.Add] returns. A silence only keeps quiet. What it hides is judged, shown and
// acted for as always, and told when the silence ends, if it still holds. The end of what was
// told is never silenced.
package silence

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Silence is one of them.
type Silence struct {
	ID       string    `json:"id"`
	Matchers []Matcher `json:"matchers"` // all have to fit
	By       string    `json:"by"`
	Why      string    `json:"why"`
	At       time.Time `json:"at"`    // when it was added
	Until    time.Time `json:"until"` // when it ends by itself

	UntilRenewed bool     `json:"until_renewed,omitempty"` // for each certificate it ends earlier, once a new version is stored
	Renewed      []string `json:"renewed,omitempty"`       // those for which it has ended so

	EndedAt time.Time `json:"ended_at,omitzero"` // by a person
	EndedBy string    `json:"ended_by,omitempty"`
}

// Active reports whether the silence holds at a time, for anything.
func (s Silence) Active(now time.Time) bool { return s.EndedAt.IsZero() && now.Before(s.Until) }

// covers reports whether it keeps something quiet. label returns the value of a label.
func (s Silence) covers(now time.Time, label func(string) string) bool {
	if !s.Active(now) || slices.Contains(s.Renewed, label("certificate")) {
		return false
	}
	for _, m := range s.Matchers {
		if !m.fits(label(m.Label)) {
			return false
		}
	}
	return true
}

// State keeps silences, as the store does. Save must be on disk when it returns.
type State interface {
	Silences() ([]Silence, error)
	SaveSilence(s Silence) error
	ForgetSilence(id string) error
}

// The bounds of what is kept, and how long a silence may last.
const (
	maxSilences = 1000
	maxMatchers = 20
	longest     = 90 * 24 * time.Hour
	keepEnded   = 30 * 24 * time.Hour
)

// ErrUnknown says that there is no such silence.
var ErrUnknown = errors.New("there is no such silence")

// Book holds all silences. It is safe for concurrent use.
type Book struct {
	state State

	mu  sync.Mutex
	all []Silence // oldest first
}

// Open reads what is kept.
func Open(state State) (*Book, error) {
	all, err := state.Silences()
	if err != nil {
		return nil, fmt.Errorf("reading the silences: %w", err)
	}
	for i := range all {
		for j := range all[i].Matchers {
			if err := all[i].Matchers[j].compile(); err != nil {
				return nil, fmt.Errorf("reading silence %q: %w", all[i].ID, err)
			}
		}
	}
	slices.SortFunc(all, byAge)
	return &Book{state: state, all: all}, nil
}

func byAge(a, b Silence) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) }

// Add adds a silence, which gets an ID and the present time, and returns it when it is kept. It
// needs an author, a reason, an end within 90 days, and a matcher that does not fit everything.
func (b *Book) Add(s Silence, now time.Time) (Silence, error) {
	if err := s.check(now); err != nil {
		return Silence{}, fmt.Errorf("adding a silence: %w", err)
	}
	s.ID, s.At = newID(), now.UTC().Truncate(time.Second)
	s.Until = s.Until.UTC()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.trim(now); err != nil {
		return Silence{}, err
	}
	if len(b.all) >= maxSilences {
		return Silence{}, fmt.Errorf("adding a silence: there are %d already", maxSilences)
	}
	if err := b.state.SaveSilence(s); err != nil {
		return Silence{}, fmt.Errorf("adding a silence: %w", err)
	}
	b.all = append(b.all, s)
	return s, nil
}

// check also compiles the matchers.
func (s *Silence) check(now time.Time) error {
	s.Matchers = slices.Clone(s.Matchers)
	narrow := false
	for i := range s.Matchers {
		if err := s.Matchers[i].compile(); err != nil {
			return err
		}
		m := s.Matchers[i]
		narrow = narrow || m.Op == Equal && m.Value != "" || m.Op == Match && !m.fits("") || m.Op == NotEqual && m.Value != "" || m.Op == NotMatch
	}
	switch {
	case len(s.Matchers) == 0 || !narrow:
		return errors.New("it would fit everything: name a certificate, a rule, a severity or a label")
	case len(s.Matchers) > maxMatchers:
		return fmt.Errorf("it has more than %d matchers", maxMatchers)
	case s.By == "":
		return errors.New("it has no author")
	case s.Why == "":
		return errors.New("it has no reason")
	case !s.Until.After(now):
		return errors.New("its end is not in the future")
	case s.Until.Sub(now) > longest:
		return fmt.Errorf("it lasts longer than %d days", longest/(24*time.Hour))
	}
	return nil
}

// End ends a silence now. The error wraps [ErrUnknown] where there is none with this ID, or it has
// ended before.
func (b *Book) End(id, by string, now time.Time) (Silence, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, s := range b.all {
		if s.ID != id || !s.Active(now) {
			continue
		}
		s.EndedAt, s.EndedBy = now.UTC(), by
		if err := b.state.SaveSilence(s); err != nil {
			return Silence{}, fmt.Errorf("ending silence %q: %w", id, err)
		}
		b.all[i] = s
		return s, nil
	}
	return Silence{}, fmt.Errorf("ending silence %q: %w that holds", id, ErrUnknown)
}

// Renewed ends, for one certificate, the silences that were to last until it is renewed. It
// reports whether there were any.
func (b *Book) Renewed(certificate string, label func(string) string, now time.Time) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended := false
	for i, s := range b.all {
		if !s.UntilRenewed || !s.concerns(now, label) {
			continue
		}
		s.Renewed = append(slices.Clone(s.Renewed), certificate)
		b.all[i], ended = s, true // at once, because who hears too much is better off
		if err := b.state.SaveSilence(s); err != nil {
			return true, fmt.Errorf("ending silence %q for %q: %w", s.ID, certificate, err)
		}
	}
	return ended, nil
}

// concerns is covers, by the matchers that are about the certificate alone.
func (s Silence) concerns(now time.Time, label func(string) string) bool {
	s.Matchers = slices.DeleteFunc(slices.Clone(s.Matchers), func(m Matcher) bool { return m.Label == "rule" || m.Label == "severity" })
	return s.covers(now, label)
}

// Silenced reports whether a silence keeps something quiet. label returns the value of a label.
func (b *Book) Silenced(now time.Time, label func(string) string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.all, func(s Silence) bool { return s.covers(now, label) })
}

// List returns the silences, the newest first; with ended also those that have ended within 30
// days.
func (b *Book) List(now time.Time, ended bool) []Silence {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []Silence{}
	for _, s := range slices.Backward(b.all) {
		if ended || s.Active(now) {
			all = append(all, s)
		}
	}
	return all
}

// Holding returns the IDs of those that hold, by which somebody can see whether one has ended.
func (b *Book) Holding(now time.Time) []string {
	var ids []string
	for _, s := range b.List(now, false) {
		ids = append(ids, s.ID)
	}
	return ids
}

// trim forgets what ended long ago.
func (b *Book) trim(now time.Time) error {
	var kept []Silence
	for _, s := range b.all {
		end := s.Until
		if !s.EndedAt.IsZero() {
			end = s.EndedAt
		}
		if now.Sub(end) < keepEnded {
			kept = append(kept, s)
			continue
		}
		if err := b.state.ForgetSilence(s.ID); err != nil {
			return fmt.Errorf("forgetting silence %q: %w", s.ID, err)
		}
	}
	b.all = kept
	return b.makeRoom(now)
}

// makeRoom forgets the oldest of those that have ended, where there are as many as are kept: they are
// no reason to refuse another.
func (b *Book) makeRoom(now time.Time) error {
	ended := slices.IndexFunc(b.all, func(s Silence) bool { return !s.Active(now) })
	if len(b.all) < maxSilences || ended < 0 {
		return nil
	}
	if err := b.state.ForgetSilence(b.all[ended].ID); err != nil {
		return fmt.Errorf("forgetting silence %q: %w", b.all[ended].ID, err)
	}
	b.all = slices.Delete(b.all, ended, ended+1)
	return nil
}

func newID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails, says its documentation
	return hex.EncodeToString(b[:])
}
