package bundle

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
)

// maxTries bounds how often a consumer begins anew because what the pointer named was pruned
// meanwhile.
const maxTries = 3

// Bundle is the current version of a certificate, verified.
type Bundle struct {
	Manifest Manifest
	Mark     Mark
	Tag      string // of the pointer, for [Trust.Known]

	Cert, Chain, Fullchain, Privkey []byte // PEM; Chain is empty where a root issued the leaf
}

// Mark is how far a consumer came. Marks are ordered by token, then by sequence.
type Mark struct {
	Token    uint64 `json:"token"`
	Sequence uint64 `json:"sequence"`
	Manifest string `json:"manifest_sha256"` // what exactly stood there
}

// allows reports whether a consumer that came to m may accept what has mark n: it is later, or the
// very same.
func (m Mark) allows(n Mark) bool {
	switch {
	case n.Token != m.Token:
		return n.Token > m.Token
	case n.Sequence != m.Sequence:
		return n.Sequence > m.Sequence
	}
	return m.Manifest == "" || n.Manifest == m.Manifest
}

// Trust says what a consumer accepts.
type Trust struct {
	Keys   []ed25519.PublicKey // one of them has to have signed; empty: no signature is needed
	Opener Opener
	After  Mark   // nothing older is accepted; the zero mark accepts everything
	Known  string // the pointer's tag as of the last look; empty: there was none
}

// Latest returns the current version of a certificate once everything about it agrees: pointer,
// manifest, signature, hashes, chain, and the pair of leaf and key. [ErrUnchanged] says that the
// pointer is the known one, [ErrNotFound] that nothing was published, [ErrStale] that the pointer
// leads back behind what was accepted before.
func Latest(ctx context.Context, store Reader, name string, t Trust) (Bundle, error) {
	for try := 1; ; try++ {
		b, err := latest(ctx, store, name, t)
		if errors.Is(err, errPruned) && try < maxTries {
			continue
		}
		if err != nil {
			return Bundle{}, fmt.Errorf("fetching %q: %w", name, err)
		}
		return b, nil
	}
}

// errPruned says that a part is gone that the manifest names.
var errPruned = errors.New("it is not there, or not any more")

func latest(ctx context.Context, store Reader, name string, t Trust) (Bundle, error) {
	at, err := readPointer(ctx, store, name, t.Known)
	if err != nil {
		return Bundle{}, err
	}
	mark := Mark{at.Token, at.Sequence, at.Manifest}
	if !t.After.allows(mark) {
		return Bundle{}, fmt.Errorf("%w: the pointer has token %d and sequence %d, and token %d and sequence %d were accepted before",
			ErrStale, at.Token, at.Sequence, t.After.Token, t.After.Sequence)
	}
	m, err := readManifest(ctx, store, at.pointer, t.Keys)
	if err != nil {
		return Bundle{}, err
	}
	parts := map[string][]byte{}
	for file, want := range m.Parts {
		if parts[file], err = readPart(ctx, store, at.pointer, file, want); err != nil {
			return Bundle{}, err
		}
	}
	key, err := t.Opener.open(m.Key, parts[m.Key.file()])
	if err != nil {
		return Bundle{}, err
	}
	if err := m.describes(parts, key); err != nil {
		return Bundle{}, err
	}
	return Bundle{
		Manifest: m, Mark: mark, Tag: at.tag,
		Cert: parts[certFile], Chain: parts[chainFile], Fullchain: parts[fullchainFile], Privkey: key,
	}, nil
}

// describes looks at the version as if it was to be published, and refuses a manifest that would
// not have become of it.
func (m Manifest) describes(parts map[string][]byte, key []byte) error {
	c, err := Version{Name: m.Name, Fullchain: parts[fullchainFile], Privkey: key}.look()
	if err != nil {
		return err
	}
	var real Manifest
	c.fill(&real)
	if m.Version != real.Version || m.SPKI != real.SPKI || m.Serial != real.Serial || !slices.Equal(m.Names, real.Names) ||
		!m.NotBefore.Equal(real.NotBefore) || !m.NotAfter.Equal(real.NotAfter) {
		return errors.New("the certificate is not the one that the manifest describes")
	}
	for _, file := range []string{certFile, chainFile} {
		if string(parts[file]) != string(c.parts[file]) {
			return fmt.Errorf("%s is not part of %s", file, fullchainFile)
		}
	}
	return nil
}

// Current returns the manifest of the current version, without its parts: what a publisher looks at
// before it publishes, or renews. [ErrNotFound] says that nothing was published. One of the keys has
// to have signed it, unless there are none.
func Current(ctx context.Context, store Reader, name string, keys []ed25519.PublicKey) (Manifest, error) {
	at, err := readPointer(ctx, store, name, "")
	if err != nil {
		return Manifest{}, fmt.Errorf("asking what is published of %q: %w", name, err)
	}
	m, err := readManifest(ctx, store, at.pointer, keys)
	if err != nil {
		return Manifest{}, fmt.Errorf("asking what is published of %q: %w", name, err)
	}
	return m, nil
}

// located is a pointer with its tag. The zero value says that there is none.
type located struct {
	pointer
	tag string
}

func readPointer(ctx context.Context, store Reader, name, known string) (located, error) {
	key, err := Key(name, pointerFile)
	if err != nil {
		return located{}, err
	}
	o, err := store.Get(ctx, key, known)
	if err != nil {
		return located{}, fmt.Errorf("reading %q: %w", key, err)
	}
	p, err := parsePointer(o.Data, name)
	if err != nil {
		return located{}, err
	}
	return located{p, o.Tag}, nil
}

// readManifest reads the manifest that a pointer names, and refuses one that does not say the same.
func readManifest(ctx context.Context, store Reader, at pointer, keys []ed25519.PublicKey) (Manifest, error) {
	data, err := read(ctx, store, at, manifestFile)
	if err != nil {
		return Manifest{}, err
	}
	if digest(data) != at.Manifest {
		return Manifest{}, fmt.Errorf("%s is not the one that %s names", manifestFile, pointerFile)
	}
	m, e, err := parseManifest(data)
	if err != nil {
		return Manifest{}, err
	}
	if err := e.verify(keys); err != nil {
		return Manifest{}, err
	}
	if m.Name != at.Name || m.Version != at.Version || m.Token != at.Token || m.Sequence != at.Sequence {
		return Manifest{}, fmt.Errorf("%s and %s contradict each other", manifestFile, pointerFile)
	}
	return m, nil
}

func readPart(ctx context.Context, store Reader, at pointer, file string, want Part) ([]byte, error) {
	data, err := read(ctx, store, at, file)
	if err != nil {
		return nil, err
	}
	if len(data) != want.Size || digest(data) != want.SHA256 {
		return nil, fmt.Errorf("%s of version %s is not what the manifest says", file, at.Version.Short())
	}
	return data, nil
}

// read reads a file of the publication that a pointer names.
func read(ctx context.Context, store Reader, at pointer, file string) ([]byte, error) {
	key, err := Key(at.Name, versionsName, string(at.Version), at.Publication, file)
	if err != nil {
		return nil, err
	}
	o, err := store.Get(ctx, key, "")
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("reading %q: %w", key, errPruned)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", key, err)
	}
	return o.Data, nil
}
