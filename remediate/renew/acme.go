package renew

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/execx"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/remediate/acme"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

// ACME is a renewal by certmedic itself.
type ACME struct {
	Self  string       // path of certmedic's own program
	First CA           // the usual one
	Next  *CA          // whose turn it is when the first fails; nil: there is none
	After int          // failures in a row that make it the turn of the other one
	Names []string     // empty: those of the stored version
	Store native.Store // where a version goes
	Roots []string     // sets of roots that have to trust it, see [native.Judge]

	Shared   bool // other members have to know of an order before it is finalized, see [acme.Permit]
	ReuseKey bool
	Denied   []certmedic.Fingerprint // SPKI hashes of keys that must not be used

	PreHook, PostHook []string

	Last      native.Issuance // of the version that certmedic had issued last
	ByAccount string          // the account, see [native.Account], by which certbot ordered what else its lineage holds at the first CA; empty: unknown
	Window    Window
}

// CA is one at which certmedic orders.
type CA struct {
	Order   acme.Request // all but its names, and what depends on the stored version
	Staging string       // URL of the directory for rehearsals; empty: there is none
}

// Window is when a CA wants a version to be replaced (RFC 9773); the zero value is none.
type Window struct {
	Version    certmedic.Fingerprint
	Start, End time.Time
}

// Case is what a renewal depends on besides its configuration.
type Case struct {
	Stored  certmedic.Stored // the present version, if there is one
	Failed  int              // renewals in a row that left nothing new
	Prove   bool             // the last of them failed for something that a rehearsal shows
	Now     time.Time
	Environ []string // for commands
}

// The names under which the commands of renewals at a CA are journaled.
const (
	nameProof    = "acme rehearsal"
	nameACME     = "acme renew"
	nameFinish   = "acme finish"
	namePreHook  = "pre hook"
	namePostHook = "post hook"
)

// Order is what a renewal asks its CA for.
type Order struct {
	Directory string
	Account   string
	Names     []string
	ARI       bool // it replaces the stored version within the window that the CA suggested, by the account that ordered that
}

// ca returns the CA whose turn it is: after so many failures the other one's, in turns.
func (a ACME) ca(failed int) CA {
	if a.Next != nil && a.After > 0 && failed/a.After%2 == 1 {
		return *a.Next
	}
	return a.First
}

// names returns what is asked for, in the order of the stored version where nothing else is said.
func (a ACME) names(stored certmedic.Stored) []string {
	if len(a.Names) > 0 {
		return a.Names
	}
	return stored.Names
}

// ours reports whether the account of an order is the one by which the stored version was
// ordered.
func (a ACME) ours(ca CA, stored certmedic.Stored) bool {
	leaf, ok := stored.Leaf()
	account := native.Account(ca.Order)
	if ok && a.Last.Version == leaf.SHA256 {
		return a.Last.Directory == ca.Order.Directory && a.Last.Account == account
	}
	return ok && a.ByAccount == account && ca.Order.Directory == a.First.Order.Directory
}

// replaces reports whether an order can name the stored version as the one that it replaces:
// the CA tells windows, knows the version as this account's, and that has not ended.
func (a ACME) replaces(ca CA, c Case) bool {
	leaf, _ := c.Stored.Leaf()
	return a.Window.Version != "" && a.Window.Version == leaf.SHA256 && a.ours(ca, c.Stored) && c.Now.Before(leaf.NotAfter) && c.Stored.Files.Cert != ""
}

// Order returns what the renewal of a case asks for.
func (a ACME) Order(c Case) Order {
	ca := a.ca(c.Failed)
	return Order{
		Directory: ca.Order.Directory, Account: native.Account(ca.Order), Names: a.names(c.Stored),
		ARI: a.replaces(ca, c) && !c.Now.Before(a.Window.Start) && c.Now.Before(a.Window.End),
	}
}

