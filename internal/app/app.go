// Package app wires certmedic: it turns a configuration into running parts, listens, and
// reloads. It is the only place that knows which receivers, sources and stores there are.
//
// An [App] is the process as an object. A reload ends one generation of goroutines and
// starts the next from what is kept, the same way that a start after a crash takes; the
// listeners, the state and the metrics live on.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	webtoolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/api"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/metrics"
	"github.com/certmedic/certmedic/internal/store"
	"github.com/certmedic/certmedic/internal/systemlog"
	"github.com/certmedic/certmedic/internal/web"
	"github.com/certmedic/certmedic/probe/discover/sd"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deny"
	"github.com/certmedic/certmedic/remediate/snapshot"
)

// stateWait is how long a daemon waits for another one to let go of the state.
const stateWait = 3 * time.Second

// Options are what an [App] needs.
type Options struct {
	ConfigFile      string   // empty: this host is discovered and observed
	ListenAddresses []string // host:port
	WebConfigFile   string   // of exporter-toolkit: TLS and logins
	Version         string
	Environ         []string // for commands
	Self            string   // path of certmedic's own program
	Syslog          string   // the socket of syslog, which gets a line when an action begins and when it ends; empty: the log does
	Log             *slog.Logger
	Reload          <-chan os.Signal         // asks for a reload of the configuration; may be nil
	Ready           func(addresses []string) // called once everything runs; may be nil
}

// App is a daemon.
type App struct {
	o       Options
	store   *store.Store
	metrics *metrics.Exporter
	dir     string // the state folder; it does not change over a reload

	cluster   *cluster          // what the members share
	fleet     fleetView         // what all of them see
	nodes     *nodeBook         // what was done on other hosts
	approvals *approval.Book    // the plans that wait for a person
	lines     *systemlog.Writer // of actions
	denied    *deny.List        // keys that must never be installed again
	snapshots *snapshot.Store   // kept good versions
	loans     *loanBook         // rollbacks that stand
	silences  *silence.Book
	acks      *acks      // who looks after what
	inbox     *inbox     // what people said elsewhere
	people    *people    // what they said to other members; nil on a single host
	paging    sync.Mutex // held while what PagerDuty says is done
	drills    drills
	deeds     sync.WaitGroup // what people began on pages
	live      audience       // who watches what changes
	limits    limits         // what services take from this process

	keys    disk.KeyCache       // what was read of sources, over all generations
	sockets sockets             // what was found when sockets were tried
	prints  map[string]printOut // what commands printed, guarded by reloading
	answers sd.Memory           // of http_sd and DNS, guarded by reloading
	recalls recalls             // what CAs said about older versions
	shelves shelves             // where versions are published

	offline bool // nothing is executed, and nobody asked, to find out what there is

	reloading sync.Mutex // held while generations change
	mu        sync.RWMutex
	config    *config.Config
	current   *generation

	memberChange time.Time       // when members came or went; zero: what that means was done
	troubles     map[string]bool // what could not be done the last time it was tried, in sentences
}

// Load reads the configuration file, or returns the defaults where there is none.
func Load(file string) (*config.Config, []config.Warning, error) {
	if file == "" {
		return config.Default(), nil, nil
	}
	return config.Load(file)
}

// Run loads the configuration and runs the daemon until ctx ends.
func Run(ctx context.Context, o Options) error {
	c, warnings, err := Load(o.ConfigFile)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		o.Log.Warn("configuration", "at", w.String())
	}
	s, err := store.Open(c.StateDir, stateWait)
	if err != nil {
		return err
	}
	a := &App{o: o, store: s, metrics: metrics.New(o.Version), config: c, dir: c.StateDir}
	a.metrics.State(s.Trouble)
	a.metrics.Cluster(func() metrics.Cluster { return a.cluster.measured() })
	a.drills.alerter = func() *alerting.Alerter { return a.generation().alerter }
	a.drills.over = func(d api.Drill) { a.exercised(drilled(d)) }
	a.openVersions()
	if a.silences, err = silence.Open(s); err != nil {
		return errors.Join(err, s.Close())
	}
	if err := errors.Join(a.openCluster(), a.openApprovals(), a.openInbox()); err != nil {
		return errors.Join(err, s.Close())
	}
	return errors.Join(a.trim(), a.run(ctx), s.Close())
}

// run starts the first generation and the listeners, and ends both with ctx.
func (a *App) run(ctx context.Context) error {
	a.cluster.start()
	a.cluster.settle(ctx)
	g, err := a.build(ctx, a.config)
	if err != nil {
		return errors.Join(err, a.cluster.stop())
	}
	a.metrics.Reloaded(true)
	servers, addresses, err := a.listen()
	if err != nil {
		return errors.Join(err, a.cluster.stop())
	}
	a.use(g)
	g.start(ctx)
	failed := make(chan error, len(servers))
	for _, s := range servers {
		go func() { failed <- s.serve() }()
	}
	if a.o.Ready != nil {
		a.o.Ready(addresses)
	}
	return errors.Join(a.wait(ctx, failed), a.shutdown(servers), a.cluster.stop()) // in this order: leases outlive what acts under them
}

