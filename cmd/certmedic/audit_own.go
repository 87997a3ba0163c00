package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/app"
	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/probe/host/service"
)

// own is what certmedic itself knows of the host that is audited.
type own struct {
	e         *environment
	inTree    bool
	strangers bool // whose a file of the tree is cannot be told
	file      string
	config    *config.Config // the defaults where there is no file, or where it is not taken
	err       error

	trees, others []string
	mains         map[service.Kind][]string
}

// ownOf reads the configuration. In a tree it is the one at its path there.
func ownOf(e *environment, f *auditFlags) *own {
	o := &own{e: e, inTree: f.root != "", strangers: f.confined, file: e.config(), mains: map[service.Kind][]string{}}
	if o.config, o.err = load(o.file); o.err != nil {
		o.config = config.Default()
	}
	if path, err := filepath.Abs(o.file); err == nil && o.file != "" {
		o.file = path
	}
	for _, d := range o.config.Discover {
		switch {
		case d.Certbot != nil:
			o.trees = append(o.trees, d.Certbot.ConfigDir)
		case d.Tree != nil:
			o.others = append(o.others, d.Tree.Dir)
		}
		for kind, server := range map[service.Kind]*config.DiscoverServer{
			service.Nginx: d.Nginx, service.Apache: d.Apache, service.HAProxy: d.HAProxy, service.Postfix: d.Postfix, service.Dovecot: d.Dovecot,
		} {
			if server != nil && server.Config != "" {
				o.mains[kind] = append(o.mains[kind], server.Config)
			}
		}
	}
	for _, c := range o.config.Certificates {
		if s := c.Source.Certbot; s != nil && !slices.Contains(o.trees, s.ConfigDir) {
			o.trees = append(o.trees, s.ConfigDir)
		}
	}
	return o
}

// loadTime bounds how long the configuration may take to be read. In the tree of somebody else a
// pipe can stand in the place of any file.
const loadTime = 5 * time.Second

func load(file string) (*config.Config, error) {
	type loaded struct {
		config *config.Config
		err    error
	}
	end := make(chan loaded, 1)
	go func() {
		c, _, err := app.Load(file)
		end <- loaded{c, err}
	}()
	timer := time.NewTimer(loadTime)
	defer timer.Stop()
	select {
	case l := <-end:
		return l.config, l.err
	case <-timer.C:
		return nil, fmt.Errorf("reading %q took longer than %s", file, loadTime)
	}
}

// gather says what the configuration has, and what the daemon or its state know.
func (o *own) gather(ctx context.Context) (audit.Own, string) {
	a := audit.Own{File: o.file, Certificates: config.Certificates(o.config), Declared: o.declared()}
	if o.err != nil && o.strangers {
		return a, "without root, whose its files are cannot be told"
	}
	if o.err != nil {
		a.Problem = o.err.Error()
		return a, "its configuration is not taken"
	}
	for _, d := range o.config.Discover {
		if d.Certbot != nil {
			a.Discovers = append(a.Discovers, d.Certbot.ConfigDir)
		}
	}
	for i, r := range o.config.Alerting.Receivers {
		a.Receivers = append(a.Receivers, audit.Receiver{Name: r.Name, Kind: app.ReceiverKind(r), Place: o.place(fmt.Sprintf("alerting.receivers[%d]", i))})
	}
	for i, r := range o.config.Alerting.Routes {
		if r.Match["severity"] == "critical" && a.Escalates.File == "" {
			a.Escalates = o.place(fmt.Sprintf("alerting.routes[%d]", i))
		}
	}
	return a, o.state(ctx, &a)
}

func (o *own) place(key string) audit.Place {
	return audit.Place{File: o.file, Line: o.config.Position(key).Line}
}

// declared are the pages that people named.
func (o *own) declared() map[string]audit.Setting {
	all := map[string]audit.Setting{}
	c := o.config.Audit
	for key, value := range map[string]string{"runbook": c.Runbook, "contacts": c.Contacts, "outside": c.Outside} {
		if value == "" {
			continue
		}
		set := audit.Setting{Value: value, Place: o.place("audit." + key)}
		if page := c.Page(value); page != "" && key != "outside" {
			info, err := os.Stat(page)
			set.Absent = err != nil || info.Size() == 0
		}
		all[key] = set
	}
	return all
}

// newest is how many actions are asked for.
const newest = 10_000

// state asks the daemon, or reads what the last one left. It says why that could not be.
func (o *own) state(ctx context.Context, a *audit.Own) string {
	if !o.inTree {
		status, err := api.NewClient(o.config.StateDir).Status(ctx)
		a.Running = err == nil && status.Running
	}
	err := o.ask(func(r reader) error {
		actions, err := r.History(ctx, "", newest)
		a.Actions = actions
		return errors.Join(err, countSnapshots(ctx, r, a), addExercises(ctx, r, a))
	})
	if err == nil || isStateless(err) {
		return "" // where there is no state it did nothing
	}
	return err.Error()
}

// ask asks the daemon of this host, or reads the state; that of a tree has no daemon.
func (o *own) ask(f func(reader) error) error {
	if !o.inTree {
		return o.e.ask(f)
	}
	offline, err := app.OpenOffline(o.config, false, o.e.options(o.e.quiet()))
	if err != nil {
		return err
	}
	defer offline.Close()
	return f(kept{offline})
}

// isStateless reports whether certmedic never ran here.
func isStateless(err error) bool {
	var exit *exitError
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &exit) && strings.HasSuffix(exit.Error(), "holds no state")
}

// countSnapshots counts the kept versions of all certificates.
func countSnapshots(ctx context.Context, r reader, a *audit.Own) error {
	status, err := r.Status(ctx)
	if err != nil {
		return err
	}
	for _, c := range status.Certificates {
		all, err := r.Snapshots(ctx, c.Name)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.Broken != "" {
				a.Broken++
			} else {
				a.Snapshots++
			}
		}
	}
	return nil
}

// addExercises says when receivers took a test, or a drill.
func addExercises(ctx context.Context, r reader, a *audit.Own) error {
	all, err := r.Receivers(ctx)
	for _, one := range all {
		for kind, at := range map[string]time.Time{"test": one.Tested, "drill": one.Drilled} {
			if !at.IsZero() {
				a.Exercises = append(a.Exercises, audit.Exercise{Kind: kind, Receiver: one.Name, Time: at})
			}
		}
	}
	return err
}
