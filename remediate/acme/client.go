package acme

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/go-acme/lego/v4/acme"
	"github.com/go-acme/lego/v4/acme/api"
)

const (
	firstPause = 200 * time.Millisecond // between two looks at what the CA is working on
	maxPause   = 30 * time.Second       // also where its Retry-After asks for more
	maxPolls   = 600
	maxBlips   = 3 // unanswered looks in a row
	goneAfter  = 5 // looks in a row at an order that is said not to be there; a replica lags behind, or somebody in between refuses

	maxListed = 100 // orders of an account that are looked at
	maxPages  = 40
)

// client speaks with one CA for one account. It is all that knows lego's client.
type client struct {
	ctx  context.Context
	core *api.Core
	wire *wire
}

// dial reads the CA's directory. Without an account's URI the key speaks for itself.
func dial(ctx context.Context, r Request, key crypto.Signer, uri string, step func(string)) (*client, error) {
	w, err := newWire(ctx, r.CAFile, step)
	if err != nil {
		return nil, err
	}
	c := &client{ctx: ctx, wire: w}
	c.core, err = api.New(&http.Client{Transport: w}, cmp.Or(r.UserAgent, "certmedic"), r.Directory, uri, key)
	if err != nil {
		return nil, c.failed("reading the directory of the CA", err)
	}
	return c, nil
}

func (c *client) close() { c.wire.base.CloseIdleConnections() }

// failed says what an error of lego means.
func (c *client) failed(doing string, err error) error {
	if c.ctx.Err() != nil {
		return fmt.Errorf("%s: %w", doing, context.Cause(c.ctx))
	}
	e := problem(err)
	switch {
	case e != nil:
	case c.wire.status == 0 || c.wire.status >= http.StatusInternalServerError || c.wire.status == http.StatusTooManyRequests:
		e = &Error{Kind: KindUnreachable, Detail: err.Error(), err: err}
	default:
		e = &Error{Kind: KindRefused, Detail: err.Error(), err: err}
	}
	e.Doing = doing
	if wait := retryAfter(c.wire.header); wait > 0 && e.Until.IsZero() && (e.Kind == KindRateLimited || e.Kind == KindUnreachable) {
		e.Until = time.Now().Add(wait).Truncate(time.Second)
	}
	return e
}

func (c *client) meta() acme.Meta { return c.core.GetDirectory().Meta }

// register makes an account of the key, or finds the one that it has, and returns its URI.
func (c *client) register(email string, eab binding) (string, error) {
	request := acme.Account{TermsOfServiceAgreed: true}
	if email != "" {
		request.Contact = []string{"mailto:" + email}
	}
	var made acme.ExtendedAccount
	var err error
	if eab.id != "" {
		made, err = c.core.Accounts.NewEAB(request, eab.id, eab.hmac)
	} else {
		made, err = c.core.Accounts.New(request)
	}
	if err != nil {
		return "", c.failed("registering an account", err)
	}
	if made.Location == "" {
		return "", &Error{Kind: KindRefused, Doing: "registering an account", Detail: "the CA does not tell the account's URL"}
	}
	return made.Location, nil
}

// account asks whether an account is good, and returns the URL of its orders' list, which may
// be empty.
func (c *client) account(uri string) (orders string, err error) {
	const doing = "asking for the account"
	a, err := c.core.Accounts.Get(uri)
	if err != nil {
		return "", c.failed(doing, err)
	}
	if a.Status != acme.StatusValid {
		return "", &Error{Kind: KindAccount, Doing: doing, Detail: fmt.Sprintf("the CA says that %q is %s", uri, a.Status)}
	}
	return a.Orders, nil
}

// place places an order. The one that comes back has its URL in Location, and Replaces where the
// CA took it as a replacement (RFC 9773, section 5).
func (c *client) place(names []string, profile, replaces string) (acme.ExtendedOrder, error) {
	options := &api.OrderOptions{Profile: profile, ReplacesCertID: replaces}
	order, err := c.core.Orders.NewWithOptions(names, options)
	if replaces != "" && c.aboutReplaces(err) {
		options.ReplacesCertID = ""
		order, err = c.core.Orders.NewWithOptions(names, options)
	}
	if err != nil {
		return order, c.failed("placing the order", err)
	}
	if order.Location == "" {
		return order, &Error{Kind: KindRefused, Doing: "placing the order", Detail: "the CA does not tell the order's URL"}
	}
	return order, nil
}

