package acme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/challenge"

	"github.com/certmedic/certmedic/remediate/acme/answer"
)

// answerer shows the answers to challenges to the CA, and takes them away again.
type answerer interface {
	Present(name, token, keyAuth string) error
	CleanUp(name, token, keyAuth string) error
	Close() error
}

// open makes ready to answer. It comes before the order, so that what this host cannot answer
// costs nothing at the CA.
func (c Challenge) open() (answerer, error) {
	a, err := c.answerer()
	var taken *answer.TakenError
	switch {
	case errors.As(err, &taken):
		return nil, &Error{Kind: KindPortConflict, Doing: "making ready for " + c.kind(), Detail: err.Error(), err: err}
	case err != nil:
		return nil, &Error{Kind: KindInvalid, Doing: "making ready for " + c.kind(), Detail: err.Error(), err: err}
	}
	return a, nil
}

func (c Challenge) answerer() (answerer, error) {
	switch {
	case c.TLSALPN01 != nil:
		return answer.ListenTLS(cmp.Or(c.TLSALPN01.Listen, ":443"))
	case c.DNS01 != nil:
		d := c.DNS01
		return answer.OpenDNS(answer.DNSOptions{Provider: d.Provider, EnvFile: d.EnvFile, Resolvers: d.Resolvers, Wait: d.Wait})
	case c.HTTP01.Webroot != "":
		return answer.OpenWebroot(c.HTTP01.Webroot)
	}
	return answer.ListenHTTP(cmp.Or(c.HTTP01.Listen, ":80"))
}

// task is a challenge that has to be answered.
type task struct {
	name      string // of the authorization, a wildcard with its star
	host      string // the name without its star
	authz     string // URL
	challenge acme.Challenge
	keyAuth   string
	refusal   error // of the CA to look now; it may be looking already
}

// solve answers the challenges of an order's authorizations.
func (j *job) solve(ctx context.Context, authorizations []string) error {
	var tasks []task
	for _, url := range authorizations {
		t, needed, err := j.task(url)
		if err != nil {
			return err
		}
		if needed {
			tasks = append(tasks, t)
		}
	}
	rounds, err := j.rounds(tasks)
	if err != nil {
		return err
	}
	for i, round := range rounds {
		if dns, ok := j.answers.(*answer.DNS); ok && i > 0 {
			if err := sleep(ctx, dns.Pause()); err != nil {
				return err
			}
		}
		err := j.round(ctx, round)
		j.withdrawAll()
		if err != nil {
			return err
		}
	}
	return nil
}

// task reads an authorization, and chooses its challenge. One that is valid already needs none.
func (j *job) task(url string) (t task, needed bool, err error) {
	authz, err := j.client.core.Authorizations.Get(url)
	if err != nil {
		return t, false, j.client.failed("asking for an authorization", err)
	}
	t = task{name: challenge.GetTargetedDomain(authz), host: authz.Identifier.Value, authz: url}
	if !slices.Contains(j.r.Names, t.name) {
		return t, false, &Error{Kind: KindRefused, Doing: "asking for an authorization", Detail: fmt.Sprintf("it is about %q, which was not asked for", t.name)}
	}
	if authz.Status == acme.StatusValid {
		j.say("%s: already valid", t.name)
		return t, false, nil
	}
	kind := j.r.Challenge.kind()
	if t.challenge, err = challenge.FindChallenge(challenge.Type(kind), authz); err != nil {
		var offered []string
		for _, c := range authz.Challenges {
			offered = append(offered, c.Type)
		}
		return t, false, invalid("the CA offers no %s for %q, but %q", kind, t.name, offered)
	}
	if !isToken(t.challenge.Token) {
		return t, false, &Error{Kind: KindRefused, Doing: "reading the challenge of " + t.name, Detail: "its token is not base64url"}
	}
	t.keyAuth, err = j.client.core.GetKeyAuthorization(t.challenge.Token)
	return t, true, err
}

// isToken reports whether a token is what RFC 8555, section 8, allows: it becomes a file's name.
func isToken(token string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return token != "" && len(token) <= 200 && strings.Trim(token, alphabet) == ""
}

// rounds puts challenges that can be answered beside each other into one round. Some DNS
// providers keep one record for a name only, and a name and its wildcard share theirs.
func (j *job) rounds(tasks []task) ([][]task, error) {
	dns, ok := j.answers.(*answer.DNS)
	if !ok || dns.Beside() {
		return [][]task{tasks}, nil
	}
	var rounds [][]task
	taken := map[string]int{} // how many rounds a record is in
	for _, t := range tasks {
		record := dns.Record(t.host, t.keyAuth)
		n := taken[record]
		if n == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[n] = append(rounds[n], t)
		taken[record]++
	}
	return rounds, nil
}

