package bundle

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/certmedic/certmedic"
)

// Options says how and for whom a version is published.
type Options struct {
	Token    uint64                // of the lease under which it is published
	Previous certmedic.Fingerprint // the version that the publisher knows to be current; empty: none is
	Member   string                // who publishes
	Time     time.Time             // now
	Seal     Seal
	Key      ed25519.PrivateKey // that signs; nil: the manifest is not signed
}

// Publish makes a version the current one of its certificate, for all who share the store. It
// writes the parts, then the manifest, and last the pointer, so that a consumer sees all of it or
// nothing. [ErrStale] says that the pointer has a higher token, or leads to another version than
// the previous one, which the publisher should look at first.
//
// After any other error it may have happened or not: the same call goes on from there. A version
// that is current already is not published again, as long as its chain, its storage and its
// signer stay the same.
func Publish(ctx context.Context, store Store, v Version, o Options) (Manifest, error) {
	m, err := publish(ctx, store, v, o)
	if err != nil {
		return Manifest{}, fmt.Errorf("publishing %q: %w", v.Name, err)
	}
	return m, nil
}

func publish(ctx context.Context, store Store, v Version, o Options) (Manifest, error) {
	sealing, err := o.Seal.sealing()
	if err != nil {
		return Manifest{}, err
	}
	c, err := v.look()
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Format: format, Name: v.Name, Key: sealing, Parts: map[string]Part{},
		Token: o.Token, Previous: o.Previous, Member: o.Member, Time: o.Time.UTC(),
	}
	c.fill(&m)
	at, err := readPointer(ctx, store, v.Name, "")
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Manifest{}, err
	}
	if err := at.refuse(m); err != nil {
		return Manifest{}, err
	}
	if published, ok, err := alreadyThere(ctx, store, at, m, c, o.Key); err != nil || ok {
		return published, err
	}
	m.Previous, m.Sequence = at.Version, at.Sequence+1
	next, err := writeParts(ctx, store, m, c, o)
	if err != nil {
		return Manifest{}, err
	}
	return next.manifest, point(ctx, store, at, next.pointer)
}

// refuse says whether a publication may follow the pointer.
func (at located) refuse(m Manifest) error {
	switch {
	case at.Token > m.Token:
		return fmt.Errorf("%w: the token is %d, and version %s was published with %d", ErrStale, m.Token, at.Version.Short(), at.Token)
	case at.Version != m.Previous && at.Version != m.Version:
		return fmt.Errorf("%w: version %q is current, and %q was expected", ErrStale, at.Version.Short(), m.Previous.Short())
	}
	return nil
}

// alreadyThere reports whether the pointer leads to the very same version already.
func alreadyThere(ctx context.Context, store Reader, at located, m Manifest, c content, key ed25519.PrivateKey) (Manifest, bool, error) {
	if at.Version != m.Version {
		return Manifest{}, false, nil
	}
	var keys []ed25519.PublicKey
	if key != nil {
		keys = append(keys, key.Public().(ed25519.PublicKey))
	}
	there, err := readManifest(ctx, store, at.pointer, keys)
	if err != nil && ctx.Err() != nil {
		return Manifest{}, false, err
	}
	same := err == nil && there.Key.Way == m.Key.Way && slices.Equal(there.Key.Recipients, m.Key.Recipients)
	for _, file := range []string{certFile, chainFile, fullchainFile} {
		data, has := c.parts[file]
		part, had := there.Parts[file]
		same = same && has == had && (!has || part.SHA256 == digest(data))
	}
	return there, same, nil
}

// written is a publication that no pointer names yet.
type written struct {
	manifest Manifest
	pointer  pointer
}

// writeParts writes a publication into a folder that nobody else writes to.
func writeParts(ctx context.Context, store Writer, m Manifest, c content, o Options) (written, error) {
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails, as of Go 1.24
	publication := fmt.Sprintf("%d-%s", m.Sequence, hex.EncodeToString(nonce[:]))
	sealed, err := o.Seal.seal(c.parts[privkeyFile])
	if err != nil {
		return written{}, err
	}
	parts := maps.Clone(c.parts)
	delete(parts, privkeyFile)
	parts[m.Key.file()] = sealed
	for file, data := range parts {
		m.Parts[file] = Part{SHA256: digest(data), Size: len(data)}
	}
	if err := m.check(); err != nil {
		return written{}, err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return written{}, err
	}
	manifest, err := json.Marshal(envelope{Manifest: raw, Signature: sign(o.Key, raw)})
	if err != nil {
		return written{}, err
	}
	for _, file := range slices.Sorted(maps.Keys(parts)) {
		if err := create(ctx, store, m, publication, file, parts[file]); err != nil {
			return written{}, err
		}
	}
	return written{m, pointer{
		Format: format, Name: m.Name, Version: m.Version, Publication: publication,
		Sequence: m.Sequence, Token: m.Token, Manifest: digest(manifest),
	}}, create(ctx, store, m, publication, manifestFile, manifest)
}

// create writes one file. Nobody else knows its folder, so one that is there is ours: a store's
// client may have tried twice, and only its second answer arrived. The hash tells a consumer.
func create(ctx context.Context, store Writer, m Manifest, publication, file string, data []byte) error {
	key, err := Key(m.Name, versionsName, string(m.Version), publication, file)
	if err != nil {
		return err
	}
	if err := store.Create(ctx, key, data); err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("writing %q: %w", key, err)
	}
	return nil
}

// point leads the pointer on. Where the store says no, or nothing that can be relied on, the
// pointer itself tells whether it happened.
func point(ctx context.Context, store Store, at located, next pointer) error {
	if at.Publication != "" {
		next.Previous = &predecessor{Version: at.Version, Publication: at.Publication}
	}
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	key, err := Key(next.Name, pointerFile)
	if err != nil {
		return err
	}
	err = store.Swap(ctx, key, at.tag, data)
	if err == nil {
		return nil
	}
	now, errNow := store.Get(ctx, key, "")
	if errNow == nil && bytes.Equal(now.Data, data) {
		return nil
	}
	if errors.Is(err, ErrConflict) {
		return fmt.Errorf("%w: another publication came first", ErrStale)
	}
	return fmt.Errorf("leading %q on: %w", key, err)
}
