package scenario

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/rollback"
	"github.com/certmedic/certmedic/rules"
)

// change has happen what a step says. Its order is that of the world: what is issued, what
// is stored, what is served, and then what certmedic is told of it.
func (w *world) change(f changeForm) error {
	problems := w.addVersions(f.Versions)
	w.skew += time.Duration(f.Clock)
	return errors.Join(append(problems,
		w.changeStored(f), w.changeSources(f), w.changeServed(f), w.changeProbes(f), w.deny(f.Deny), w.changeFacts(f), w.told(f), w.leave(f.Gone))...)
}

// each calls do for the certificate of every row, and gathers what is wrong.
func each[V any](w *world, rows table[V], do func(c *cert, r row[V]) error) error {
	var problems []error
	for _, r := range rows {
		c := w.cert(r.key)
		if c == nil {
			problems = append(problems, r.at.problem("there is no certificate %q", r.key))
			continue
		}
		problems = append(problems, do(c, r))
	}
	return errors.Join(problems...)
}

// where calls do for what every row selects, and gathers what is wrong.
func where[V any](w *world, rows table[V], do func(a at, r row[V]) error) error {
	var problems []error
	for _, r := range rows {
		chosen, err := w.choose(r.key)
		if err != nil {
			problems = append(problems, r.at.problem("%v", err))
			continue
		}
		for _, a := range chosen {
			if err := do(a, r); err != nil {
				problems = append(problems, err)
				break
			}
		}
	}
	return errors.Join(problems...)
}

func (w *world) changeStored(f changeForm) error {
	return each(w, f.Stores, func(c *cert, r row[string]) error {
		v, err := w.issued(r.at, r.value)
		if err != nil {
			return err
		}
		if c.config.Source.Kind == certmedic.SourceNone {
			return r.at.problem("%q is kept nowhere: nothing can be stored", r.key)
		}
		c.store(v)
		c.told, c.unread = true, true
		return nil
	})
}

// keep has the source of a version that is served hold it: it was issued and stored before.
// It does not once the story says itself what is stored.
func (w *world) keep(name string, v *version) {
	c := w.named(name)
	number, _ := strconv.Atoi(strings.TrimPrefix(name, c.config.Name))
	if c.told || c.config.Source.Kind == certmedic.SourceNone || number <= c.kept {
		return
	}
	c.store(v)
	c.kept, c.unread = number, true
}

// changeSources has happen what is wrong with sources, or at work there.
func (w *world) changeSources(f changeForm) error {
	states := []certmedic.LockState{certmedic.LockFree, certmedic.LockHeld, certmedic.LockUnknown}
	return errors.Join(
		each(w, f.Lock, func(c *cert, r row[string]) error {
			c.lock, c.unread = certmedic.LockState(r.value), true
			if !slices.Contains(states, c.lock) {
				return r.at.problem("a lock is free, held or unknown, not %q", r.value)
			}
			return nil
		}),
		each(w, f.StoredFindings, func(c *cert, r row[words]) error {
			c.findings, c.unread = r.value, true
			return checkCodes(r.at, r.value)
		}),
		each(w, f.Files, func(c *cert, r row[fileModes]) error {
			c.files, c.unread = r.value, true
			return checkFiles(r.at, r.value)
		}),
	)
}

func (w *world) changeServed(f changeForm) error {
	return errors.Join(
		where(w, f.Serves, func(a at, r row[words]) error {
			versions, err := w.served(r.at, r.value, len(a.endpoint.addresses))
			if err != nil {
				return err
			}
			if a.address < 0 {
				a.endpoint.serves = versions
				return nil
			}
			own := a.endpoint.serves
			all := make([]*version, len(a.endpoint.addresses))
			for i := range all {
				all[i] = own[min(i, len(own)-1)]
			}
			all[a.address] = versions[0]
			a.endpoint.serves = all
			return nil
		}),
		where(w, f.Findings, func(a at, r row[words]) error {
			a.endpoint.findings = r.value
			return checkCodes(r.at, r.value)
		}),
		where(w, f.TLS, func(a at, r row[string]) error {
			a.endpoint.tls = r.value
			return checkTLS(r.at, r.value)
		}),
	)
}

func (w *world) changeProbes(f changeForm) error {
	return where(w, f.Probe, func(a at, r row[probeForm]) error {
		e, why := a.endpoint, r.value.Error
		if _, ok := stages[certmedic.FindingCode(why)]; !ok && r.value.word == "" {
			return r.at.problem("a probe fails with timeout, unreachable, dns_failed, gone, starttls_failed or handshake_failed, not %q", why)
		}
		if r.value.word == "none" {
			e.gap = e.of.looked(w.now)
			return nil
		}
		e.gap = time.Time{}
		for i := range e.failing {
			if a.address < 0 || i == a.address {
				e.failing[i] = why
			}
		}
		return nil
	})
}

// deny puts the keys of versions on the deny list, where they stay.
func (w *world) deny(versions placedWords) error {
	for _, name := range versions {
		v, err := w.issued(name.at, name.value)
		if err != nil {
			return err
		}
		if v == nil {
			return name.at.problem("%q has no key", name.value)
		}
		if w.denied == nil {
			w.denied = map[certmedic.Fingerprint]bool{}
		}
		w.denied[v.facts.SPKISHA256] = true
	}
	return nil
}