// touchEvery is how often it is tried whether the state can be written.
const touchEvery = 15 * time.Second

// trimEvery is how often the oldest of what is kept is dropped.
const trimEvery = 24 * time.Hour

// wait reloads when it is asked to and trims the state, until ctx ends or a listener fails.
func (a *App) wait(ctx context.Context, failed <-chan error) error {
	trim := time.NewTicker(trimEvery)
	defer trim.Stop()
	touch := time.NewTicker(touchEvery)
	defer touch.Stop()
	look := time.NewTicker(targetsEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if err := errors.Join(a.rediscover(ctx), a.reshare()); err != nil {
				a.o.Log.Error("watching what was discovered", "err", err)
			}
		case now := <-touch.C:
			if err := a.store.Touch(now); err != nil {
				a.o.Log.Error("the state cannot be written", "err", err)
			}
		case <-trim.C:
			if err := a.trim(); err != nil {
				a.o.Log.Error("trimming the state", "err", err)
			}
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-a.o.Reload:
			if err := a.Reload(ctx); err != nil {
				a.o.Log.Error("reloading the configuration; the old one goes on", "err", err)
			} else {
				a.o.Log.Info("the configuration was reloaded")
			}
		}
	}
}

// trim drops the oldest of what is kept, and what of it must not be kept. What cannot be removed
// of kept versions keeps nobody from watching.
func (a *App) trim() error {
	if err := a.snapshots.Sweep(time.Now()); err != nil {
		a.o.Log.Error("trimming what is kept", "err", err)
	}
	return a.store.Trim()
}

// shutdown ends the listeners and the generation.
func (a *App) shutdown(servers []*listening) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	a.live.close() // else listeners would wait for who watches
	var errs []error
	for _, s := range servers {
		if err := s.server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, fmt.Errorf("ending a listener: %w", err))
		}
	}
	a.drills.wg.Wait() // they end with the listeners
	a.reloading.Lock()
	defer a.reloading.Unlock()
	errs = append(errs, a.generation().stop())
	a.deeds.Wait() // they have ended with the generation
	a.generation().close()
	// Ending its listener has removed the socket, unless that took too long.
	if err := os.Remove(filepath.Join(a.dir, api.SocketName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// listening is a listener with its server.
type listening struct {
	server *http.Server
	serve  func() error
}

// listen opens the socket of the commands and every TCP listener, before anything is
// served, so that an address in use is told at the start.
func (a *App) listen() ([]*listening, []string, error) {
	if _, err := hasLogin(a.o.WebConfigFile); err != nil {
		return nil, nil, err
	}
	s := web.New(web.Options{
		Backend: a, Versions: a, Matrices: a, Fleet: a, Approvals: a, Silences: a, Acks: a, Hooks: a, Receivers: a, Drills: a, Rehearser: a, Live: &a.live, Metrics: a.metrics.Handler(), Probe: http.HandlerFunc(a.probe), ProbeLogs: http.HandlerFunc(a.probeLogs),
		Login: a.asksForLogin, Version: a.o.Version, Log: a.o.Log,
	})
	socket, err := web.ListenSocket(filepath.Join(a.dir, api.SocketName))
	if err != nil {
		return nil, nil, err
	}
	private := &http.Server{Handler: s.Private(), ConnContext: web.ConnContext, ReadHeaderTimeout: 10 * time.Second}
	all := []*listening{{private, func() error { return ended(private.Serve(socket)) }}}
	var addresses []string
	for _, address := range a.o.ListenAddresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("listening on %q: %w", address, err), socket.Close())
		}
		addresses = append(addresses, l.Addr().String())
		public := &http.Server{Handler: s.Public(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
		// Called once the toolkit has put its login around the handler, and before the first request.
		public.BaseContext = func(net.Listener) context.Context {
			public.Handler = s.Signed(public.Handler)
			return context.Background()
		}
		flags := &webtoolkit.FlagConfig{WebConfigFile: &a.o.WebConfigFile}
		all = append(all, &listening{public, func() error { return ended(webtoolkit.Serve(l, public, flags, a.o.Log)) }})
	}
	return all, addresses, nil
}

func ended(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serving: %w", err)
}

func (a *App) use(g *generation) {
	a.mu.Lock()
	a.current, a.config = g, g.config
	a.mu.Unlock()
	a.cluster.want(leases(g))
	a.metrics.Use(g)
}

func (a *App) generation() *generation {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.current
}

// The sentences of troubles.
const (
	notDenied   = "the list of denied keys cannot be read, so that every key counts as denied: see the log"
	notCounted  = "what was spent of the limits of CAs cannot be read, so that nothing is ordered: see the log"
	notReloaded = "the configuration was not reloaded and the old one goes on: see the log, or certmedic config check"
	notWatched  = "what discovery found is not watched: see the log"
)

// tell has the status say a sentence while there is an error, which it returns.
func (a *App) tell(sentence string, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.troubles == nil {
		a.troubles = map[string]bool{}
	}
	a.troubles[sentence] = err != nil
	return err
}

// Reload loads the configuration again. A bad one is an error and changes nothing. The
// state folder and the listeners stay as they are. It goes on where its caller loses patience.
func (a *App) Reload(context.Context) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	err := a.tell(notReloaded, a.reload())
	a.metrics.Reloaded(err == nil)
	return err
}