// request returns the whole order at the CA whose turn it is.
func (a ACME) request(c Case) native.Request {
	ca := a.ca(c.Failed)
	order := ca.Order
	order.Names, order.Denied, order.Shared = a.names(c.Stored), a.Denied, a.Shared
	if leaf, ok := c.Stored.Leaf(); ok && a.ReuseKey && !slices.Contains(a.Denied, leaf.SPKISHA256) {
		order.ReuseKey = c.Stored.Files.Privkey
	}
	if a.replaces(ca, c) {
		order.Replaces = c.Stored.Files.Cert
	}
	return native.Request{Order: order, Store: a.Store, Roots: a.Roots}
}

// Rehearsal returns the same order at the directory for rehearsals, which stores nothing; ok is
// false where the CA has none. Profiles and chains are not asked for, because a staging CA need
// not have them, nor is an account there that was imported from elsewhere.
func (a ACME) Rehearsal(c Case) (r native.Request, ok bool) {
	ca := a.ca(c.Failed)
	if ca.Staging == "" {
		return native.Request{}, false
	}
	r = a.request(c)
	r.Proof = true
	r.Order.Directory, r.Order.Work = ca.Staging, ca.Order.Work+"-staging"
	r.Order.Replaces, r.Order.Profile, r.Order.PreferredChain, r.Order.Account.Import = "", "", "", ""
	r.Order.Shared = false
	return r, true
}

// PlanRehearsal plans a whole issuance at the directory for rehearsals, with the hooks around
// it where they are to run. The error says that there is no such directory (it wraps
// [ErrNoRehearsal]), or that others may write a hook.
func PlanRehearsal(a ACME, c Case, runHooks bool) (deploy.Plan, error) {
	r, ok := a.Rehearsal(c)
	if !ok {
		return deploy.Plan{}, fmt.Errorf("%w: no directory for rehearsals is known of %s", ErrNoRehearsal, a.ca(c.Failed).Order.Directory)
	}
	if !runHooks {
		a.PreHook, a.PostHook = nil, nil
	}
	step, err := a.step(nameProof, r, c.Environ)
	if err != nil {
		return deploy.Plan{}, err
	}
	return a.plan([]deploy.Command{step}, r.Order, c)
}

// urgent is the share of its life below which a stored version is renewed without a proof: a third
// of what is usually left at a renewal.
const urgent = 1.0 / 9

// proves reports whether a renewal is to prove itself first. It never waits for that while the end
// is near.
func (c Case) proves() bool {
	leaf, ok := c.Stored.Leaf()
	return c.Prove && !(ok && leaf.RemainingRatio(c.Now) < urgent)
}

// PlanACME plans a renewal at a CA. After some failures it first proves itself at the directory for
// rehearsals, where there is one.
func PlanACME(a ACME, c Case) (deploy.Plan, error) {
	r := a.request(c)
	if len(r.Order.Names) == 0 {
		return deploy.Plan{}, fmt.Errorf("%w: no domains are configured, and no version is stored that has names", ErrNoWay)
	}
	var steps []deploy.Command
	if proof, ok := a.Rehearsal(c); ok && c.proves() {
		step, err := a.step(nameProof, proof, c.Environ)
		if err != nil {
			return deploy.Plan{}, err
		}
		steps = append(steps, step)
	}
	step, err := a.step(nameACME, r, c.Environ)
	if err != nil {
		return deploy.Plan{}, err
	}
	return a.plan(append(steps, step), r.Order, c)
}

// Finish returns the command that finishes the storing of a version that was cut short.
func (a ACME) Finish(c Case) (deploy.Command, error) {
	r := a.request(c)
	r.Finish = true
	return a.step(nameFinish, r, c.Environ)
}

// step is a command of certmedic's own.
func (a ACME) step(name string, r native.Request, environ []string) (deploy.Command, error) {
	request, err := json.Marshal(r)
	if err != nil {
		return deploy.Command{}, fmt.Errorf("writing the request: %w", err)
	}
	phase := deploy.PhaseRenew
	if r.Proof {
		phase = deploy.PhaseProof
	}
	return deploy.Command{Name: name, Phase: phase, Argv: []string{a.Self, "step", "acme"}, Env: environ, Request: request}, nil
}

