package etcd

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// logins is an etcd that has sessions alone, and a user whose login takes it longer than a beat may.
type logins struct {
	pb.UnimplementedAuthServer
	pb.UnimplementedLeaseServer
	count, streams atomic.Int32
}

const sessionTTL = 2 // seconds

func (l *logins) Authenticate(context.Context, *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	l.count.Add(1)
	time.Sleep(50 * time.Millisecond)
	return &pb.AuthenticateResponse{Token: "token"}, nil
}

func (l *logins) LeaseGrant(context.Context, *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	return &pb.LeaseGrantResponse{ID: 7, TTL: sessionTTL}, nil
}

func (l *logins) LeaseRevoke(context.Context, *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	return &pb.LeaseRevokeResponse{}, nil
}

// LeaseKeepAlive breaks the first stream off after its second beat.
func (l *logins) LeaseKeepAlive(stream grpc.BidiStreamingServer[pb.LeaseKeepAliveRequest, pb.LeaseKeepAliveResponse]) error {
	first := l.streams.Add(1) == 1
	for beat := 1; ; beat++ {
		q, err := stream.Recv()
		if err != nil || first && beat > 2 {
			return err
		}
		if err := stream.Send(&pb.LeaseKeepAliveResponse{ID: q.ID, TTL: sessionTTL}); err != nil {
			return err
		}
	}
}

// TestBeatsAreNoLogins keeps a session alive for longer than it lasts, with a user name: it logs in once for the client and once for each
// stream, and not for each beat. A stream that breaks off is opened again before the session ends.
func TestBeatsAreNoLogins(t *testing.T) {
	t.Parallel()
	l := &logins{}
	server := grpc.NewServer()
	pb.RegisterAuthServer(server, l)
	pb.RegisterLeaseServer(server, l)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	e, err := New(Options{Endpoints: []string{"http://" + listener.Addr().String()}, Member: "a", TTL: sessionTTL * time.Second, Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, client, done, err := e.call(t.Context())
	defer done()
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.begin(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		time.Sleep(sessionTTL * time.Second / 8)
		_ = e.extend(t.Context(), s, time.Second) // as each lease of the session is
	}
	if e.current() != s {
		t.Error("the session ended")
	}
	if n := l.count.Load(); n > 1+l.streams.Load() || l.streams.Load() != 2 {
		t.Errorf("%d logins with %d streams", n, l.streams.Load())
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
