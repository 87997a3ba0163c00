package remediate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/window"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/guard"
	"github.com/certmedic/certmedic/remediate/lineage"
	"github.com/certmedic/certmedic/remediate/remote/session"
	"github.com/certmedic/certmedic/remediate/renew"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// Journal is the durable record of actions. Record must be on disk when it returns.
// Record with the ID of an earlier action replaces that one.
type Journal interface {
	Record(a certmedic.Action) error
	// Actions returns the actions of a certificate, or of all when it is "", that started
	// at or after since, newest first.
	Actions(certificate string, since time.Time) ([]certmedic.Action, error)
}

// Nodes keeps what is known of the nodes of a certificate. All members of a cluster share it.
type Nodes interface {
	Nodes(ctx context.Context, certificate string) ([]certmedic.NodeStatus, error)
	// SaveNodes keeps what is known in place of what was. It is an error where a member with a
	// higher token was there first.
	SaveNodes(ctx context.Context, certificate string, token uint64, all []certmedic.NodeStatus) error
}

// Sight is one fresh look at a certificate: what is stored now and what each address serves
// now.
type Sight struct {
	Certificate certmedic.Certificate
	Stored      certmedic.Stored
	Since       time.Time           // since when the stored version can be served: it appeared, or its deployment ended
	Problems    []certmedic.Finding // critical findings of the stored version
	Addresses   []Served
}

// Served is what one address served in a look.
type Served struct {
	Address string                // for people
	At      string                // ip:port that was asked
	Node    string                // whose address it is, of the nodes of the certificate; empty: of none that is known
	Bound   bool                  // it served a version of this certificate before, or is owned
	Leaf    certmedic.Fingerprint // empty when nothing was presented
	Dire    bool                  // what it serves is invalid already, or of a denied key
	Newer   bool                  // what it serves was issued after the stored version
	Detail  string                // why nothing was presented

	HTTPStatus int // what it answered to an HTTP request; 0: it was not asked, or answered nothing
}

// Options are what a [Remediator] needs.
type Options struct {
	Look    func(ctx context.Context, certificate string) (Sight, error)
	Hooks   func(c certmedic.Certificate) ([]deploy.Hook, error) // certbot's deploy hooks for a certificate
	Renewal func(c certmedic.Certificate) (renew.Way, error)     // how a certificate is renewed; an error: that cannot be trusted
	// Candidates returns the older versions of a certificate, with all that is known against each;
	// nil: there are none.
	Candidates  func(ctx context.Context, c certmedic.Certificate, stored certmedic.Stored) ([]rollback.Candidate, error)
	Place       func(c certmedic.Certificate) (lineage.Place, error) // of its lineage; an error: that cannot be trusted
	RollbackWay func(c certmedic.Certificate) rollback.Way           // nil: auto for all
	Loans       Loans                                                // nil: nothing is rolled back
	Lent        func(certificate string, l *rollback.Loan)           // told what stands now, nil: nothing; may be nil

	Ledger  Ledger // nil: no limits of any CA are known
	Journal Journal
	Denied  func(spki certmedic.Fingerprint) bool // whether a key is on the deny list; nil: none is
	Frozen  func() bool                           // whether the freeze file exists
	Changed func(certmedic.Action)
	Log     *slog.Logger

	Lead    func(certificate string) certmedic.Lead                                 // who acts for a certificate; nil: this host, as there is no other
	Confirm func(ctx context.Context, certificate string) (token uint64, err error) // proves that just before something is changed; nil: with token 0
	Nodes   Nodes                                                                   // nil: nothing is deployed to other hosts

	Dial   func(ctx context.Context, node string) (*session.Session, error)   // connects to another host; nil: there is none
	LookAt func(ctx context.Context, certificate, node string) (Sight, error) // a look at the addresses of one node alone; nil: Look sees them

	Fences bool // there are other members: what is installed on this host keeps the token of who did, which refuses a lower one

	// Emergency returns from when the stored version of a certificate may be renewed although the coordinator cannot
	// be asked; zero: not at all. Nil: never.
	Emergency func(certificate string, stored certmedic.CertFacts) time.Time

	Orders Orders // tells the other members what is ordered; nil: there are none

	Rehearsals Journal                // of rehearsals; nil: nothing is rehearsed
	Rehearsed  func(certmedic.Action) // told of each; may be nil

	Approvals      *approval.Book     // the plans that wait for a person; nil: nobody is asked, and nothing approved
	ApprovalExpiry time.Duration      // how long a plan waits
	Refused        func(guard.Reason) // takes the reason of each refusal that says something new, also of those that are not journaled; nil: nobody does

	ClockDoubt func() string // why this machine's clock cannot be trusted; empty where nothing speaks against it
	Windows    window.Set    // when actions may begin that nobody asked for by hand

	Self           string   // path of certmedic's own program, which runs steps of its own in processes of their own
	RunDir         string   // where the output of commands is kept while they run; 0700
	Environ        []string // for commands
	MaxPerHour     int      // actions in an hour, over all certificates; 0 is no limit
	MaxUnproven    int      // certificates whose actions may be unproven at a time, see [guard.MostUnproven]; 0 is no limit
	MaxConcurrent  int      // actions at a time
	CommandTimeout time.Duration
	VerifyTimeout  time.Duration // how long an action has to become visible
	Grace          time.Duration // how long a deployment by others has to become visible before anything is done
}