// plan puts the hooks around the steps, and says what is asked for.
func (a ACME) plan(steps []deploy.Command, order acme.Request, c Case) (deploy.Plan, error) {
	p := deploy.Plan{Files: []deploy.File{}, Notes: a.notes(order, c), Locks: a.locks(order), Basis: a.basis(order)}
	for _, hook := range []deploy.Command{
		{Name: namePreHook, Phase: deploy.PhasePre, Argv: a.PreHook},
		{Name: namePostHook, Phase: deploy.PhasePost, Argv: a.PostHook},
	} {
		if hook.Phase == deploy.PhasePost {
			p.Commands = append(p.Commands, steps...)
		}
		if len(hook.Argv) == 0 {
			continue
		}
		hook.Env = c.Environ
		if path, err := execx.LookPath(execx.Command{Argv: hook.Argv, Env: hook.Env, Dir: "/"}); err == nil { // else it is not started
			if err := ownership.Check(path); err != nil {
				return deploy.Plan{}, fmt.Errorf("checking %q: %w", path, err)
			}
		}
		p.Commands = append(p.Commands, hook)
	}
	return p, nil
}

// notes tell people what is asked for, of whom, and where it goes.
func (a ACME) notes(order acme.Request, c Case) []string {
	key := "a new key, " + order.KeyType
	if order.ReuseKey != "" {
		key = "the key " + order.ReuseKey
	}
	account := native.Account(order)
	if order.Account.Import != "" {
		account = order.Account.Import
	}
	notes := []string{
		"asks " + order.Directory + " for " + strings.Join(order.Names, ", "),
		fmt.Sprintf("account: %s; %s; %s", account, how(order.Challenge), key),
		"stores it in " + a.target(),
	}
	if order.Replaces != "" {
		notes = append(notes, "replaces the stored version, as the CA suggests (ARI)")
	}
	if c.Failed > 0 {
		notes = append(notes, fmt.Sprintf("%d renewals in a row left nothing new", c.Failed))
	}
	return notes
}

func (a ACME) target() string {
	switch {
	case a.Store.Lineage != nil:
		return a.Store.Lineage.Live + ", as certbot does"
	case a.Store.Files != nil:
		return a.Store.Files.Cert + " and " + a.Store.Files.Key
	}
	return a.Store.Folder
}

// how says how names are validated.
func how(c acme.Challenge) string {
	switch {
	case c.HTTP01 != nil && c.HTTP01.Webroot != "":
		return "http-01 by files in " + c.HTTP01.Webroot
	case c.HTTP01 != nil:
		return "http-01, answered at " + listen(c)
	case c.TLSALPN01 != nil:
		return "tls-alpn-01, answered at " + listen(c)
	case c.DNS01 != nil:
		return "dns-01 by " + c.DNS01.Provider
	}
	return "no challenge"
}

// listen returns where challenges are answered; empty where certmedic itself does not listen.
func listen(c acme.Challenge) string {
	switch {
	case c.HTTP01 != nil && c.HTTP01.Webroot == "":
		if c.HTTP01.Listen == "" {
			return ":80"
		}
		return c.HTTP01.Listen
	case c.TLSALPN01 != nil:
		if c.TLSALPN01.Listen == "" {
			return ":443"
		}
		return c.TLSALPN01.Listen
	}
	return ""
}

// locks keep two renewals from listening at the same place, and one from holding certbot's locks
// when a command of another action needs them.
func (a ACME) locks(order acme.Request) []string {
	var locks []string
	if a.Store.Lineage != nil {
		locks = append(locks, deploy.LockHooks)
	}
	if at := listen(order.Challenge); at != "" {
		locks = append(locks, "listen\x00"+at[strings.LastIndexByte(at, ':'):])
	}
	return locks
}

// basis hashes what would be asked for: other names, another CA or another challenge are another
// cure.
func (a ACME) basis(order acme.Request) string {
	order.Denied, order.Replaces, order.Shared = nil, "", false
	text, _ := json.Marshal(native.Request{Order: order, Store: a.Store}) // plain data always marshals
	return basis(deploy.Command{Argv: slices.Concat([]string{string(text)}, a.PreHook, a.PostHook)})
}
