package discover

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/discover/apache"
	"github.com/certmedic/certmedic/probe/discover/conf"
	"github.com/certmedic/certmedic/probe/discover/listening"
	"github.com/certmedic/certmedic/probe/discover/nginx"
	"github.com/certmedic/certmedic/probe/discover/sd"
)

// report makes a finding of each line of an error.
func (h *host) report(code certmedic.FindingCode, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		h.findings = append(h.findings, certmedic.NewFinding(code, strings.TrimSpace(line)))
	}
}

// output runs a command; nil where there is none, or where it failed, which is a finding.
func (h *host) output(ctx context.Context, opts Options, argv []string) []byte {
	if len(argv) == 0 || opts.Run == nil {
		return nil
	}
	out, err := opts.Run(ctx, argv)
	if err != nil {
		h.report(certmedic.FileUnreadable, err)
		return nil
	}
	return out
}

func (h *host) nginx(ctx context.Context, opts Options) []conf.Server {
	if dump := h.output(ctx, opts, opts.NginxCommand); dump != nil {
		servers, err := nginx.ParseDump(dump)
		h.report(certmedic.FileUnreadable, err)
		return servers
	}
	return h.parsed(opts.NginxConf, nginx.Parse)
}

func (h *host) apache(ctx context.Context, opts Options) []conf.Server {
	if opts.ApacheConf == "" {
		return nil
	}
	if dump := h.output(ctx, opts, opts.ApacheCommand); dump != nil {
		servers, err := apache.ParseWith(opts.ApacheConf, dump)
		h.report(certmedic.FileUnreadable, err)
		return servers
	}
	return h.parsed(opts.ApacheConf, apache.Parse)
}

// parsed reads a service's main file; none where it is not looked for.
func (h *host) parsed(path string, parse func(string) ([]conf.Server, error)) []conf.Server {
	if path == "" {
		return nil
	}
	servers, err := parse(path)
	h.report(certmedic.FileUnreadable, err)
	return servers
}

// addSockets tries this host's listening sockets, without those of this process. A lineage is
// bound to those that serve a version of it; what serves another certificate is watched.
func (h *host) addSockets(ctx context.Context, opts Options) {
	if !opts.Listening || opts.Served == nil {
		return
	}
	found, err := listening.Find(ctx, listening.Options{
		Proc: cmp.Or(opts.Proc, "/proc"), SkipPID: os.Getpid(), Protocols: opts.Protocols, Leaf: opts.Served,
	})
	h.report(certmedic.FileUnreadable, err)
	for _, socket := range found {
		h.addSocket(socket)
	}
}

// addTargets adds the targets of service discovery.
func (h *host) addTargets(ctx context.Context, opts Options) {
	if opts.ParseTarget == nil {
		return
	}
	var groups []sd.Group
	for _, pattern := range opts.FileSD {
		groups = append(groups, h.fileSD(pattern)...)
	}
	if opts.Client != nil {
		for _, server := range opts.HTTPSD {
			found, err := opts.Answers.Fetch(ctx, opts.Client, server)
			h.report(certmedic.Unreachable, err)
			groups = append(groups, found...)
		}
	}
	endpoints, errs := sd.Endpoints(groups, opts.ParseTarget)
	for _, err := range errs {
		h.report(certmedic.FileUnreadable, err)
	}
	for _, e := range endpoints {
		h.watch(e)
	}
}

func (h *host) fileSD(pattern string) []sd.Group {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		h.report(certmedic.FileUnreadable, fmt.Errorf("file_sd %q: %w", pattern, err))
	}
	if len(paths) == 0 && !strings.ContainsAny(pattern, `*?[\`) { // a pattern may match nothing, as in Prometheus
		h.report(certmedic.FileMissing, fmt.Errorf("file_sd: no file matches %q", pattern))
	}
	files := conf.OnDisk()
	var groups []sd.Group
	for _, path := range paths {
		text, err := files.Read(path)
		if err != nil {
			h.report(certmedic.FileUnreadable, fmt.Errorf("file_sd: %w", err))
			continue
		}
		found, err := sd.ParseFile(path, []byte(text))
		h.report(certmedic.FileUnreadable, err)
		groups = append(groups, found...)
	}
	return groups
}

// addNames adds what DNS names.
func (h *host) addNames(ctx context.Context, opts Options) {
	if opts.Resolver == nil {
		return
	}
	for _, query := range opts.DNS {
		endpoints, err := opts.Answers.Lookup(ctx, opts.Resolver, query)
		h.report(certmedic.DNSFailed, err)
		for _, e := range endpoints {
			h.watch(e)
		}
	}
}
