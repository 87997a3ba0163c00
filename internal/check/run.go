package check

import (
	"context"
	"iter"
)

// ahead is how many targets, per target that is checked at a time, may be done while an
// earlier one still keeps the order waiting.
const ahead = 8

// Run checks targets, a bounded number at a time, and hands their results to emit in the
// order of the targets, from one goroutine. It takes targets as they come, so that they
// may be read from a pipe, and keeps a bounded number of results. It ends when there are
// no more targets, with the first error of emit, or with that of the context, also while
// it waits for a target to come.
func (c *Checker) Run(ctx context.Context, targets iter.Seq[string], emit func(Result) error) error {
	ctx, cancel := context.WithCancel(ctx)
	l := &line{
		checker: c,
		slots:   make(chan struct{}, max(1, c.Parallel)),
		order:   make(chan chan []Result, ahead*max(1, c.Parallel)),
	}
	defer l.drain()
	defer cancel()
	go l.feed(ctx, targets)
	for {
		results, err := l.next(ctx)
		if results == nil || err != nil {
			return err
		}
		for _, r := range results {
			if err := emit(r); err != nil {
				return err
			}
		}
	}
}

// line is the queue of one Run.
type line struct {
	checker *Checker
	slots   chan struct{}      // one is held by each target that is checked
	order   chan chan []Result // one for each target, in their order
}

// feed starts the checks. It may outlive Run while it waits for a target to come, but
// starts nothing then.
func (l *line) feed(ctx context.Context, targets iter.Seq[string]) {
	defer close(l.order)
	for target := range targets {
		select {
		case l.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		done := make(chan []Result, 1)
		select {
		case l.order <- done:
		case <-ctx.Done():
			<-l.slots
			return
		}
		go func() {
			done <- l.checker.Check(ctx, target)
			<-l.slots
		}()
	}
}

// next waits for the results of the next target; nil when there is none.
func (l *line) next(ctx context.Context) ([]Result, error) {
	select {
	case done, ok := <-l.order:
		if !ok {
			return nil, ctx.Err()
		}
		select {
		case results := <-done:
			return results, ctx.Err()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// drain waits until every check has ended, and takes the slots for good.
func (l *line) drain() {
	for range cap(l.slots) {
		l.slots <- struct{}{}
	}
}
