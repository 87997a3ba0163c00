package deploy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/deploy/haproxy"
	"github.com/certmedic/certmedic/remediate/deploy/signal"
)

// The kinds of certmedic's own steps that load files into a service.
const (
	StepHAProxy = "haproxy"
	StepSignal  = "signal"
)

// Steps plans the deploy steps of the configuration. With reloadOnly it plans no files.
// The error says that a part of the version cannot be read, does not fit together, or that
// others may write what would be run or where it would be installed.
func Steps(destinations []certmedic.Destination, stored certmedic.Stored, environ []string, reloadOnly bool) (Plan, error) {
	p := newPlan(stored)
	here, there := split(destinations)
	for _, d := range here {
		if err := trusted(d); err != nil {
			return Plan{}, err
		}
	}
	if !reloadOnly {
		if err := p.push(destinations, stored, environ); err != nil {
			return Plan{}, err
		}
	}
	if !reloadOnly && len(here) > 0 {
		if err := p.install(here, stored); err != nil {
			return Plan{}, err
		}
	}
	if err := p.elsewhere(there, stored, reloadOnly); err != nil {
		return Plan{}, err
	}
	for _, phase := range []Phase{PhasePrepare, PhaseTest, PhaseReload, PhaseAlive} {
		for _, d := range here {
			commands, err := commandsOf(d, phase)
			if err != nil {
				return Plan{}, err
			}
			for _, c := range commands {
				c.Env = withoutCredentials(environ)
				p.add(c)
			}
		}
	}
	spec, err := json.Marshal(destinations)
	if err != nil {
		return Plan{}, fmt.Errorf("hashing the deploy steps: %w", err)
	}
	basis := []string{string(spec)}
	for _, d := range destinations {
		for _, f := range d.Files {
			basis = append(basis, stat(f.PassphraseFile))
		}
		secret, fixed := secretsOf(d.Push)
		for _, path := range slices.Concat(secret, fixed) {
			basis = append(basis, stat(path))
		}
	}
	p.Basis = digest(basis)
	return p, nil
}

// install plans the files of the destinations, one destination after the other.
func (p *Plan) install(destinations []certmedic.Destination, stored certmedic.Stored) error {
	parts, err := read(stored.Files, stored.Chain)
	if err != nil {
		return err
	}
	for _, d := range destinations {
		for _, f := range slices.SortedStableFunc(slices.Values(d.Files), byRole) {
			file, err := parts.file(f)
			if err != nil {
				return err
			}
			file.Swap = d.Swap
			p.Files = append(p.Files, file)
		}
	}
	return nil
}

// byRole orders the files of a destination: the key first, then the chain, what holds the leaf
// last. Between two renames key and leaf do not fit, in whatever order they come, and a service
// that reloads just then refuses them and goes on with what it has. But one that reloads because
// it watches the certificate's file finds the key in place.
func byRole(a, b certmedic.InstalledFile) int { return cmp.Compare(role(a.From), role(b.From)) }

func role(part certmedic.FilePart) int {
	switch {
	case part == certmedic.PartPrivkey:
		return 0
	case !part.HasLeaf():
		return 1
	}
	return 2
}

// trusted checks that nobody but root and this process's user may write the programs that a
// destination runs, and the folders that its files go to.
func trusted(d certmedic.Destination) error {
	for _, argv := range slices.Concat(d.Prepare, [][]string{d.Test, d.Reload, d.Alive}) {
		if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
			continue
		}
		if err := ownership.Check(argv[0]); err != nil {
			return fmt.Errorf("checking %q: %w", argv[0], err)
		}
	}
	paths := []string{}
	if d.Swap != "" {
		paths = append(paths, d.Swap)
	}
	for _, f := range d.Files {
		paths = append(paths, f.To)
	}
	for _, path := range paths {
		if err := ownership.Check(filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) { // what is missing fails when it is staged
			return fmt.Errorf("checking the folder of %q: %w", path, err)
		}
	}
	return nil
}

// commandsOf returns what a destination runs in a phase, without its environment.
func commandsOf(d certmedic.Destination, phase Phase) ([]Command, error) {
	c := Command{Name: d.Name + ": " + string(phase), Phase: phase}
	switch phase {
	case PhasePrepare:
		var all []Command
		for _, argv := range d.Prepare {
			c.Argv = argv
			all = append(all, c)
		}
		return all, nil
	case PhaseTest:
		c.Argv = d.Test
	case PhaseReload:
		return reloads(d, c)
	case PhaseAlive:
		c.Argv, c.For = d.Alive, d.AliveFor
	}
	if len(c.Argv) == 0 {
		return nil, nil
	}
	return []Command{c}, nil
}

// reloads returns what makes a service load its files: its command, or a step of certmedic's
// own, of which its command may be the substitute.
func reloads(d certmedic.Destination, c Command) ([]Command, error) {
	var request any
	switch {
	case len(d.HAProxy.Sockets) > 0:
		request, c.Argv, c.Otherwise = haproxyRequest(d), own(StepHAProxy), d.Reload
		c.About = fmt.Sprintf("loads %s into HAProxy over %s", d.HAProxy.Certificate, strings.Join(d.HAProxy.Sockets, ", "))
		c.locks = d.HAProxy.Sockets // a process takes one transaction at a time
	case d.Signal.PIDFile != "":
		request, c.Argv = signal.Request{PIDFile: d.Signal.PIDFile, Signal: d.Signal.Name}, own(StepSignal)
		c.About = fmt.Sprintf("sends SIG%s to the process of %s", d.Signal.Name, d.Signal.PIDFile)
	case len(d.Reload) == 0:
		return nil, nil
	default:
		c.Argv = d.Reload
		return []Command{c}, nil
	}
	var err error
	c.Own = true
	if c.Request, err = json.Marshal(request); err != nil {
		return nil, fmt.Errorf("planning the reload of %q: %w", d.Name, err)
	}
	return []Command{c}, nil
}

func own(kind string) []string { return []string{"certmedic", "step", kind} }

// haproxyRequest names the files that together are a certificate of HAProxy: the one that it
// names, and the key beside it where that is apart.
func haproxyRequest(d certmedic.Destination) haproxy.Request {
	q := haproxy.Request{Sockets: d.HAProxy.Sockets, Certificate: d.HAProxy.Certificate}
	for _, f := range d.Files {
		if f.To == d.HAProxy.Certificate || f.To == d.HAProxy.Certificate+".key" {
			q.Files = append(q.Files, f.To)
		}
	}
	slices.Sort(q.Files)
	return q
}

// add plans a command; what several destinations share is planned once. Preparations are not
// shared: each stands behind its own files.
func (p *Plan) add(c Command) {
	same := func(d Command) bool {
		return d.Phase == c.Phase && slices.Equal(d.Argv, c.Argv) && string(d.Request) == string(c.Request)
	}
	if at := slices.IndexFunc(p.Commands, same); at >= 0 && c.Phase != PhasePrepare {
		p.Commands[at].For = max(p.Commands[at].For, c.For)
		return
	}
	if c.Phase == PhaseReload {
		words := c.Argv
		if c.Own {
			words = append(slices.Clone(words), string(c.Request))
		}
		p.Locks = append(p.Locks, strings.Join(words, "\x00"))
		if len(c.Otherwise) > 0 {
			p.Locks = append(p.Locks, strings.Join(c.Otherwise, "\x00"))
		}
	}
	p.Locks = append(p.Locks, c.locks...)
	p.Commands = append(p.Commands, c)
}