// Want is an action that a firing rule asks for.
type Want struct {
	Kind certmedic.ActionKind
	Rule string
	Why  string

	Version certmedic.Fingerprint // the stored version that the rule speaks of; empty: none is known yet
}

// Remediator carries out actions. One worker per certificate that wants something, at most
// MaxConcurrent actions at a time, and never two that share a service.
type Remediator struct {
	o     Options
	slots chan struct{}
	locks keyedLocks

	resuming sync.Mutex
	resumed  bool // what was in flight when certmedic last ended is at its end, or holds its locks on the way there

	admission sync.Mutex // held between the last count of what was done and the journal's next entry

	mu    sync.Mutex
	ctx   context.Context // of Run; nil before
	wants map[string][]Want

	repaying map[string]bool          // certificates whose loan is being ended
	found    map[string]found         // what was found out about the older versions of certificates
	workers  map[string]chan struct{} // to wake a certificate's worker
	wg       sync.WaitGroup
}

// New returns a remediator. It does nothing before [Remediator.Run].
func New(o Options) *Remediator {
	return &Remediator{
		o: o, slots: make(chan struct{}, max(1, o.MaxConcurrent)),
		wants: map[string][]Want{}, repaying: map[string]bool{}, found: map[string]found{}, workers: map[string]chan struct{}{},
	}
}

// Run verifies what was in flight when certmedic last ended, then carries out what is
// wanted until ctx ends. It returns after every worker has. Commands that still run then
// live on; the journal knows them.
func (r *Remediator) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	for certificate := range r.wants {
		r.wakeLocked(certificate)
	}
	r.mu.Unlock()
	if err := r.resumeOnce(ctx); err != nil && ctx.Err() == nil {
		r.o.Log.Error("verifying what was in flight; nothing is done before that", "err", err)
	}
	<-ctx.Done()
	r.mu.Lock()
	clear(r.wants) // whoever began before this is waited for; ctx lets nobody begin after it
	r.mu.Unlock()
	r.wg.Wait()
	return nil
}

// begin binds an action that a person asked for to the life of Run, so that it ends as the
// others do and not with the person's connection. Without Run it lives as long as ctx.
func (r *Remediator) begin(ctx context.Context) (life context.Context, end func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx == nil {
		ctx, cancel := context.WithCancel(ctx)
		return ctx, func() { cancel(); r.leave() }, nil // what was in flight beside it goes on at the next start
	}
	if err := r.ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("beginning an action while certmedic ends: %w", err)
	}
	r.wg.Add(1)
	return r.ctx, r.wg.Done, nil
}

// leave waits for what was taken up again beside an action by hand, unless Run has begun
// meanwhile and waits for it.
func (r *Remediator) leave() {
	r.mu.Lock()
	runs := r.ctx != nil
	r.mu.Unlock()
	if runs {
		return
	}
	r.wg.Wait()
	r.resuming.Lock()
	defer r.resuming.Unlock()
	r.resumed = false // what did not end before its context did is taken up by whoever comes next
}