func (w *world) changeFacts(f changeForm) error {
	var problems []error
	for _, r := range f.Facts {
		problems = append(problems, w.state(r))
	}
	return errors.Join(problems...)
}

// state takes the facts that the story states about a certificate, endpoints or the fleet.
func (w *world) state(r row[table[raw]]) error {
	into, kind := []*overrides{}, reflect.TypeFor[rules.CertificateFacts]()
	switch c := w.cert(r.key); {
	case c != nil:
		into = append(into, &c.facts)
	case r.key == "fleet":
		into, kind = append(into, &w.fleet), reflect.TypeFor[rules.FleetFacts]()
	default:
		chosen, err := w.choose(r.key)
		if err != nil {
			return r.at.problem("%q is neither a certificate nor an endpoint nor fleet", r.key)
		}
		kind = reflect.TypeFor[rules.EndpointFacts]()
		for _, a := range chosen {
			into = append(into, &a.endpoint.facts)
		}
	}
	for _, fact := range r.value {
		to, err := overriding(kind, fact)
		if err != nil {
			return err
		}
		for _, o := range into {
			*o = o.with(fact.key, to)
		}
	}
	return nil
}

// told has certmedic told what it did itself, and what the CA says.
func (w *world) told(f changeForm) error {
	return errors.Join(
		each(w, f.Hook, func(c *cert, r row[int]) error {
			kind := certmedic.OutcomeUnverified
			if r.value != 0 {
				kind = certmedic.OutcomeFailed
			}
			c.tell(func(p *picture, now time.Time) {
				p.acted(now, actionForm{Do: certmedic.ActionRedeploy, Outcome: kind, ExitCode: r.value}, true)
			})
			return nil
		}),
		each(w, f.Action, func(c *cert, r row[actionForm]) error {
			f := r.value
			f.Do = cmp.Or(f.Do, certmedic.ActionRedeploy)
			outcomes := append(certmedic.OutcomeKinds(), certmedic.OutcomeRunning)
			if f.Do.Rehearses() && (f.Outcome == certmedic.OutcomeRehearsed || f.Outcome == certmedic.OutcomeFailed) {
				c.tell(func(p *picture, now time.Time) { p.acted(now, f, true) })
				return nil
			}
			if !slices.Contains(outcomes, f.Outcome) || !slices.Contains(certmedic.ActionKinds(), f.Do) {
				return r.at.problem("an action is {do: reload|redeploy|rollback|renew, outcome: %v}, not %q with %q", outcomes, f.Do, f.Outcome)
			}
			c.tell(func(p *picture, now time.Time) { p.acted(now, f, f.ExitCode != 0) })
			return nil
		}),
		each(w, f.ARI, func(c *cert, r row[windowForm]) error {
			v := c.newest()
			switch {
			case v == nil:
				return r.at.problem("there is no version of %q of which the CA could say anything", r.key)
			case r.null:
				c.tell(func(p *picture, _ time.Time) { p.sim.Window(v.facts.SHA256, nil) })
			default:
				return w.advise(c, v, placed[windowForm]{r.at, r.value})
			}
			return nil
		}),
	)
}

// newest returns the version that is stored, else one that is served.
func (c *cert) newest() *version {
	if c.stored == nil && len(c.serves) > 0 {
		return c.serves[0].serves[0]
	}
	return c.stored
}

// acted takes an action of certmedic's for the stored version, and the hook that it ran.
func (p *picture) acted(now time.Time, f actionForm, ran bool) {
	a := certmedic.Action{
		ID: now.UTC().Format(time.RFC3339), Certificate: p.of.config.Name, Kind: f.Do, StartedAt: now, EndedAt: now,
		Outcome: certmedic.Outcome{Kind: f.Outcome, Reason: f.Reason, Detail: "so the story says"},
	}
	if v := p.of.newest(); v != nil {
		a.Version = v.facts.SHA256
	}
	if ran {
		a.Runs = []certmedic.Run{{Name: "hook", Result: certmedic.RunExited, ExitCode: f.ExitCode}}
	}
	p.sim.Acted(a)
	if f.Do == certmedic.ActionRollback && f.Outcome == certmedic.OutcomeHealed {
		p.back = true
		p.lend(now)
	}
}

// lend has the version that the story has served by now stand as a loan.
func (p *picture) lend(now time.Time) {
	v := p.of.newest()
	if v == nil {
		return
	}
	p.loans++
	p.sim.Lend(now, &rollback.Loan{
		Certificate: p.of.config.Name, Version: v.facts.SHA256, Why: "so the story says", Way: rollback.WayAppend,
		Since: now, Until: rollback.Deadline(v.facts, now), NotBefore: v.facts.NotBefore, Count: p.loans,
	})
}

// leave takes endpoints out of the configuration.
func (w *world) leave(gone placedWords) error {
	changed := map[*cert]bool{}
	for _, selector := range gone {
		chosen, err := w.choose(selector.value)
		if err != nil {
			return selector.at.problem("%v", err)
		}
		for _, a := range chosen {
			a.endpoint.gone, changed[a.endpoint.of] = true, true
		}
	}
	for c := range changed {
		c.config.Endpoints = nil
		for _, e := range c.serves {
			if !e.gone {
				c.config.Endpoints = append(c.config.Endpoints, e.config)
			}
		}
		c.tell(func(p *picture, _ time.Time) { p.sim.Reload(c.config) })
	}
	return nil
}
