package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/certmedic/certmedic/internal/coord"
)

// Join implements [coord.Members].
func (e *Engine) Join(ctx context.Context, m coord.Member) error {
	if m.Name != e.o.Member {
		return fmt.Errorf("joining as %q: this is a session of %q", m.Name, e.o.Member)
	}
	m.Started = m.Started.UTC().Round(0)
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("joining as %q: %w", m.Name, err)
	}
	e.joining.Lock()
	defer e.joining.Unlock()
	s, err := e.show(ctx, string(data))
	if err != nil {
		return fmt.Errorf("joining as %q: %w", m.Name, err)
	}
	e.joins++
	join := e.joins
	e.run(func() {
		e.stay(ctx, s, string(data))
		e.leave(context.WithoutCancel(ctx), join)
	})
	return nil
}

// show writes the member's key with the session, which it begins where there is none.
func (e *Engine) show(ctx context.Context, data string) (*session, error) {
	ctx, client, done, err := e.call(ctx)
	defer done()
	if err != nil {
		return nil, err
	}
	s, err := e.begin(ctx, client)
	if err != nil {
		return nil, err
	}
	if _, err := client.Put(ctx, e.memberKey(e.o.Member), data, clientv3.WithLease(s.id)); err != nil {
		return nil, err
	}
	return s, nil
}

// stay shows the member again each time that its session was lost, until it leaves.
func (e *Engine) stay(ctx context.Context, s *session, data string) {
	for {
		select {
		case <-s.over:
		case <-ctx.Done():
			return
		case <-e.ctx.Done():
			return
		}
		for {
			next, err := e.show(ctx, data)
			if err == nil {
				s = next
				break
			}
			if !e.pause(ctx, e.o.TTL/5) {
				return
			}
		}
	}
}

// leave removes the member's key, unless it joined again. Where that fails it goes with the session.
func (e *Engine) leave(ctx context.Context, join int) {
	e.joining.Lock()
	defer e.joining.Unlock()
	if e.joins != join {
		return
	}
	ctx, client, done, err := e.call(ctx)
	defer done()
	if s := e.newest(); err == nil && s != nil { // else the key is gone, or that of another process with this name
		key := e.memberKey(e.o.Member)
		_, _ = client.Txn(ctx).If(clientv3.Compare(clientv3.LeaseValue(key), "=", s.id)).Then(clientv3.OpDelete(key)).Commit()
	}
}

// pause waits and says whether to go on.
func (e *Engine) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-e.ctx.Done():
	}
	return false
}

// Watch implements [coord.Members].
func (e *Engine) Watch(ctx context.Context, changed func([]coord.Member)) error {
	known := false
	var last []coord.Member
	seen := func(living []coord.Member) {
		if !known || !slices.EqualFunc(living, last, coord.Member.Equal) {
			known, last = true, living
			changed(slices.Clone(living))
		}
	}
	for {
		e.follow(ctx, seen)
		if !e.pause(ctx, e.o.TTL/10) {
			if ctx.Err() == nil {
				return errors.New("watching the members: the session was closed")
			}
			return ctx.Err()
		}
	}
}

// follow lists the members and does so again whenever something changed, until that fails, and once in a time
// to live in any case: a watch on a connection that hangs says nothing.
func (e *Engine) follow(ctx context.Context, seen func([]coord.Member)) {
	living, revision, err := e.living(ctx)
	if err != nil {
		return
	}
	seen(living)
	client, err := e.connect(ctx)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), e.o.TTL)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	for answer := range client.Watch(ctx, e.memberKey(""), clientv3.WithPrefix(), clientv3.WithRev(revision+1)) {
		if answer.Err() != nil {
			return
		}
		if living, _, err = e.living(ctx); err != nil {
			return
		}
		seen(living)
	}
}

// living returns the members whose sessions etcd has, by name, and as of which revision.
func (e *Engine) living(ctx context.Context) ([]coord.Member, int64, error) {
	ctx, client, done, err := e.call(ctx)
	defer done()
	if err != nil {
		return nil, 0, err
	}
	answer, err := client.Get(ctx, e.memberKey(""), clientv3.WithPrefix(), clientv3.WithLimit(maxRecords),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortAscend))
	if err != nil {
		return nil, 0, err
	}
	var living []coord.Member
	for _, kv := range answer.Kvs {
		var m coord.Member
		if err := json.Unmarshal(kv.Value, &m); err != nil {
			return nil, 0, fmt.Errorf("reading %q: %w", kv.Key, err)
		}
		living = append(living, m)
	}
	return living, answer.Header.Revision, nil
}
