package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/dir"
	"github.com/certmedic/certmedic/internal/bundle/s3"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/watchdog"
)

// sharing has versions get from host to host: it fetches what is published elsewhere, publishes what
// others wait for, and serves each copy to itself. It is a part of a generation.
type sharing struct {
	runs []func(ctx context.Context)
}

// newSharing returns what is to be shared by the configuration of a generation.
func (a *App) newSharing(g *generation) *sharing {
	s := &sharing{}
	for _, cert := range g.config.Certificates {
		switch {
		case cert.Source.Shared != nil:
			s.runs = append(s.runs, a.fetcher(g, cert).run, g.standby(cert).run)
		case cert.Publish != nil:
			s.runs = append(s.runs, a.publisher(g, cert).run, g.standby(cert).run)
		}
	}
	return s
}

// Run shares until ctx ends.
func (s *sharing) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for _, run := range s.runs {
		all.Go(func() { run(ctx) })
	}
	<-ctx.Done()
	all.Wait()
	return ctx.Err()
}

// shelf is a store that is opened when it is first used; while that fails, with each further use. It
// outlives generations, because a bucket is proven when it is opened.
type shelf struct {
	open func(ctx context.Context) (bundle.Store, error)

	mu    sync.Mutex
	store bundle.Store
}

// opened returns the store.
func (s *shelf) opened(ctx context.Context) (bundle.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	store, err := s.open(ctx)
	if err == nil {
		s.store = store
	}
	return store, err
}

// Get implements [bundle.Reader].
func (s *shelf) Get(ctx context.Context, key, known string) (bundle.Object, error) {
	store, err := s.opened(ctx)
	if err != nil {
		return bundle.Object{}, err
	}
	return store.Get(ctx, key, known)
}

// shelves are the stores that versions are published in, by their settings.
type shelves struct {
	mu  sync.Mutex
	all map[string]*shelf
}

func (s *shelves) shelf(folder string, bucket *config.Bucket) *shelf {
	key := folder
	if bucket != nil {
		key = fmt.Sprintf("%#v", *bucket)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]*shelf{}
	}
	if s.all[key] == nil {
		s.all[key] = &shelf{open: func(ctx context.Context) (bundle.Store, error) {
			if bucket != nil {
				return s3.Open(ctx, bucketOf(*bucket))
			}
			return dir.Open(folder)
		}}
	}
	return s.all[key]
}

// reader returns a store to fetch from, which need not be writable.
func reader(ctx context.Context, folder string, bucket *config.Bucket) (bundle.Reader, error) {
	if bucket != nil {
		return s3.OpenReader(ctx, bucketOf(*bucket))
	}
	return dir.OpenReader(folder)
}

func bucketOf(b config.Bucket) s3.Config {
	return s3.Config{
		Endpoint: string(b.Endpoint), Region: b.Region, Bucket: b.Bucket, Prefix: b.Prefix,
		CredentialsFile: b.CredentialsFile, CAFile: b.CAFile, VirtualHosts: b.VirtualHosts,
	}
}

// fetcher brings what is published elsewhere to a folder of this host.
type fetcher struct {
	cert   config.Certificate
	folder string
	g      *generation
}

func (a *App) fetcher(g *generation, cert config.Certificate) *fetcher {
	return &fetcher{cert: cert, folder: g.config.SharedFolder(cert.Name), g: g}
}

// reopenEvery is how often it is tried again to read what a fetcher needs.
const reopenEvery = time.Minute

func (f *fetcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		consumer, err := f.consumer(ctx)
		if err == nil {
			consumer.Run(ctx, f.told)
			return
		}
		f.g.watchdog.Supplied(f.cert.Name, func(s *watchdog.Supply) { s.Failing = err.Error() })
		pause(ctx, reopenEvery)
	}
}

func (f *fetcher) consumer(ctx context.Context) (*bundle.Consumer, error) {
	s := f.cert.Source.Shared
	store, err := reader(ctx, s.Dir, s.S3)
	if err != nil {
		return nil, err
	}
	c := &bundle.Consumer{
		Store: store, Name: f.cert.PublishedName(), Folder: f.folder, Every: s.Interval,
		Opener: bundle.Opener{IdentityFile: s.IdentityFile, PassphraseFile: s.PassphraseFile, Plaintext: s.Plaintext},
	}
	if s.KeysFile != "" {
		if c.Keys, err = bundle.ReadPublicKeys(s.KeysFile); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// told takes how a look at the store went.
func (f *fetcher) told(h bundle.Health) {
	name, failing := f.cert.Name, h.Error
	if failing == "" && h.Version == "" {
		failing = fmt.Sprintf("nothing is published under the name %q yet", f.cert.PublishedName())
	}
	f.g.watchdog.Supplied(name, func(s *watchdog.Supply) {
		s.Failing, s.Fetched = failing, h.Succeeded
		if h.Version != "" {
			s.Published, s.PublishedAt = h.Version, h.Published
		}
	})
	if h.Installed.Equal(h.Looked) && !h.Installed.IsZero() {
		f.g.watchdog.Changed(name)
	}
}

// pause waits, and says whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
