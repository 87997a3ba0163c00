package embedded

import (
	"context"
	"fmt"
	"slices"

	"github.com/certmedic/certmedic/internal/coord"
)

// Join implements [coord.Members].
func (e *Engine) Join(ctx context.Context, m coord.Member) error {
	if m.Name != e.member {
		return fmt.Errorf("joining as %q: this is a session of %q", m.Name, e.member)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.joins++
	join := e.joins
	e.setLiving(m)
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.joins == join {
			e.setLiving()
		}
	})
	return nil
}

func (e *Engine) setLiving(living ...coord.Member) {
	e.living = living
	close(e.changed)
	e.changed = make(chan struct{})
}

// Watch implements [coord.Members].
func (e *Engine) Watch(ctx context.Context, changed func([]coord.Member)) error {
	for {
		e.mu.Lock()
		living, next := slices.Clone(e.living), e.changed
		e.mu.Unlock()
		changed(living)
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
