package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-acme/lego/v4/acme"

	"github.com/certmedic/certmedic"
)

// Issued is a version that the CA issued, validated, below the request's work folder. The files
// are PEM, 0600, and stay until [Close].
type Issued struct {
	Dir       string                `json:"dir"` // the folder of the files
	Cert      string                `json:"cert"`
	Chain     string                `json:"chain"` // an empty file where the leaf's issuer is a root
	Fullchain string                `json:"fullchain"`
	Privkey   string                `json:"privkey"`
	Version   certmedic.Fingerprint `json:"version"`
	NotAfter  time.Time             `json:"not_after"`
	Order     string                `json:"order"`    // its URL at the CA
	Replaced  bool                  `json:"replaced"` // whether the CA took the order as the replacement of the request's certificate
	Resumed   bool                  `json:"resumed"`  // whether an earlier run had begun, or finished, the order
}

// Obtain has the certificate of the request issued. It goes on with what an earlier run for the
// same directory, account, names, kind of key, profile and must-staple left in the work folder;
// an order for anything else there is left alone. Until [Close] it returns the same certificate
// again, while that has half of its life left, its key is not denied, and it is not the one to be
// replaced.
//
// What it does is told line by line on out. The error is an [*Error] unless this host fails, or
// ctx ends. After any error the same request may be made again.
func Obtain(ctx context.Context, r Request, out io.Writer) (Issued, error) {
	return obtain(ctx, r, out, func(string) {})
}