// Want says everything that the rules want for a certificate now; empty withdraws it. It
// may be called as often as the rules are judged: only a change wakes the worker. What this
// version cannot do is passed over, so that it does not stand in the way of what it can.
func (r *Remediator) Want(certificate string, wants []Want) {
	wants = slices.DeleteFunc(slices.Clone(wants), func(w Want) bool { return !guard.Supported(w.Kind) })
	r.withdraw(certificate, func(kind certmedic.ActionKind) bool {
		return !slices.ContainsFunc(wants, func(w Want) bool { return w.Kind == kind })
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	same := slices.EqualFunc(r.wants[certificate], wants, func(a, b Want) bool { return a.Kind == b.Kind && a.Rule == b.Rule && a.Version == b.Version })
	if same {
		return
	}
	r.wants[certificate] = wants
	r.wakeLocked(certificate)
}

// Nudge makes a worker that waits look again, because the certificate's files, its hooks or
// the configuration changed.
func (r *Remediator) Nudge(certificate string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakeLocked(certificate)
}

// wakeLocked starts the certificate's worker, or makes a waiting one look again.
func (r *Remediator) wakeLocked(certificate string) {
	if wake, ok := r.workers[certificate]; ok {
		select {
		case wake <- struct{}{}:
		default:
		}
		return
	}
	if r.ctx == nil || r.ctx.Err() != nil || len(r.wants[certificate]) == 0 {
		return
	}
	wake := make(chan struct{}, 1)
	r.workers[certificate] = wake
	r.wg.Go(func() { r.work(r.ctx, certificate, wake) })
}

// wanted returns what is wanted, the cheapest first, each action once. When nothing is, the
// worker is struck off in the same breath, so that a new want starts a new one.
func (r *Remediator) wanted(certificate string) []Want {
	r.mu.Lock()
	defer r.mu.Unlock()
	var sorted []Want
	for _, kind := range certmedic.ActionKinds() {
		if i := slices.IndexFunc(r.wants[certificate], func(w Want) bool { return w.Kind == kind }); i >= 0 {
			sorted = append(sorted, r.wants[certificate][i])
		}
	}
	if len(sorted) == 0 {
		delete(r.workers, certificate)
		delete(r.wants, certificate)
	}
	return sorted
}

// settle is how often a worker that was refused looks again while nothing wakes it, idle
// the same where only a change can help, and doze the least time between two looks.
const (
	settle = 10 * time.Second
	idle   = 5 * time.Minute
	doze   = 200 * time.Millisecond
)

// work is a certificate's worker: it tries what is wanted, waits as long as the guard says,
// and tries again, until nothing is wanted.
func (r *Remediator) work(ctx context.Context, certificate string, wake <-chan struct{}) {
	told := told{}
	for ctx.Err() == nil {
		wants := r.wanted(certificate)
		if len(wants) == 0 {
			return
		}
		pause(ctx, wake, max(doze, r.try(ctx, certificate, wants, told)))
	}
}

// try tries what is wanted, the cheapest first. What is dearer has its turn where waiting for
// what is cheaper gains nothing. It returns how long to wait.
func (r *Remediator) try(ctx context.Context, certificate string, wants []Want, told told) time.Duration {
	wait := idle
	for _, want := range wants {
		a, decision, err := r.attempt(ctx, Request{
			Certificate: certificate, Kind: want.Kind, By: want.Rule, Why: want.Why, Version: want.Version,
		}, told)
		if err != nil && ctx.Err() == nil {
			r.o.Log.Error("action", "certificate", certificate, "action", want.Kind, "err", err)
		}
		wait = min(wait, lull(a, decision))
		if !decision.Reason.Passes() {
			break
		}
	}
	return wait
}

// lull returns how long to wait after an attempt.
func lull(a certmedic.Action, d guard.Decision) time.Duration {
	switch {
	case !d.Retry.IsZero():
		return min(time.Until(d.Retry), idle) // clocks are set, and machines sleep
	case !d.Allowed() && !d.Reason.Waits():
		return idle
	case a.Outcome.Kind != "" && a.Outcome.Kind != certmedic.OutcomeRefused:
		return doze
	}
	return settle
}

// pause waits, but never less than doze even when it is woken, so that no loop is tight.
func pause(ctx context.Context, wake <-chan struct{}, wait time.Duration) {
	least, most := time.NewTimer(doze), time.NewTimer(wait)
	defer least.Stop()
	defer most.Stop()
	select {
	case <-ctx.Done():
		return
	case <-wake:
	case <-most.C:
	}
	select {
	case <-ctx.Done():
	case <-least.C:
	}
}

// running reports whether Run has begun: else a person acts without the daemon.
func (r *Remediator) running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ctx != nil
}
