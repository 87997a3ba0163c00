package app

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/renew/native"
)

// The pace of a publisher.
const (
	publishEvery   = time.Second     // between looks at what is stored, in memory
	publishAgain   = 5 * time.Second // after a failure, doubling
	publishSeldom  = 5 * time.Minute
	publishTimeout = 2 * time.Minute
)

// publisher hands on the versions of a certificate while this member acts for it. Else, where certmedic itself has
// it issued, it follows what another member publishes.
type publisher struct {
	cert   config.Certificate
	g      *generation
	shelf  *shelf
	orders *orders
	member string

	confirm func(ctx context.Context, certificate string) (token uint64, err error)

	published certmedic.Fingerprint // for sure, since this member acts; empty: nothing
	failures  int
	said      string // the failure that was logged last
	follows   bool   // while another member acts
}

func (a *App) publisher(g *generation, cert config.Certificate) *publisher {
	p := cert.Publish
	made := &publisher{
		cert: cert, g: g, shelf: a.shelves.shelf(p.Dir, p.S3), orders: a.orders(g.config), member: a.cluster.self.Name, confirm: a.cluster.Confirm,
	}
	_, opens := openerOf(p)
	made.follows = opens && g.config.Cluster != nil && cert.Source.ACME != nil
	return made
}

// openerOf returns what opens what is published; ok is false where this host cannot.
func openerOf(p *config.Publish) (o bundle.Opener, ok bool) {
	switch {
	case p.Plaintext:
		o.Plaintext = true
	case p.PassphraseFile != "":
		o.PassphraseFile = p.PassphraseFile
	default:
		o.IdentityFile = p.IdentityFile
	}
	return o, o != (bundle.Opener{})
}

func sealOf(p *config.Publish) bundle.Seal {
	return bundle.Seal{Recipients: p.Recipients, PassphraseFile: p.PassphraseFile, Plaintext: p.Plaintext}
}

func (p *publisher) run(ctx context.Context) {
	for wait := publishEvery; pause(ctx, wait); {
		wait = p.turn(ctx)
	}
}