// round answers challenges beside each other. Before all answers can be seen, the CA is not
// asked to look: a failed validation costs more than an order that waits.
func (j *job) round(ctx context.Context, tasks []task) error {
	for _, t := range tasks {
		if err := j.f.present(presented{t.host, t.challenge.Token}); err != nil {
			return err
		}
		err := within(ctx, func() error { return j.answers.Present(t.host, t.challenge.Token, t.keyAuth) })
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("answering %s of %q: %w", t.challenge.Type, t.name, err)
		}
		if err != nil {
			return &Error{Kind: KindNotShown, Doing: "answering " + t.challenge.Type + " of " + t.name, Detail: err.Error(), err: err}
		}
	}
	for _, t := range tasks {
		if dns, ok := j.answers.(*answer.DNS); ok {
			if err := dns.Await(ctx, t.host, t.keyAuth); err != nil {
				return &Error{Kind: KindNotShown, Doing: "waiting for the record of " + t.name, Detail: err.Error(), err: err}
			}
		}
	}
	for i := range tasks {
		if err := j.accept(&tasks[i]); err != nil {
			return err
		}
	}
	return j.verdicts(tasks)
}

// verdicts waits until the CA has decided about every name. After a failure the order is invalid.
func (j *job) verdicts(tasks []task) error {
	var failures []Failure
	for _, t := range tasks {
		failure, err := j.validated(t)
		switch {
		case err != nil:
			return err
		case failure != nil:
			failures = append(failures, *failure)
		default:
			j.say("%s: %s valid", t.name, t.challenge.Type)
		}
	}
	if len(failures) > 0 {
		return errors.Join(because(failures, len(tasks)), j.f.forget())
	}
	return nil
}

// within carries out what knows no context. When ctx ends it is left to itself, which the end of
// the process ends.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// accept asks the CA to look. It refuses where it is looking already, which the authorization
// tells.
func (j *job) accept(t *task) error {
	_, err := j.client.core.Challenges.New(t.challenge.URL)
	if err == nil {
		return nil
	}
	status := j.client.wire.status
	t.refusal = j.client.failed("asking for the validation of "+t.name, err)
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
		return nil
	}
	return t.refusal
}

// validated waits until the CA has decided about a name.
func (j *job) validated(t task) (failure *Failure, err error) {
	err = j.client.poll(func() (bool, error) {
		authz, err := j.client.core.Authorizations.Get(t.authz)
		if err != nil {
			return false, j.client.failed("asking for the validation of "+t.name, err)
		}
		switch authz.Status {
		case acme.StatusPending, acme.StatusProcessing:
			if t.refusal != nil && waits(authz, t.challenge.URL) {
				return false, t.refusal
			}
			return false, nil
		case acme.StatusValid:
			return true, nil
		}
		why := failureOf(t.name, nil, fmt.Sprintf("the authorization is %q", authz.Status))
		for _, c := range authz.Challenges {
			if c.Error != nil {
				why = failureOf(t.name, c.Error, "")
			}
		}
		failure = &why
		return true, nil
	})
	return failure, err
}

// waits reports whether nobody has asked the CA yet to look at a challenge.
func waits(authz acme.Authorization, url string) bool {
	return slices.ContainsFunc(authz.Challenges, func(c acme.Challenge) bool { return c.URL == url && c.Status == acme.StatusPending })
}

const withdrawTimeout = 30 * time.Second

// withdraw takes an answer away, also when the time for the whole is over. What stays is told, and tried again by the next run.
func (j *job) withdraw(p presented) {
	keyAuth, err := j.client.core.GetKeyAuthorization(p.Token)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), withdrawTimeout)
		err = within(ctx, func() error { return j.answers.CleanUp(p.Name, p.Token, keyAuth) })
		cancel()
	}
	if err == nil {
		err = j.f.withdrawn(p)
	}
	if err != nil {
		j.say("%s: an answer to a challenge could not be taken away: %s", shown(p.Name), shown(err.Error()))
	}
}

// withdrawAll takes all answers away, those of earlier runs too.
func (j *job) withdrawAll() {
	for _, p := range slices.Clone(j.f.Presented) {
		j.withdraw(p)
	}
}
