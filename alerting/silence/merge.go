package silence

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Merge takes over silences that were added or ended on other members of a cluster. Of one that is
// here, too, it takes over that it was ended, and for which certificates.
func (b *Book) Merge(theirs []Silence, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range theirs {
		i := slices.IndexFunc(b.all, func(own Silence) bool { return own.ID == s.ID })
		var err error
		switch {
		case i >= 0:
			err = b.mergeInto(i, s)
		case s.Active(now) && len(b.all) < maxSilences:
			err = b.takeOver(s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// takeOver adds a silence as it is.
func (b *Book) takeOver(s Silence) error {
	s.Matchers = slices.Clone(s.Matchers)
	for i := range s.Matchers {
		if err := s.Matchers[i].compile(); err != nil {
			return fmt.Errorf("taking over silence %q: %w", s.ID, err)
		}
	}
	if err := b.state.SaveSilence(s); err != nil {
		return fmt.Errorf("taking over silence %q: %w", s.ID, err)
	}
	b.all = append(b.all, s)
	slices.SortFunc(b.all, byAge)
	return nil
}

func (b *Book) mergeInto(i int, theirs Silence) error {
	s := b.all[i]
	for _, certificate := range theirs.Renewed {
		if !slices.Contains(s.Renewed, certificate) {
			s.Renewed = append(slices.Clone(s.Renewed), certificate)
		}
	}
	if s.EndedAt.IsZero() && !theirs.EndedAt.IsZero() {
		s.EndedAt, s.EndedBy = theirs.EndedAt, theirs.EndedBy
	}
	if len(s.Renewed) == len(b.all[i].Renewed) && s.EndedAt.Equal(b.all[i].EndedAt) {
		return nil
	}
	if err := b.state.SaveSilence(s); err != nil {
		return fmt.Errorf("taking over what became of silence %q: %w", s.ID, err)
	}
	b.all[i] = s
	return nil
}

// Shared returns what other members have to know: the silences that hold, and those that people ended earlier
// than they would have by themselves, by age. The certificates of each are sorted.
func (b *Book) Shared(now time.Time) []Silence {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []Silence{}
	for _, s := range b.all {
		if !now.Before(s.Until) {
			continue
		}
		s.Renewed = slices.Sorted(slices.Values(s.Renewed))
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y Silence) int { return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.ID, y.ID)) })
	return all
}