// turn does what is to be done now, and returns how long nothing is.
func (p *publisher) turn(ctx context.Context) time.Duration {
	held, ok := p.g.watchdog.Holds(p.cert.Name)
	if !ok {
		return publishEvery
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if !p.g.leads(p.cert.Name).Mine {
		p.published = ""
		return p.tell(ctx, "", p.follow(ctx, held))
	}
	leaf, stands := held.Stored.Leaf()
	if !stands || held.Bad != "" || leaf.SHA256 == p.published {
		return publishEvery // what is bad is told by other rules
	}
	err := p.publish(ctx, held)
	if errors.Is(err, coord.ErrHeld) || errors.Is(err, coord.ErrLost) {
		return publishEvery // another member does
	}
	if err == nil {
		p.published = leaf.SHA256
		return p.tell(ctx, "", nil)
	}
	return p.tell(ctx, err.Error(), nil)
}

// tell says how it went, and returns how long to wait.
func (p *publisher) tell(ctx context.Context, unpublished string, errFollow error) time.Duration {
	if errors.Is(ctx.Err(), context.Canceled) {
		return publishEvery
	}
	failing := ""
	if errFollow != nil {
		failing = errFollow.Error()
	}
	p.g.watchdog.Supplied(p.cert.Name, func(s *watchdog.Supply) { s.Unpublished, s.Failing = unpublished, failing })
	if why := unpublished + failing; why != p.said {
		p.said = why
		if why != "" {
			p.g.log.Warn("sharing versions", "certificate", p.cert.Name, "err", why)
		}
	}
	switch {
	case unpublished != "" || failing != "":
		p.failures++
		return min(publishAgain<<min(p.failures-1, 10), publishSeldom)
	case p.published == "": // it followed
		p.failures = 0
		return p.cert.Publish.Interval
	}
	p.failures = 0
	return publishEvery
}

// errNewer says that a version is published that is newer than the stored one.
var errNewer = errors.New("a newer version is published")

// publish hands a version on, and reads it back.
func (p *publisher) publish(ctx context.Context, held watchdog.Held) error {
	conf, leaf := p.cert.Publish, held.Stored.Chain[0]
	store, err := p.shelf.opened(ctx)
	if err != nil {
		return err
	}
	token, err := p.token(ctx)
	if err != nil {
		return err
	}
	sign, keys, err := p.keys()
	if err != nil {
		return err
	}
	before, err := p.current(ctx, keys)
	if err != nil {
		return err
	}
	if before.NotBefore.After(leaf.NotBefore) {
		return p.fallBehind(ctx, before)
	}
	version, err := p.read(held)
	if err != nil {
		return err
	}
	if _, err := bundle.Publish(ctx, store, version, bundle.Options{
		Token: token, Previous: before.Version, Member: p.member, Time: time.Now(), Seal: sealOf(conf), Key: sign,
	}); err != nil {
		return err
	}
	now, err := p.readBack(ctx, keys)
	if err != nil {
		return fmt.Errorf("reading back what was published: %w", err)
	}
	if now.Version != leaf.SHA256 {
		return fmt.Errorf("version %s was published, and %s is there", leaf.SHA256.Short(), now.Version.Short())
	}
	p.see(now)
	p.g.log.Info("published", "certificate", p.cert.Name, "version", leaf.SHA256.Short(), "token", now.Token)
	if p.orders != nil {
		p.orders.arrived(ctx, p.cert.Name, leaf.SHA256, token)
	}
	if err := bundle.Prune(ctx, store, p.cert.PublishedName(), conf.Keep); err != nil {
		p.g.log.Warn("old publications stay", "certificate", p.cert.Name, "err", err)
	}
	return nil
}

// token proves that this member acts. While the coordinator cannot be asked the last token does: the store refuses
// it once another member published with a higher one.
func (p *publisher) token(ctx context.Context) (uint64, error) {
	if l := p.g.leads(p.cert.Name); l.Mine && !l.Lost.IsZero() {
		return l.Token, nil
	}
	return p.confirm(ctx, p.cert.Name)
}

// fallBehind is for a member that acts and holds an older version than the published one: it takes that, and never
// publishes its own.
func (p *publisher) fallBehind(ctx context.Context, published bundle.Manifest) error {
	p.see(published)
	if !p.follows {
		return fmt.Errorf("%w, %s, by %q: the stored one is not handed on", errNewer, published.Version.Short(), published.Member)
	}
	return p.fetch(ctx)
}

// read reads the stored version, which may be another one by now.
func (p *publisher) read(held watchdog.Held) (bundle.Version, error) {
	version, err := bundle.ReadVersion(p.cert.PublishedName(), held.Stored.Files)
	if err != nil {
		return bundle.Version{}, err
	}
	if leafOf(version.Fullchain) != held.Stored.Chain[0].SHA256 {
		return bundle.Version{}, errors.New("what is stored has changed while it was read")
	}
	return version, nil
}

// leafOf returns the version of the first certificate of a PEM text.
func leafOf(text []byte) certmedic.Fingerprint {
	block, _ := pem.Decode(text)
	if block == nil {
		return ""
	}
	sum := sha256.Sum256(block.Bytes)
	return certmedic.Fingerprint(hex.EncodeToString(sum[:]))
}

// keys returns the key that signs, and those by which what is published is believed.
func (p *publisher) keys() (sign ed25519.PrivateKey, believed []ed25519.PublicKey, err error) {
	if path := p.cert.Publish.SignKeyFile; path != "" {
		if sign, err = bundle.ReadSigningKey(path); err != nil {
			return nil, nil, err
		}
		believed = []ed25519.PublicKey{sign.Public().(ed25519.PublicKey)}
	}
	if path := p.cert.Publish.KeysFile; path != "" {
		believed, err = bundle.ReadPublicKeys(path)
	}
	return sign, believed, err
}

// current returns what is published; the zero manifest where nothing is.
func (p *publisher) current(ctx context.Context, keys []ed25519.PublicKey) (bundle.Manifest, error) {
	m, err := bundle.Current(ctx, p.shelf, p.cert.PublishedName(), keys)
	if errors.Is(err, bundle.ErrNotFound) {
		return bundle.Manifest{}, nil
	}
	return m, err
}

// readBack returns what is published, as whole as this host can read it.
func (p *publisher) readBack(ctx context.Context, keys []ed25519.PublicKey) (bundle.Manifest, error) {
	opener, ok := openerOf(p.cert.Publish)
	if !ok {
		return bundle.Current(ctx, p.shelf, p.cert.PublishedName(), keys)
	}
	b, err := bundle.Latest(ctx, p.shelf, p.cert.PublishedName(), bundle.Trust{Keys: keys, Opener: opener})
	return b.Manifest, err
}

// see notes what is published.
func (p *publisher) see(m bundle.Manifest) {
	p.g.watchdog.Supplied(p.cert.Name, func(s *watchdog.Supply) {
		s.Published, s.PublishedAt, s.PublishedBy, s.Fetched = m.Version, m.Time, m.Member, time.Now().UTC()
	})
}

// follow keeps the copy of a member that does not act at what is published, and never goes back behind what the
// member itself had issued.
func (p *publisher) follow(ctx context.Context, held watchdog.Held) error {
	if !p.follows {
		return nil
	}
	_, keys, err := p.keys()
	if err != nil {
		return err
	}
	now, err := p.current(ctx, keys)
	if err != nil || now.Version == "" {
		return err
	}
	p.see(now)
	leaf, stands := held.Stored.Leaf()
	if stands && (now.Version == leaf.SHA256 || now.NotBefore.Before(leaf.NotBefore)) {
		return nil
	}
	return p.fetch(ctx)
}

// fetch brings what is published into the member's own folder, unless a version is being stored there.
func (p *publisher) fetch(ctx context.Context) error {
	_, keys, err := p.keys()
	if err != nil {
		return err
	}
	folder := p.g.config.ACMEFolder(p.cert.Name)
	if native.Storing(folder) {
		return fmt.Errorf("a version is being stored in %q, which has to end first", folder)
	}
	opener, _ := openerOf(p.cert.Publish)
	follower := &bundle.Consumer{Store: p.shelf, Name: p.cert.PublishedName(), Folder: folder, Keys: keys, Opener: opener}
	installed, err := follower.Look(ctx, time.Now())
	if installed {
		p.g.log.Info("fetched what another member published", "certificate", p.cert.Name)
		p.g.watchdog.Changed(p.cert.Name)
	}
	return err
}
