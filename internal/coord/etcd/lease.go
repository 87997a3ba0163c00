package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/certmedic/certmedic/internal/coord"
)

// Acquire implements [coord.Coordinator].
func (e *Engine) Acquire(ctx context.Context, name string) (coord.Lease, error) {
	if err := coord.CheckName(name); err != nil {
		return coord.Lease{}, fmt.Errorf("acquiring a lease: %w", err)
	}
	ctx, client, done, err := e.call(ctx)
	defer done()
	l := coord.Lease{Name: name}
	if err == nil {
		l, err = e.acquire(ctx, client, name)
	}
	if err != nil {
		return l, fmt.Errorf("acquiring the lease of %q: %w", name, err)
	}
	return l, nil
}

func (e *Engine) acquire(ctx context.Context, client *clientv3.Client, name string) (coord.Lease, error) {
	none := coord.Lease{Name: name}
	s, err := e.begin(ctx, client)
	if err != nil {
		return none, err
	}
	key := e.leaseKey(name)
	answer, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, e.o.Member, clientv3.WithLease(s.id))).
		Else(clientv3.OpGet(key)).
		Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) { // etcd ended the session; the next call begins another
		e.drop(s)
	}
	if err != nil {
		return none, err
	}
	if answer.Succeeded {
		return e.lease(s, name, answer.Header.Revision)
	}
	found := answer.Responses[0].GetResponseRange().Kvs
	if len(found) == 0 {
		return none, errors.New("etcd has no key that it has")
	}
	if kv := found[0]; kv.Lease != int64(s.id) {
		return coord.Lease{Name: name, Member: string(kv.Value), Token: uint64(kv.CreateRevision)}, coord.ErrHeld
	}
	if err := e.extend(ctx, s, e.o.Timeout); err != nil {
		return none, err
	}
	return e.lease(s, name, found[0].CreateRevision)
}

// lease is what hangs on a session. A session that ended while etcd was asked gives none.
func (e *Engine) lease(s *session, name string, revision int64) (coord.Lease, error) {
	l := coord.Lease{Name: name, Member: e.o.Member, Token: uint64(revision), Expires: s.end(), Opaque: opaque(s)}
	if !l.Holds(time.Now()) {
		return l, coord.ErrLost
	}
	return l, nil
}

func opaque(s *session) string { return strconv.FormatInt(int64(s.id), 16) }

// Renew implements [coord.Coordinator]. It asks etcd for the key too: somebody may have removed it.
func (e *Engine) Renew(ctx context.Context, l coord.Lease) (coord.Lease, error) {
	renewed, err := e.renew(ctx, l)
	if err != nil {
		return l, fmt.Errorf("renewing the lease of %q: %w", l.Name, err)
	}
	return renewed, nil
}

func (e *Engine) renew(ctx context.Context, l coord.Lease) (coord.Lease, error) {
	s := e.current()
	if s == nil || opaque(s) != l.Opaque || !l.Holds(time.Now()) {
		return l, coord.ErrLost
	}
	ctx, client, done, err := e.call(ctx)
	defer done()
	if err != nil {
		return l, err
	}
	if err := e.extend(ctx, s, e.o.Timeout); err != nil {
		return l, err
	}
	answer, err := client.Get(ctx, e.leaseKey(l.Name))
	if err != nil {
		return l, err
	}
	if !holds(answer.Kvs, s, l) {
		return l, coord.ErrLost
	}
	return e.lease(s, l.Name, int64(l.Token))
}

func holds(found []*mvccpb.KeyValue, s *session, l coord.Lease) bool {
	return len(found) == 1 && found[0].Lease == int64(s.id) && uint64(found[0].CreateRevision) == l.Token
}

// Release implements [coord.Coordinator].
func (e *Engine) Release(ctx context.Context, l coord.Lease) error {
	s := e.current()
	if s == nil || opaque(s) != l.Opaque {
		return nil
	}
	ctx, client, done, err := e.call(ctx)
	defer done()
	if err == nil {
		key := e.leaseKey(l.Name)
		_, err = client.Txn(ctx).
			If(clientv3.Compare(clientv3.CreateRevision(key), "=", int64(l.Token))).
			Then(clientv3.OpDelete(key)).
			Commit()
	}
	if err != nil {
		return fmt.Errorf("releasing the lease of %q: %w", l.Name, err)
	}
	return nil
}