// aboutReplaces reports whether an order may have been refused because of what it replaces: the
// CA knows no such certificate, of this account. lego itself places an order whose certificate
// was replaced already once more. If the reason is another one, the CA will tell it again.
func (c *client) aboutReplaces(err error) bool {
	e := problem(err)
	return e != nil && c.wire.status >= http.StatusBadRequest && c.wire.status < http.StatusInternalServerError &&
		c.wire.status != http.StatusTooManyRequests && e.Kind != KindRateLimited && e.Kind != KindPaused
}

// await asks for an order until it has left some states. Gone says that there is none with that
// URL, of this account, and that the CA said so several times.
func (c *client) await(url string, states ...string) (order acme.ExtendedOrder, gone bool, err error) {
	missing := 0
	err = c.poll(func() (bool, error) {
		now, absent, err := c.order(url)
		if err != nil {
			return false, err
		}
		if absent {
			missing++
			gone = missing == goneAfter
			return gone, nil
		}
		order, missing = now, 0
		return !slices.Contains(states, order.Status), nil
	})
	return order, gone, err
}

// order asks for an order. Gone says that there is none with that URL, of this account.
func (c *client) order(url string) (order acme.ExtendedOrder, gone bool, err error) {
	order, err = c.core.Orders.Get(url)
	order.Location = url
	if err == nil {
		return order, false, nil
	}
	switch c.wire.status {
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden, http.StatusUnauthorized:
		return order, true, nil
	}
	return order, false, c.failed("asking for the order", err)
}

var nextPage = regexp.MustCompile(`<([^>]+)>\s*;\s*rel="?next"?`)

// unfinished looks through the account's orders for one that was never finalized.
func (c *client) unfinished(list string, names []string, profile string) (found acme.ExtendedOrder, ok bool, err error) {
	seen := 0
	for page := 0; list != "" && page < maxPages; page++ {
		// lego has no function for lists, and this one reads any answer.
		if _, err := c.core.Authorizations.Get(list); err != nil {
			return found, false, c.failed("asking for the account's orders", err)
		}
		var orders struct {
			Orders []string `json:"orders"`
		}
		if err := json.Unmarshal(c.wire.body, &orders); err != nil {
			return found, false, c.failed("asking for the account's orders", err)
		}
		next := linked(c.wire.header)
		for _, url := range orders.Orders {
			if seen++; seen > maxListed {
				return found, false, nil
			}
			order, gone, err := c.order(url)
			if err != nil {
				return found, false, err
			}
			if !gone && sameOrder(order, names, profile) {
				return order, true, nil
			}
		}
		list = next
	}
	return found, false, nil
}

func linked(header http.Header) string {
	for _, link := range header.Values("Link") {
		if match := nextPage.FindStringSubmatch(link); match != nil {
			return match[1]
		}
	}
	return ""
}

func sameOrder(order acme.ExtendedOrder, names []string, profile string) bool {
	open := order.Status == acme.StatusPending || order.Status == acme.StatusReady
	if !open || profile != "" && order.Profile != profile || len(order.Identifiers) != len(names) {
		return false
	}
	return !slices.ContainsFunc(order.Identifiers, func(i acme.Identifier) bool { return !slices.Contains(names, i.Value) })
}

// finalize asks for the certificate of an order that is ready.
func (c *client) finalize(url string, csr []byte) error {
	if _, err := c.core.Orders.UpdateForCSR(url, csr); err != nil {
		return c.failed("finalizing the order", err)
	}
	return nil
}

// chains downloads the CA's chains, PEM, the default one first.
func (c *client) chains(url string) ([][]byte, error) {
	all, err := c.core.Certificates.GetAll(url, true)
	if err != nil {
		return nil, c.failed("downloading the certificate", err)
	}
	chains := [][]byte{all[url].Cert}
	delete(all, url)
	for _, alternate := range slices.Sorted(maps.Keys(all)) {
		chains = append(chains, all[alternate].Cert)
	}
	return chains, nil
}

// poll looks again and again until it is done. It waits as long as the CA asks for, within
// reason, and puts up with a few looks that get no answer.
func (c *client) poll(look func() (done bool, err error)) error {
	pause, blips := firstPause, 0
	for range maxPolls {
		done, err := look()
		var e *Error
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			blips = 0
		case errors.As(err, &e) && e.Kind == KindUnreachable && blips < maxBlips:
			blips++
		default:
			return err
		}
		wait := pause
		if asked := retryAfter(c.wire.header); asked > 0 {
			wait = min(asked, maxPause)
		}
		if err := sleep(c.ctx, wait); err != nil {
			return err
		}
		pause = min(pause*3/2, maxPause)
	}
	return &Error{Kind: KindUnreachable, Doing: "waiting for the CA", Detail: fmt.Sprintf("it was not done after %d looks", maxPolls)}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the CA: %w", context.Cause(ctx))
	}
}
