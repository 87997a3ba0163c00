package bundle

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
)

// The pace of a consumer.
const (
	// Every is how often a consumer usually looks.
	Every = time.Minute

	lookTimeout = time.Minute
	longestWait = 15 * time.Minute // between looks that fail
)

// Memory is where a consumer keeps how far it came, so that it is never led back. It has to
// survive restarts.
type Memory interface {
	// Accepted returns what was accepted last; the zero mark if nothing was.
	Accepted() (Mark, error)
	// Accept remembers a mark, durably, before its version is installed.
	Accept(m Mark) error
}

// Consumer keeps a local folder at the newest version of one certificate that was published and
// can be verified: "versions" with one folder for each, and the link "current", as a source of
// kind acme has them. It installs nothing beyond that folder. Its fields are not changed once it
// is used; its methods may be called by several goroutines.
type Consumer struct {
	Store  Reader
	Name   string              // of the certificate
	Folder string              // absolute; made where it is missing
	Keys   []ed25519.PublicKey // of the publishers; empty: no signature is needed
	Opener Opener              // for the private key
	Every  time.Duration       // between looks, give or take a tenth; 0: [Every]
	Memory Memory              // nil: the file accepted.json in Folder

	looking sync.Mutex // held while it looks
	last    Bundle     // what is installed, once it was verified by this process

	mu     sync.Mutex
	health Health
}

// Health is how a consumer fares.
type Health struct {
	Looked    time.Time             // when it looked last; zero before the first time
	Succeeded time.Time             // when it last was sure to have the newest version, or that there is none
	Error     string                // why not the last time; empty: it was sure
	Failures  int                   // looks that failed since then
	Version   certmedic.Fingerprint // what is installed; empty: nothing yet, as far as this process saw
	Mark      Mark                  // of that version
	Published time.Time             // when it was published, by its publisher's clock
	Installed time.Time             // when this process installed it; zero: it was there before
}

// Health returns how the consumer fares.
func (c *Consumer) Health() Health {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health
}

// Run looks at once and then again and again until ctx ends, after failures less and less often.
// After each look it tells the health, in its own goroutine.
func (c *Consumer) Run(ctx context.Context, told func(Health)) {
	for {
		_, _ = c.Look(ctx, time.Now()) // the health has the error
		if ctx.Err() != nil {
			return
		}
		told(c.Health())
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.wait()):
		}
	}
}

// wait returns how long to wait for the next look: its interval, doubled with each failure, and
// spread so that many hosts do not ask at once.
func (c *Consumer) wait() time.Duration {
	every := c.Every
	if every <= 0 {
		every = Every
	}
	longest := max(every, longestWait)
	for range min(c.Health().Failures, 20) {
		every = min(2*every, longest)
	}
	return every*9/10 + rand.N(every/5+1)
}

// Look fetches what is published, once, and reports whether it installed a version. Where nothing
// was published yet, it does nothing. What was installed before stays after any error.
func (c *Consumer) Look(ctx context.Context, now time.Time) (bool, error) {
	c.looking.Lock()
	defer c.looking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	installed, err := c.look(ctx)
	c.note(now, installed, err)
	return installed, err
}

func (c *Consumer) look(ctx context.Context) (bool, error) {
	if err := c.prepare(); err != nil {
		return false, err
	}
	memory := c.memory()
	after, err := memory.Accepted()
	if err != nil {
		return false, err
	}
	local := folder{c.Folder}
	trust := Trust{Keys: c.Keys, Opener: c.Opener, After: after}
	if c.last.Tag != "" && local.leads(c.last) {
		trust.Known = c.last.Tag
	}
	b, err := Latest(ctx, c.Store, c.Name, trust)
	switch {
	case errors.Is(err, ErrUnchanged):
		return false, nil
	case errors.Is(err, ErrNotFound) && after == (Mark{}):
		return false, nil
	case err != nil:
		return false, err
	}
	there := local.leads(b)
	if err := memory.Accept(b.Mark); err != nil {
		return false, err
	}
	if !there {
		if err := local.install(b); err != nil {
			return false, fmt.Errorf("keeping version %s of %q: %w", b.Manifest.Version.Short(), c.Name, err)
		}
	}
	c.last = b
	return !there, nil
}

// prepare makes the folder, and refuses one that others may write.
func (c *Consumer) prepare() error {
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return fmt.Errorf("making the folder for %q: %w", c.Name, err)
	}
	if err := ownership.Check(c.Folder); err != nil {
		return fmt.Errorf("keeping versions of %q: %w", c.Name, err)
	}
	return nil
}

func (c *Consumer) note(now time.Time, installed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.health.Looked = now
	if err != nil {
		c.health.Error = err.Error()
		c.health.Failures++
		return
	}
	c.health.Succeeded, c.health.Error, c.health.Failures = now, "", 0
	c.health.Version, c.health.Mark, c.health.Published = c.last.Manifest.Version, c.last.Mark, c.last.Manifest.Time
	if installed {
		c.health.Installed = now
	}
}

func (c *Consumer) memory() Memory {
	if c.Memory != nil {
		return c.Memory
	}
	return folder{c.Folder}
}