// obtain is [Obtain] with a function that is told every point at which a kill makes a difference.
func obtain(ctx context.Context, r Request, out io.Writer, step func(point string)) (issued Issued, err error) {
	r, err = r.normal()
	if err != nil {
		return Issued{}, err
	}
	late := fmt.Errorf("it took longer than %s: %w", r.Timeout, context.DeadlineExceeded)
	ctx, cancel := context.WithTimeoutCause(ctx, r.Timeout, late)
	defer cancel()
	f, err := openFolder(r, step)
	if err != nil {
		return Issued{}, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	j := &job{r: r, out: out, step: step, f: f}
	if j.predecessor, err = r.replaced(); err != nil {
		return Issued{}, err
	}
	if j.reuse, err = r.reused(); err != nil {
		return Issued{}, err
	}
	if issued, ok, err := j.kept(time.Now()); ok || err != nil {
		return issued, err
	}
	return j.run(ctx)
}

// job carries out one request.
type job struct {
	r    Request
	out  io.Writer
	f    *folder
	step func(point string) // called where a kill makes a difference; tests kill there

	predecessor *x509.Certificate // that is replaced; nil where none is
	reuse       crypto.Signer     // the key to use again; nil where it is a new one
	key         crypto.Signer     // that of the order
	client      *client
	answers     answerer
}

func (j *job) say(format string, args ...any) {
	_, _ = fmt.Fprintf(j.out, format+"\n", args...) // what nobody reads stops nothing
}

// kept returns the certificate that an earlier run left, while it is of use.
func (j *job) kept(now time.Time) (issued Issued, ok bool, err error) {
	if j.f.Phase != phaseIssued || j.f.Issued == nil {
		return Issued{}, false, nil
	}
	issued = *j.f.Issued
	if why := j.useless(issued, now); why != "" {
		j.say("version %s that was issued before is left: %s", issued.Version.Short(), shown(why))
		return Issued{}, false, j.f.forget()
	}
	j.say("version %s was issued before: order %s", issued.Version.Short(), shown(issued.Order))
	issued.Resumed = true
	return issued, true, nil
}

// useless says why a certificate that was issued before is of no use; empty where it is.
func (j *job) useless(issued Issued, now time.Time) string {
	data, err := os.ReadFile(issued.Fullchain)
	if err != nil {
		return err.Error()
	}
	chain, err := parseChain(data)
	if err != nil {
		return err.Error()
	}
	if why := j.unusableKey(); why != "" {
		return why
	}
	if err := check(chain, j.key, j.r.Names, now); err != nil {
		return err.Error()
	}
	leaf := chain[0]
	switch {
	case j.predecessor != nil && j.predecessor.Equal(leaf):
		return "it is the one to be replaced"
	case leaf.NotAfter.Sub(now) < leaf.NotAfter.Sub(leaf.NotBefore)/2:
		return "half of its life is over"
	}
	return ""
}

// run places the order, or takes up the one that was placed, and leads it to its certificate.
func (j *job) run(ctx context.Context) (issued Issued, err error) {
	var orders string
	if j.client, orders, err = j.signIn(ctx); err != nil {
		return Issued{}, err
	}
	defer j.client.close()
	if err := j.checkProfile(); err != nil {
		return Issued{}, err
	}
	order, resumed, err := j.resume(orders)
	if err != nil {
		return Issued{}, err
	}
	settled := resumed && (order.Status == acme.StatusValid || order.Status == acme.StatusProcessing)
	if !settled {
		if j.answers, err = j.r.Challenge.open(); err != nil {
			return Issued{}, err
		}
		defer func() { err = errors.Join(err, j.answers.Close()) }()
		if j.key, err = j.chooseKey(); err != nil {
			return Issued{}, err
		}
	}
	if !resumed {
		if order, err = j.place(); err != nil {
			return Issued{}, err
		}
	}
	if issued, err = j.finish(ctx, order); err == nil {
		issued.Resumed = resumed
	}
	return issued, err
}

func (j *job) checkProfile() error {
	offered := j.client.meta().Profiles
	if _, ok := offered[j.r.Profile]; !ok && j.r.Profile != "" {
		return invalid("the CA has no profile %q; it offers %q", j.r.Profile, slices.Sorted(maps.Keys(offered)))
	}
	return nil
}

// resume returns the order that an earlier run left, if it can still lead to a certificate.
func (j *job) resume(orders string) (order acme.ExtendedOrder, ok bool, err error) {
	if j.f.Phase == phasePlacing {
		if order, ok, err = j.client.unfinished(orders, j.r.Names, j.r.Profile); err != nil || !ok {
			return order, false, err
		}
		j.say("order found again: %s", shown(order.Location))
		return order, true, j.placed(order)
	}
	if j.f.URL == "" {
		return order, false, nil
	}
	order, gone, err := j.client.await(j.f.URL)
	if err != nil {
		return order, false, err
	}
	why := ""
	switch {
	case gone:
		why = "the CA does not know it any more"
	case order.Status == acme.StatusInvalid:
		why = "it is invalid"
	case order.Status == acme.StatusValid || order.Status == acme.StatusProcessing:
		why = j.unusableKey()
	}
	if why != "" {
		j.say("the order %s is left: %s", shown(j.f.URL), why)
		return order, false, j.f.forget()
	}
	j.say("order taken up again: %s", shown(j.f.URL))
	return order, true, nil
}

// unusableKey reads the order's key, and says why a certificate for it would be of no use.
func (j *job) unusableKey() string {
	var err error
	if j.key, err = readKey(j.f.path(keyFile)); err != nil {
		return "its key is lost"
	}
	if j.r.denied(j.key) != nil {
		return "its key is denied"
	}
	if j.reuse != nil && !samePublic(j.reuse, j.key.Public()) {
		return "its key is not the one to use again"
	}
	return ""
}

// chooseKey returns the key to finalize with, and has it on disk: the one that was chosen for
// the order before, if it may still be used, the one to use again, or a new one.
func (j *job) chooseKey() (crypto.Signer, error) {
	if j.unusableKey() == "" {
		return j.key, nil
	}
	key, err := j.reuse, error(nil)
	if key == nil {
		key, err = newKey(j.r.KeyType)
	}
	if err == nil {
		err = j.r.denied(key)
	}
	if err != nil {
		return nil, err
	}
	j.step("before " + keyFile)
	err = writeKey(j.f.path(keyFile), key)
	j.step("after " + keyFile)
	return key, err
}

// place places the order. That it may be there is on disk before, and its URL afterwards.
func (j *job) place() (acme.ExtendedOrder, error) {
	replaces, err := renewalID(j.predecessor)
	if err != nil {
		return acme.ExtendedOrder{}, err
	}
	j.f.Phase = phasePlacing
	if err := j.f.save(); err != nil {
		return acme.ExtendedOrder{}, err
	}
	order, err := j.client.place(j.r.Names, j.r.Profile, replaces)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Type != "" && e.Kind != KindUnreachable { // a refusal: there is no order
			return order, errors.Join(err, j.f.forget())
		}
		return order, err
	}
	if err := j.placed(order); err != nil {
		return order, err
	}
	j.say("order placed: %s", shown(order.Location))
	if replaces != "" && !j.f.Replaced {
		j.say("the CA does not take it as the replacement of the earlier certificate")
	}
	return order, nil
}

func (j *job) placed(order acme.ExtendedOrder) error {
	j.f.Phase, j.f.URL, j.f.PlacedAt = phasePlaced, order.Location, time.Now()
	j.f.Replaced = order.Replaces != ""
	return j.f.save()
}

