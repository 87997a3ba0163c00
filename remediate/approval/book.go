package approval

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
)

// Store keeps approvals over restarts.
type Store interface {
	// SaveApproval keeps an approval, in place of an earlier one with its ID.
	SaveApproval(a Approval) error
	// Approvals returns all that are kept.
	Approvals() ([]Approval, error)
	// DropApproval forgets one; an ID that is not there is no error.
	DropApproval(id string) error
}

// quiet is how long nobody is asked again about a plan that was rejected, and keptFor how long what
// is over is still listed.
const (
	quiet   = 24 * time.Hour
	keptFor = 7 * 24 * time.Hour
)

// Book is every plan that waits, and what people said of those before. It is safe for concurrent
// use.
type Book struct {
	store Store

	mu  sync.Mutex
	all []Approval // in the order in which they were made
}

// Open returns the book that is kept.
func Open(s Store) (*Book, error) {
	all, err := s.Approvals()
	if err != nil {
		return nil, fmt.Errorf("reading the plans that wait: %w", err)
	}
	slices.SortFunc(all, func(a, b Approval) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return &Book{store: s, all: all}, nil
}

// Ask has people asked about a plan, unless it waits already, and returns it as it waits. Of the
// draft its certificate, kind, plan, rule, why and state (pending or shown) count, and how long it
// waits. Other plans of that kind for the certificate are void from then on, approved or not.
func (b *Book) Ask(now time.Time, draft Approval, expiry time.Duration) (Approval, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.forgetLocked(now); err != nil {
		return Approval{}, err
	}
	draft.Hash = draft.Plan.Hash
	same := -1
	for i := range b.all {
		a := b.all[i].now(now)
		switch {
		case a.Certificate != draft.Certificate || a.Kind != draft.Kind || !a.standing():
		case a.answers(draft):
			same = i
		case a.State != Withdrawn:
			if _, err := b.changeLocked(i, now, Void, "the plan changed"); err != nil {
				return Approval{}, err
			}
			draft.Replaces = a.ID
		}
	}
	if same >= 0 && b.all[same].State == Approved {
		return b.all[same], nil // this very moment
	}
	if same >= 0 {
		return b.changeLocked(same, now, draft.State, "")
	}
	draft.ID, draft.Created, draft.Expires = newID(), now.UTC(), now.Add(expiry).UTC()
	if err := b.store.SaveApproval(draft); err != nil {
		return Approval{}, fmt.Errorf("keeping a plan that waits: %w", err)
	}
	b.all = append(b.all, draft)
	return draft, nil
}

// standing reports whether a plan waits, was approved, or would be if something still asked for it.
func (a Approval) standing() bool {
	return a.State == Pending || a.State == Approved || a.State == Shown || a.State == Withdrawn
}

// answers reports whether a plan that stands is the one that is asked about.
func (a Approval) answers(draft Approval) bool {
	return a.Hash == draft.Hash && (a.State == draft.State || a.State == Withdrawn || a.State == Approved && draft.State == Pending)
}

// Said returns what people said of the very plan, as far as it is in force: that it is approved, or
// was rejected within a day.
func (b *Book) Said(now time.Time, certificate string, kind certmedic.ActionKind, hash string) (Approval, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kept := range slices.Backward(b.all) {
		a := kept.now(now)
		if a.Certificate != certificate || a.Kind != kind || a.Hash != hash {
			continue
		}
		if a.State == Approved || a.State == Rejected && now.Before(a.Again()) {
			return a, true
		}
	}
	return Approval{}, false
}

// Again returns when people may be asked about a rejected plan again.
func (a Approval) Again() time.Time { return a.At.Add(quiet) }

// Find returns the plan with an ID, as a person may write it.
func (b *Book) Find(now time.Time, id string) (Approval, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.indexLocked(id)
	if i < 0 {
		return Approval{}, false
	}
	return b.all[i].now(now), true
}

// Use uses an approval up. An error says that it must not be acted on.
func (b *Book) Use(now time.Time, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.indexLocked(id)
	if i < 0 || b.all[i].now(now).State != Approved {
		return fmt.Errorf("plan %q is not approved any more", id)
	}
	_, err := b.changeLocked(i, now, Used, "")
	return err
}

// Say takes what a person says of a plan, and returns it as it is then. What waits, or was approved
// and not begun, or was rejected, may still be approved or rejected.
func (b *Book) Say(now time.Time, id string, w Word) (Approval, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.indexLocked(id)
	if i < 0 {
		return Approval{}, fmt.Errorf("there is no plan %q: certmedic plans lists those that wait", id)
	}
	to := Rejected
	if w.Approve {
		to = Approved
	}
	if err := b.all[i].now(now).may(now, to); err != nil {
		return Approval{}, err
	}
	said := b.all[i]
	said.By = w.By
	return b.putLocked(i, said, now, to, w.Reason)
}

// may says why nothing can be said about a plan any more.
func (a Approval) may(now time.Time, to State) error {
	switch a.State {
	case Shown:
		return fmt.Errorf("plan %s is shown only: the mode of %q is plan, in which nothing is carried out", a.ID, a.Certificate)
	case Used:
		return fmt.Errorf("plan %s was approved by %s and has been begun; an approval is for one time", a.ID, a.By)
	case Void, Withdrawn:
		return fmt.Errorf("plan %s is %s since %s: %s", a.ID, a.State, a.At.UTC().Format(time.RFC3339), a.Reason)
	case to:
		return fmt.Errorf("plan %s was %s by %s already", a.ID, to, a.By)
	}
	if !now.Before(a.Expires) {
		return fmt.Errorf("plan %s expired at %s", a.ID, a.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// Withdraw takes back what waits for a certificate, or is shown, of the kinds that nothing asks for
// any more. It comes back under the same ID where it is asked for again before it expires.
func (b *Book) Withdraw(now time.Time, certificate string, gone func(certmedic.ActionKind) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.all {
		a := b.all[i].now(now)
		if a.Certificate != certificate || a.State != Pending && a.State != Shown || !gone(a.Kind) {
			continue
		}
		if _, err := b.changeLocked(i, now, Withdrawn, "nothing asks for it any more"); err != nil {
			return err
		}
	}
	return nil
}

// Waits returns the plan for a certificate that waits for a person, and whether there is one. Of
// several it is the oldest.
func (b *Book) Waits(now time.Time, certificate string) (Approval, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.all {
		if a.Certificate == certificate && a.now(now).waits() {
			return a, true
		}
	}
	return Approval{}, false
}

// List returns all that is kept, as it is now, those that wait first and the newest first.
func (b *Book) List(now time.Time) []Approval {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Approval, 0, len(b.all))
	for _, a := range slices.Backward(b.all) {
		all = append(all, a.now(now))
	}
	slices.SortStableFunc(all, func(a, b Approval) int {
		switch {
		case a.waits() == b.waits():
			return 0
		case a.waits():
			return -1
		}
		return 1
	})
	return all
}

// changeLocked gives an approval another state.
func (b *Book) changeLocked(i int, now time.Time, to State, reason string) (Approval, error) {
	return b.putLocked(i, b.all[i], now, to, reason)
}

// putLocked puts a changed approval in the place of an earlier one, once it is on disk.
func (b *Book) putLocked(i int, a Approval, now time.Time, to State, reason string) (Approval, error) {
	if a.State == to {
		return a, nil
	}
	a.State, a.At, a.Reason = to, now.UTC(), reason
	if err := b.store.SaveApproval(a); err != nil {
		return Approval{}, fmt.Errorf("keeping plan %q: %w", a.ID, err)
	}
	b.all[i] = a
	return a, nil
}

// forgetLocked drops what has been over for long.
func (b *Book) forgetLocked(now time.Time) error {
	for i := len(b.all) - 1; i >= 0; i-- {
		a := b.all[i].now(now)
		if over := !a.standing() || a.State == Withdrawn; !over || now.Sub(a.At) < keptFor {
			continue
		}
		if err := b.store.DropApproval(a.ID); err != nil {
			return fmt.Errorf("forgetting plan %q: %w", a.ID, err)
		}
		b.all = slices.Delete(b.all, i, i+1)
	}
	return nil
}

func (b *Book) indexLocked(id string) int {
	return slices.IndexFunc(b.all, func(a Approval) bool { return sameID(id, a.ID) })
}
