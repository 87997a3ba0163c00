package remediate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// looks is how often is looked before an action at most, and lookGap the time between. The first
// look may be older: after it the action waited for its turn.
const (
	looks   = 3
	lookGap = 200 * time.Millisecond
)

// reconsider looks again, until two of three looks at most saw the same at every bound address,
// and asks the guard about that.
func (r *Remediator) reconsider(ctx context.Context, q Request, first Sight) (considered, error) {
	seen := []Sight{first}
	var sight Sight
	disagree := "not yet looked twice"
	for disagree != "" && len(seen) < looks {
		pauseFor(ctx, lookGap)
		next, err := r.look(ctx, q.Certificate)
		if err != nil {
			return considered{}, err
		}
		seen = append(seen, next)
		sight, disagree = agreed(seen)
	}
	r.forget(q.Certificate)
	return r.weigh(ctx, q, sight, disagree)
}

func (r *Remediator) look(ctx context.Context, certificate string) (Sight, error) {
	if err := ctx.Err(); err != nil {
		return Sight{}, err
	}
	sight, err := r.o.Look(ctx, certificate)
	if err != nil {
		return Sight{}, fmt.Errorf("looking at %q: %w", certificate, err)
	}
	return sight, nil
}

// agreed returns the last of several looks, in which each bound address serves what two of them
// saw there. Where no two agree, it says about which address. A look at another stored version
// than the last one saw is left out, because what is served was compared with that.
func agreed(seen []Sight) (sight Sight, disagree string) {
	sight = seen[len(seen)-1]
	stored, _ := sight.Stored.Leaf()
	seen = slices.DeleteFunc(slices.Clone(seen), func(s Sight) bool {
		leaf, _ := s.Stored.Leaf()
		return leaf.SHA256 != stored.SHA256
	})
	sight.Addresses = slices.Clone(sight.Addresses)
	for i, a := range sight.Addresses {
		if !a.Bound {
			continue
		}
		answers := answersOf(seen, a.Address)
		twice, ok := seenTwice(answers)
		if !ok {
			return sight, fmt.Sprintf("no two of %d looks saw the same at %s: %s", looks, a.Address, listed(answers))
		}
		sight.Addresses[i] = twice
	}
	return sight, ""
}

// answersOf returns what each look saw at an address, the latest first.
func answersOf(seen []Sight, address string) []Served {
	var all []Served
	for _, s := range slices.Backward(seen) {
		if i := slices.IndexFunc(s.Addresses, func(a Served) bool { return a.Address == address }); i >= 0 {
			all = append(all, s.Addresses[i])
		}
	}
	return all
}

// seenTwice returns the answer that came twice. All failures are the same one: nothing is
// presented.
func seenTwice(answers []Served) (Served, bool) {
	for i, a := range answers {
		if slices.ContainsFunc(answers[i+1:], func(b Served) bool { return b.Leaf == a.Leaf }) {
			return a, true
		}
	}
	return Served{}, false
}

// listed says what was seen, in the order in which it was.
func listed(answers []Served) string {
	var all []string
	for _, a := range slices.Backward(answers) {
		all = append(all, shown(a.Leaf))
	}
	return strings.Join(all, ", ")
}

func shown(leaf certmedic.Fingerprint) string {
	if leaf == "" {
		return "nothing"
	}
	return leaf.Short()
}