// finish leads an order from any of its states to the certificate (RFC 8555, section 7.1.6).
func (j *job) finish(ctx context.Context, order acme.ExtendedOrder) (Issued, error) {
	var err error
	if order.Status == acme.StatusPending {
		if err := j.solve(ctx, order.Authorizations); err != nil {
			return Issued{}, err
		}
		if order, err = j.await(order, acme.StatusPending); err != nil {
			return Issued{}, err
		}
	}
	if order.Status == acme.StatusReady {
		j.withdrawAll() // what a killed run left
		if err := j.finalize(ctx, order); err != nil {
			return Issued{}, err
		}
		if order, err = j.await(order, acme.StatusReady, acme.StatusProcessing); err != nil {
			return Issued{}, err
		}
	}
	if order, err = j.await(order, acme.StatusProcessing); err != nil {
		return Issued{}, err
	}
	if order.Status != acme.StatusValid || order.Certificate == "" {
		return Issued{}, &Error{Kind: KindRefused, Doing: "finishing the order", Detail: fmt.Sprintf("it is %q and has the certificate %q", order.Status, order.Certificate)}
	}
	return j.download(order)
}

// await waits until the order has left some states. One that becomes invalid is forgotten, and so
// is one that the CA does not know any more, unless it may have issued the certificate already.
func (j *job) await(order acme.ExtendedOrder, states ...string) (acme.ExtendedOrder, error) {
	const doing = "finishing the order"
	order, gone, err := j.client.await(order.Location, states...)
	if err == nil && gone && j.f.Phase == phaseFinalizing {
		err = &Error{Kind: KindUnreachable, Doing: doing, Detail: "the CA does not show the order, which was finalized"}
	}
	if err != nil || !gone && order.Status != acme.StatusInvalid {
		return order, err
	}
	e := &Error{Kind: KindRefused, Detail: "it became invalid"}
	if order.Error != nil {
		e = problem(order.Error)
	}
	e.Doing = doing
	if e.Kind == KindAccount {
		e.Kind = KindRefused // it is about this order only
	}
	return order, errors.Join(e, j.f.forget())
}

func (j *job) finalize(ctx context.Context, order acme.ExtendedOrder) error {
	csr, err := j.r.csr(j.key)
	if err != nil {
		return err
	}
	j.f.Phase = phaseFinalizing
	if err := j.f.save(); err != nil {
		return err
	}
	if err := j.permitted(ctx, order.Location); err != nil {
		return err
	}
	if err := j.client.finalize(order.Finalize, csr); err != nil {
		return err
	}
	j.say("order finalized")
	return nil
}

// download fetches the certificate, validates it and has it on disk.
func (j *job) download(order acme.ExtendedOrder) (Issued, error) {
	texts, err := j.client.chains(order.Certificate)
	if err != nil {
		return Issued{}, err
	}
	var chains [][]*x509.Certificate
	for _, text := range texts {
		chain, err := parseChain(text)
		if err == nil {
			err = check(chain, j.key, j.r.Names, time.Now())
		}
		if err != nil {
			e := &Error{Kind: KindRefused, Doing: "checking the certificate that the CA issued", Detail: err.Error(), err: err}
			return Issued{}, errors.Join(e, j.giveUp())
		}
		chains = append(chains, chain)
	}
	chain, found := preferred(chains, j.r.PreferredChain)
	if !found {
		j.say("the CA offers no chain with the issuer %q; the default one is taken", j.r.PreferredChain)
	}
	return j.keep(chain, order.Location)
}

// giveUp forgets an order whose certificate is no good. While it is fresh it is kept: what came
// may not be what the CA sent, and downloading it again costs nothing.
func (j *job) giveUp() error {
	const fresh = time.Hour
	if age := time.Since(j.f.PlacedAt); age >= 0 && age < fresh {
		return nil
	}
	return j.f.forget()
}

// keep writes the files; that they are whole is on disk last.
func (j *job) keep(chain []*x509.Certificate, order string) (Issued, error) {
	issued := Issued{
		Dir: j.f.dir, Cert: j.f.path("cert.pem"), Chain: j.f.path("chain.pem"), Fullchain: j.f.path("fullchain.pem"), Privkey: j.f.path(keyFile),
		Version: fingerprint(chain[0].Raw), NotAfter: chain[0].NotAfter, Order: order, Replaced: j.f.Replaced,
	}
	for name, certs := range map[string][]*x509.Certificate{"cert.pem": chain[:1], "chain.pem": chain[1:], "fullchain.pem": chain} {
		if err := j.f.write(name, encode(certs)); err != nil {
			return Issued{}, err
		}
	}
	j.f.Phase, j.f.Issued = phaseIssued, &issued
	if err := j.f.save(); err != nil {
		return Issued{}, err
	}
	j.say("version %s issued for %s, until %s", issued.Version.Short(), strings.Join(j.r.Names, " "), issued.NotAfter.UTC().Format(time.RFC3339))
	return issued, nil
}