func (a *App) reload() error {
	c, warnings, err := Load(a.o.ConfigFile)
	if err != nil {
		return err
	}
	if c.StateDir != a.dir {
		return fmt.Errorf("reloading: state_dir cannot change from %q to %q while certmedic runs", a.dir, c.StateDir)
	}
	if !reflect.DeepEqual(c.Cluster, a.cluster.setting) {
		return errors.New("reloading: cluster cannot change while certmedic runs: restart it")
	}
	g := a.generation()
	var before discovered
	if reflect.DeepEqual(c.Discover, g.config.Discover) {
		before = g.saw().found
	}
	next, err := a.equip(c)
	if err != nil {
		return err
	}
	next.watch(a.firstLook(g.parent, next, before))
	for _, w := range warnings {
		a.o.Log.Warn("configuration", "at", w.String())
	}
	if err := a.replace(next); err != nil {
		next.close()
		return err
	}
	g.close()
	return nil
}

// replace has a generation take the place of the present one, which ends only when the next
// can be started. With an error nothing has changed.
func (a *App) replace(next *generation) error {
	old := a.generation()
	if err := a.join(next); err != nil {
		return err
	}
	if err := old.stop(); err != nil {
		a.o.Log.Error("ending the old configuration", "err", err)
	}
	// Once more, for what the old one kept in its last moments.
	if err := a.join(next); err != nil {
		a.o.Log.Error("reading what was kept last", "err", err)
	}
	next.watchdog.Inherit(old.watchdog)
	if next.prepared == old.prepared { // else it may be another way to probe them
		next.scheduler.Inherit(old.scheduler)
	}
	a.use(next)
	next.start(old.parent)
	a.live.tell(api.Change{Kind: api.ChangeEverything})
	return nil
}

// Ready reports whether a configuration runs.
func (a *App) Ready() bool {
	g := a.generation()
	return g != nil && g.running.Load()
}

// Status returns the present picture.
func (a *App) Status() api.Status {
	s := statusOf(a.generation(), a.o.Version, true)
	s.Receivers = a.Receivers()
	s.Acknowledged, s.Cluster = a.Acknowledged(), a.cluster.status()
	a.mu.RLock()
	defer a.mu.RUnlock()
	if since, err := a.store.Trouble(); err != nil {
		s.Degraded = append(s.Degraded, fmt.Sprintf("the state cannot be written since %s: %v", since.UTC().Format(time.RFC3339), err))
	}
	for _, sentence := range []string{a.cluster.degraded(), a.cluster.doubled()} {
		if sentence != "" {
			s.Degraded = append(s.Degraded, sentence)
		}
	}
	for _, sentence := range slices.Sorted(maps.Keys(a.troubles)) {
		if a.troubles[sentence] {
			s.Degraded = append(s.Degraded, sentence)
		}
	}
	return s
}

func statusOf(g *generation, version string, running bool) api.Status {
	s := api.Status{
		Version: version, Time: time.Now().UTC(), Running: running, Status: certmedic.StatusOK,
		Mode: g.config.Remediation.Mode, Degraded: g.degraded(), Certificates: g.Views(), Fleet: g.Fleet(),
	}
	for _, in := range s.Fleet {
		if in.State == certmedic.StateFiring {
			s.Status = s.Status.Worse(certmedic.StatusOf(certmedic.Finding{Severity: in.Severity}))
		}
	}
	for _, v := range s.Certificates {
		s.Status = s.Status.Worse(v.Status)
	}
	return s
}

// Incidents returns the open incidents, newest first, and then the newest ended ones.
func (a *App) Incidents(certificate string, limit int) ([]certmedic.Incident, error) {
	return incidents(a.generation(), a.store, certificate, limit)
}

// History returns the newest actions.
func (a *App) History(certificate string, limit int) ([]certmedic.Action, error) {
	return history(a.store, certificate, limit)
}

// Act carries out an action that a person asked for.
func (a *App) Act(ctx context.Context, r api.ActionRequest) (api.ActionAnswer, error) {
	return a.generation().act(ctx, r)
}

// probe serves /probe by the present configuration.
func (a *App) probe(w http.ResponseWriter, r *http.Request) {
	a.generation().prober.ServeHTTP(w, r)
}

// probeLogs serves what /probe probed recently.
func (a *App) probeLogs(w http.ResponseWriter, r *http.Request) {
	a.generation().prober.History().ServeHTTP(w, r)
}
