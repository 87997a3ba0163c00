package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/objects"
)

// Options are what an engine is made with.
type Options struct {
	Bucket  string
	Prefix  string // of all keys; empty: none
	Member  string
	TTL     time.Duration // of leases and members
	Timeout time.Duration // of a call; 0: 5 s
}

// resolution is that of times in HTTP, which are whole seconds, and what the clocks of a store's servers may differ by.
const resolution = 2 * time.Second

// Open returns a session of a member. It proves first that the store keeps conditions, with some forty requests and
// an object that it removes again, and refuses it otherwise. The client's own bound on attempts holds within that on a call.
func Open(ctx context.Context, client *s3.Client, o Options) (coord.Engine, error) {
	return open(ctx, client, o, resolution)
}

func open(ctx context.Context, client *s3.Client, o Options, resolution time.Duration) (*objects.Engine, error) {
	if o.Bucket == "" {
		return nil, errors.New("a bucket has no name")
	}
	s := &store{client: client, bucket: o.Bucket, prefix: strings.Trim(o.Prefix, "/")}
	if s.prefix != "" {
		s.prefix += "/"
	}
	e, err := objects.New(s, objects.Options{Member: o.Member, TTL: o.TTL, Timeout: o.Timeout, Resolution: resolution})
	if err != nil {
		return nil, err
	}
	if err := s.prove(ctx); err != nil {
		return nil, fmt.Errorf("the bucket %q cannot hold leases: %w", o.Bucket, err)
	}
	return e, nil
}
