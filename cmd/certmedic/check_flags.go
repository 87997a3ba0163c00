package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/internal/prober"
	"github.com/certmedic/certmedic/probe"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/probe/live"
)

// maxParallel keeps the number of open connections below what systems allow a process.
const maxParallel = 4096

// systemRoots stands for the roots that are trusted unless --ca names others.
const systemRoots = "system"

// listAge is how old a revocation list may be that an earlier check left behind.
const listAge = 10 * time.Minute

// checker makes what the flags ask for, and a function that ends it.
func (f *checkFlags) checker(e *environment) (*check.Checker, func(), error) {
	if f.timeout <= 0 {
		return nil, nil, fmt.Errorf("--timeout %s: it has to be more than nothing", f.timeout)
	}
	if f.parallel < 1 || f.parallel > maxParallel {
		return nil, nil, fmt.Errorf("-p %d: it is not between 1 and %d", f.parallel, maxParallel)
	}
	if !slices.Contains(prober.Ways(), f.revocation) {
		return nil, nil, fmt.Errorf("--revocation %q is none of %s", f.revocation, strings.Join(prober.Ways(), ", "))
	}
	p, err := prober.New(prober.Options{
		Roots: f.roots, Timeout: f.timeout, Resolvers: f.resolvers, Revocation: f.revocation, MaxAge: listAge,
		Dir: cacheDir(e.getenv), AIA: f.aia, Records: true,
	})
	if err != nil { // nothing else of it can fail
		return nil, nil, fmt.Errorf("--ca: %w", err)
	}
	c := &check.Checker{Prober: *p.Prober, Name: f.name, Parallel: f.parallel, OwnRoots: !slices.Equal(f.roots, []string{systemRoots})}
	for _, set := range []func(*check.Checker) error{
		f.setThresholds, f.setTime, f.setOverride, f.setEndpoint, f.setSettings, f.setPassphrase, f.setExpected,
	} {
		if err := set(c); err != nil {
			p.Close()
			return nil, nil, err
		}
	}
	return c, p.Close, nil
}

// cacheDir is where revocation lists are kept for the next check, empty where no folder for
// that is known.
func cacheDir(getenv func(string) string) string {
	if dir := getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "certmedic", "crl")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "certmedic", "crl")
	}
	return ""
}

// setEndpoint sets what all endpoints have in common.
func (f *checkFlags) setEndpoint(c *check.Checker) error {
	if f.ip4 && f.ip6 {
		return errors.New("-4 and -6 exclude each other")
	}
	if f.ip4 {
		c.Endpoint.Family = probe.IP4
	}
	if f.ip6 {
		c.Endpoint.Family = probe.IP6
	}
	c.Endpoint.WithoutSNI = f.withoutSNI
	for _, pin := range f.pins {
		if err := inspect.CheckPin(pin); err != nil {
			return fmt.Errorf("--pin: %w", err)
		}
	}
	c.Endpoint.Pins = f.pins
	return nil
}

// setSettings sets how handshakes are made.
func (f *checkFlags) setSettings(c *check.Checker) error {
	settings := &live.Settings{}
	if f.proxy != "" {
		proxy, err := live.ParseProxy(f.proxy)
		if err != nil {
			return fmt.Errorf("--proxy: %w", err)
		}
		settings.Proxy = proxy
	}
	if f.certKey != "" && f.cert == "" {
		return errors.New("--cert-key needs --cert")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, cmp.Or(f.certKey, f.cert))
		if err != nil {
			return fmt.Errorf("--cert: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	c.Modules = map[string]probe.Module{"": {Live: settings}}
	return nil
}

func (f *checkFlags) setPassphrase(c *check.Checker) error {
	if f.pass == "" {
		return nil
	}
	if err := ownership.CheckSecret(f.pass); err != nil {
		return fmt.Errorf("--passphrase-file: %w", err)
	}
	passphrase, err := os.ReadFile(f.pass)
	if err != nil {
		return fmt.Errorf("--passphrase-file: %w", err)
	}
	c.Reader.Passphrases = [][]byte{bytes.TrimRight(passphrase, "\r\n")}
	return nil
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
		key, err := check.ReadKey(c.Reader, f.key)
		if err != nil {
			errs = append(errs, fmt.Errorf("--key: %w", err))
		}
		c.Key = key
	}
	if f.compare != "" {
		stored, err := check.ReadStored(c.Reader, f.compare)
		if err != nil {
			errs = append(errs, fmt.Errorf("--compare: %w", err))
		}
		c.Stored = stored
	}
	return errors.Join(errs...)
}
