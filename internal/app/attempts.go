package app

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/acmelog"
)

// The pace of a chronicler.
const (
	logsEvery = time.Minute
	logsAfter = time.Second // after a source changed: certbot writes its last lines
)

// chronicler reads the logs of certbot, and tells how the last attempt went to renew each
// lineage. It looks every now and then, and soon after a source changed, and reads those logs
// that were written to since.
type chronicler struct {
	sources map[string]certmedic.Source // certbot's, by certificate
	tell    func(certificate string, a *acmelog.Attempt)
	kick    chan struct{}

	states   map[logPlace]string // of the logs, when they were read
	attempts map[logPlace]map[string]acmelog.Attempt
	told     map[string]*acmelog.Attempt // by certificate

	mu     sync.Mutex
	places map[string]logPlace // by certificate; not those of sources that changed
}

// logPlace is where runs for a tree are logged; without a folder it is not known where.
type logPlace struct{ folder, tree string }

func newChronicler(sources map[string]certmedic.Source, tell func(string, *acmelog.Attempt)) *chronicler {
	c := &chronicler{
		sources: map[string]certmedic.Source{}, tell: tell, kick: make(chan struct{}, 1),
		told: map[string]*acmelog.Attempt{}, places: map[string]logPlace{},
		states: map[logPlace]string{}, attempts: map[logPlace]map[string]acmelog.Attempt{},
	}
	for name, src := range sources {
		if src.Kind == certmedic.SourceCertbot {
			c.sources[name] = src
		}
	}
	return c
}

// Changed says that a certificate's source changed. It returns at once.
func (c *chronicler) Changed(certificate string) {
	c.mu.Lock()
	delete(c.places, certificate)
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Run reads until ctx ends.
func (c *chronicler) Run(ctx context.Context) error {
	due := time.Now().Add(logsAfter)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.kick:
			if soon := time.Now().Add(logsAfter); soon.Before(due) {
				due = soon
			}
			continue
		case <-time.After(time.Until(due)):
		}
		c.round()
		due = time.Now().Add(logsEvery)
	}
}

// round looks once, and tells what is new.
func (c *chronicler) round() {
	looked := map[logPlace]bool{}
	for name, src := range c.sources {
		at := c.place(name, src)
		if at.folder == "" {
			continue
		}
		if !looked[at] {
			looked[at] = true
			c.read(at)
		}
		var now *acmelog.Attempt
		if a, known := c.attempts[at][src.Lineage]; known {
			now = &a
		}
		if before, was := c.told[name]; !was || (now == nil) != (before == nil) || now != nil && *now != *before {
			c.told[name] = now
			c.tell(name, now)
		}
	}
}

// read reads a log, if it was written to.
func (c *chronicler) read(at logPlace) {
	o := acmelog.Options{Path: at.folder}
	state := acmelog.State(o)
	if known, ok := c.states[at]; ok && known == state {
		return
	}
	c.states[at], c.attempts[at] = state, acmelog.Read(o).Attempts(at.tree)
}

// place returns where certbot logs its runs for a lineage.
func (c *chronicler) place(name string, src certmedic.Source) logPlace {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.places[name]
	if !ok {
		at = logPlace{logsFolder(src), filepath.Clean(src.ConfigDir)}
		c.places[name] = at
	}
	return at
}

// logsFolder returns where certbot logs its runs for a lineage: as its renewal configuration
// says, else certbot's own folder for its own tree; empty where that is not known.
func logsFolder(src certmedic.Source) string {
	conf, _ := disk.ReadRenewalConf(filepath.Join(src.ConfigDir, "renewal", src.Lineage+".conf")) // what is wrong with it is told elsewhere
	switch {
	case conf != nil && conf.LogsDir != "":
		return conf.LogsDir
	case filepath.Clean(src.ConfigDir) == "/etc/letsencrypt":
		return "/var/log/letsencrypt"
	}
	return ""
}
