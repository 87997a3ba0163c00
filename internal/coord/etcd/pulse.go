package etcd

import (
	"context"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/certmedic/certmedic/internal/coord"
)

// pulse is a stream by which sessions are kept alive. It is opened once and not for each beat, as that is a login where there
// is a user name, which takes etcd longer than all else that it is asked.
type pulse struct {
	stream pb.Lease_LeaseKeepAliveClient
	end    context.CancelFunc
}

// beat keeps a session alive from now on, unless somebody else did while this one waited for its turn. A beat that is not
// answered in time ends the stream, so that no answer is taken for another's.
func (e *Engine) beat(ctx context.Context, client *clientv3.Client, s *session) error {
	select {
	case e.beating <- struct{}{}:
		defer func() { <-e.beating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	start := time.Now()
	if start.Sub(s.lastAsked()) < e.o.TTL/20 {
		return nil
	}
	p, err := e.opened(ctx, client)
	if err != nil {
		return err
	}
	start = time.Now()
	stop := context.AfterFunc(ctx, p.end)
	_ = p.stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(s.id)}) // what went wrong is what is received
	answer, err := p.stream.Recv()
	if !stop() || err != nil {
		p.end()
		e.pulse = nil
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return ctx.Err()
	case err != nil:
		return rpctypes.Error(err)
	case answer.ID != int64(s.id):
		return fmt.Errorf("etcd answers for the session %x, and not for %x", answer.ID, s.id)
	case answer.TTL <= 0:
		return coord.ErrLost
	}
	s.extended(start, time.Duration(answer.TTL)*time.Second)
	return nil
}

// opened returns the stream, which it opens where there is none.
func (e *Engine) opened(ctx context.Context, client *clientv3.Client) (*pulse, error) {
	if e.pulse != nil {
		return e.pulse, nil
	}
	life, end := context.WithCancel(e.ctx)
	stop := context.AfterFunc(ctx, end)
	stream, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseKeepAlive(life)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end()
		return nil, rpctypes.Error(err)
	}
	e.pulse = &pulse{stream, end}
	return e.pulse, nil
}
