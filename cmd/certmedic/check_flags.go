package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
	"github.com/certmedic/certmedic/probe/resolve"
)

// maxParallel keeps the number of open connections below what systems allow a process.
const maxParallel = 4096

// checker makes what the flags ask for.
func (f *checkFlags) checker() (*check.Checker, error) {
	if f.timeout <= 0 {
		return nil, fmt.Errorf("--timeout %s: it has to be more than nothing", f.timeout)
	}
	if f.parallel < 1 || f.parallel > maxParallel {
		return nil, fmt.Errorf("-p %d: it is not between 1 and %d", f.parallel, maxParallel)
	}
	c := &check.Checker{
		Lookup: new(resolve.Resolver).Lookup, Handshake: (&live.Dialer{Timeout: f.timeout}).Handshake,
		Name: f.name, Timeout: f.timeout, Parallel: f.parallel,
	}
	for _, set := range []func(*check.Checker) error{f.setThresholds, f.setTime, f.setRoots, f.setOverride, f.setExpected} {
		if err := set(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (f *checkFlags) setThresholds(c *check.Checker) error {
	var err error
	if c.Warn, err = inspect.ParseThreshold(f.warn); err != nil {
		return fmt.Errorf("--warn: %w", err)
	}
	if c.Crit, err = inspect.ParseThreshold(f.crit); err != nil {
		return fmt.Errorf("--crit: %w", err)
	}
	comparable := c.Warn != (inspect.Threshold{}) && (c.Warn.Share > 0) == (c.Crit.Share > 0)
	if comparable && (c.Crit.Share > c.Warn.Share || c.Crit.Duration > c.Warn.Duration) {
		return fmt.Errorf("--crit %s is more than --warn %s, which would then never be reached", f.crit, f.warn)
	}
	return nil
}

func (f *checkFlags) setTime(c *check.Checker) error {
	if f.at == "" {
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, f.at); err == nil {
			c.At = at.UTC()
			return nil
		}
	}
	return fmt.Errorf("--at: %q is neither a day such as 2027-01-01 nor a time such as 2027-01-01T12:00:00Z", f.at)
}

func (f *checkFlags) setRoots(c *check.Checker) error {
	if f.ca == "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return fmt.Errorf("reading the system's roots, which --ca replaces: %w", err)
		}
		c.Roots = []inspect.Roots{{Name: "the system", Pool: pool}}
		return nil
	}
	data, err := os.ReadFile(f.ca)
	if err != nil {
		return fmt.Errorf("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return fmt.Errorf("--ca: no certificate in PEM form in %q", f.ca)
	}
	c.Roots = []inspect.Roots{{Name: f.ca, Pool: pool}}
	return nil
}

func (f *checkFlags) setOverride(c *check.Checker) error {
	c.Override = map[string][]netip.Addr{}
	for _, text := range f.resolve {
		key, address, err := probe.ParseOverride(text)
		if err != nil {
			return fmt.Errorf("--resolve: %w", err)
		}
		c.Override[key] = append(c.Override[key], address)
	}
	return nil
}

func (f *checkFlags) setExpected(c *check.Checker) error {
	var errs []error
	if f.key != "" {
		key, err := check.ReadKey(f.key)
		if err != nil {
			errs = append(errs, fmt.Errorf("--key: %w", err))
		}
		c.Key = key
	}
	if f.compare != "" {
		stored, err := check.ReadStored(f.compare)
		if err != nil {
			errs = append(errs, fmt.Errorf("--compare: %w", err))
		}
		c.Stored = stored
	}
	return errors.Join(errs...)
}
