package bundle_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/bundletest"
)

// TestTampered changes each object of a store in turn: whatever is changed, nothing is fetched.
func TestTampered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.version(t, shop), w.version(t, shop)
	fill := func() (*bundletest.Memory, []string) {
		store := &bundletest.Memory{}
		one := w.publish(t, store, first, 1, "")
		before, err := store.List(t.Context(), "")
		must(t, err)
		w.publish(t, store, second, 2, one.Version)
		for _, key := range before {
			if !strings.HasSuffix(key, "current.json") {
				must(t, store.Remove(t.Context(), key)) // the first one is of no use here
			}
		}
		keys, err := store.List(t.Context(), "")
		must(t, err)
		return store, keys
	}
	_, keys := fill()
	if len(keys) != 6 {
		t.Fatalf("there are %q", keys)
	}
	for about, change := range map[string]func(data []byte) []byte{
		"a bit of its middle":    func(d []byte) []byte { d[len(d)/2] ^= 1; return d },
		"a bit of its beginning": func(d []byte) []byte { d[2] ^= 1; return d },
		"it is cut short":        func(d []byte) []byte { return d[:len(d)-2] },
		"it is empty":            func([]byte) []byte { return []byte{} },
		"something is behind it": func(d []byte) []byte { return append(d, "{}"...) },
		"it is gone":             func([]byte) []byte { return nil },
	} {
		for number := range keys {
			store, keys := fill()
			key := keys[number]
			o, err := store.Get(t.Context(), key, "")
			must(t, err)
			store.Set(key, change(o.Data))
			for _, trust := range []bundle.Trust{w.trust(), {Opener: w.opener}} {
				if b, err := bundle.Latest(t.Context(), store, shop, trust); err == nil {
					t.Errorf("%s, %s: version %s was fetched", key, about, b.Manifest.Version.Short())
				} else if strings.Contains(err.Error(), "PRIVATE") {
					t.Errorf("%s, %s: %v", key, about, err)
				}
			}
		}
	}
}

// TestContradictions has publishers write manifests, with hashes that are right, which do not
// describe what is there.
func TestContradictions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.version(t, shop)
	otherLeaf, otherChain, _ := bytes.Cut(other.Fullchain, []byte("-----END CERTIFICATE-----\n"))
	otherLeaf = append(bytes.Clone(otherLeaf), "-----END CERTIFICATE-----\n"...)
	for _, row := range []struct {
		about  string
		change func(m *bundle.Manifest, parts map[string][]byte)
		says   string
	}{
		{"another leaf of its own", func(_ *bundle.Manifest, p map[string][]byte) { p["cert.pem"] = otherLeaf }, "cert.pem is not part of"},
		{"a chain that is longer of its own", func(_ *bundle.Manifest, p map[string][]byte) {
			p["chain.pem"] = append(bytes.Clone(otherChain), otherChain...)
		}, "chain.pem is not part of"},
		{"another version as a whole", func(_ *bundle.Manifest, p map[string][]byte) {
			p["cert.pem"], p["fullchain.pem"], p["privkey.pem"] = otherLeaf, other.Fullchain, other.Privkey
		}, "not the one that the manifest describes"},
		{"another version's key", func(_ *bundle.Manifest, p map[string][]byte) { p["privkey.pem"] = other.Privkey }, "not the leaf's"},
		{"names that the leaf has not", func(m *bundle.Manifest, _ map[string][]byte) { m.Names = m.Names[:1] }, "not the one that the manifest describes"},
		{"dates that the leaf has not", func(m *bundle.Manifest, _ map[string][]byte) { m.NotAfter = m.NotAfter.AddDate(1, 0, 0) }, "not the one that the manifest describes"},
		{"another token than the pointer's", func(m *bundle.Manifest, _ map[string][]byte) { m.Token++ }, "contradict"},
		{"a part that nobody knows", func(_ *bundle.Manifest, p map[string][]byte) { p["../x"] = otherLeaf }, "not known"},
		{"no full chain", func(_ *bundle.Manifest, p map[string][]byte) { delete(p, "fullchain.pem") }, "lacks fullchain.pem"},
		{"a part that is too large", func(_ *bundle.Manifest, p map[string][]byte) {
			p["cert.pem"] = make([]byte, bundle.MaxObject+1)
		}, "of cert.pem cannot be"},
		{"a form of later days", func(m *bundle.Manifest, _ map[string][]byte) { m.Format = 2 }, "format is 2"},
	} {
		store := &bundletest.Memory{}
		o := w.options(1, "")
		o.Seal, o.Key = bundle.Seal{Plaintext: true}, nil
		_, err := bundle.Publish(t.Context(), store, w.version(t, shop), o)
		must(t, err)
		rewrite(t, store, row.change)
		trust := bundle.Trust{Opener: bundle.Opener{Plaintext: true}}
		if _, err := bundle.Latest(t.Context(), store, shop, trust); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want %q", row.about, err, row.says)
		}
	}
}

// rewrite changes a publication, with all hashes that depend on it.
func rewrite(t *testing.T, store *bundletest.Memory, change func(m *bundle.Manifest, parts map[string][]byte)) {
	t.Helper()
	keys, err := store.List(t.Context(), shop+"/versions/")
	must(t, err)
	parts := map[string][]byte{}
	folder, _ := path.Split(keys[0])
	for _, key := range keys {
		o, err := store.Get(t.Context(), key, "")
		must(t, err)
		parts[path.Base(key)] = o.Data
	}
	old := parts["manifest.json"]
	delete(parts, "manifest.json")
	var e struct {
		Manifest *bundle.Manifest `json:"manifest"`
	}
	must(t, json.Unmarshal(old, &e))
	change(e.Manifest, parts)
	e.Manifest.Parts = map[string]bundle.Part{}
	for file, data := range parts {
		e.Manifest.Parts[file] = bundle.Part{SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Size: len(data)}
		store.Set(folder+file, data)
	}
	fresh, err := json.Marshal(e)
	must(t, err)
	store.Set(folder+"manifest.json", fresh)
	o, err := store.Get(t.Context(), shop+"/current.json", "")
	must(t, err)
	hash := func(data []byte) []byte { return fmt.Appendf(nil, "%x", sha256.Sum256(data)) }
	store.Set(shop+"/current.json", bytes.Replace(o.Data, hash(old), hash(fresh), 1))
}

// TestForged has somebody who may write the store publish a version of his own.
func TestForged(t *testing.T) {
	t.Parallel()
	w, thief := newWorld(t), newWorld(t)
	for _, row := range []struct {
		about string
		key   ed25519.PrivateKey
		seal  bundle.Seal
		says  string
	}{
		{"unsigned", nil, w.seal, "not signed"},
		{"signed by himself", thief.signing, w.seal, "not among those accepted"},
		{"signed, but in plaintext", w.signing, bundle.Seal{Plaintext: true}, `stored as "plaintext"`},
		{"signed, for another recipient", w.signing, thief.seal, "not encrypted for this identity"},
	} {
		store := &bundletest.Memory{}
		o := w.options(1, "")
		o.Key, o.Seal = row.key, row.seal
		_, err := bundle.Publish(t.Context(), store, w.version(t, shop), o)
		must(t, err)
		if _, err := bundle.Latest(t.Context(), store, shop, w.trust()); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: got %v, want %q", row.about, err, row.says)
		}
		trust := w.trust()
		trust.Keys = nil
		if !row.key.Equal(w.signing) {
			if _, err := bundle.Latest(t.Context(), store, shop, trust); err != nil {
				t.Errorf("%s, where no signature is asked for: %v", row.about, err)
			}
		}
	}
}

// TestMoved has what is published of one certificate stand in the place of another's.
func TestMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &bundletest.Memory{}
	w.publish(t, store, w.version(t, "blog"), 1, "")
	keys, err := store.List(t.Context(), "")
	must(t, err)
	for _, key := range keys {
		o, err := store.Get(t.Context(), key, "")
		must(t, err)
		store.Set(strings.Replace(key, "blog/", "shop/", 1), o.Data)
		if strings.HasSuffix(key, "current.json") {
			store.Set("mail/current.json", bytes.Replace(o.Data, []byte(`"blog"`), []byte(`"mail"`), 1))
		} else {
			store.Set(strings.Replace(key, "blog/", "mail/", 1), o.Data)
		}
	}
	for _, name := range []string{"shop", "mail"} {
		if _, err := bundle.Latest(t.Context(), store, name, w.trust()); err == nil {
			t.Errorf("a version of %q was taken for one of %q", "blog", name)
		}
	}
}

// TestLedBack holds that a consumer is not led back to what was published and signed before.
func TestLedBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &bundletest.Memory{}
	const key = shop + "/current.json"
	one := w.publish(t, store, w.version(t, shop), 3, "")
	old, err := store.Get(t.Context(), key, "")
	must(t, err)
	w.publish(t, store, w.version(t, shop), 3, one.Version)
	trust := w.trust()
	b, err := bundle.Latest(t.Context(), store, shop, trust)
	must(t, err)
	trust.After, trust.Known = b.Mark, b.Tag
	if _, err := bundle.Latest(t.Context(), store, shop, trust); !errors.Is(err, bundle.ErrUnchanged) {
		t.Errorf("asked again: %v", err)
	}
	trust.Known = ""
	if again, err := bundle.Latest(t.Context(), store, shop, trust); err != nil || again.Mark != b.Mark {
		t.Errorf("the very same again: %v", err)
	}
	store.Set(key, old.Data)
	if _, err := bundle.Latest(t.Context(), store, shop, trust); !errors.Is(err, bundle.ErrStale) {
		t.Errorf("led back: %v", err)
	}
	trust.After.Manifest, trust.After.Sequence = "another", 1
	if _, err := bundle.Latest(t.Context(), store, shop, trust); !errors.Is(err, bundle.ErrStale) {
		t.Errorf("another publication of the same number: %v", err)
	}
	trust.After.Token = 2
	if _, err := bundle.Latest(t.Context(), store, shop, trust); err != nil {
		t.Errorf("a higher token after all: %v", err)
	}
}

// TestPrunedMeanwhile has the pointer move and the old version go while a consumer reads.
func TestPrunedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	memory := &bundletest.Memory{}
	first := w.publish(t, memory, w.version(t, shop), 1, "")
	next := w.version(t, shop)
	reads := 0
	store := reader(func(ctx context.Context, key, known string) (bundle.Object, error) {
		if reads++; reads == 3 {
			w.publish(t, memory, next, 2, first.Version)
			keys, err := memory.List(ctx, shop+"/versions/"+string(first.Version)+"/")
			must(t, err)
			for _, key := range keys {
				must(t, memory.Remove(ctx, key))
			}
		}
		return memory.Get(ctx, key, known)
	})
	b, err := bundle.Latest(t.Context(), store, shop, w.trust())
	if err != nil || b.Manifest.Token != 2 {
		t.Errorf("token %d, %v", b.Manifest.Token, err)
	}
}

type reader func(ctx context.Context, key, known string) (bundle.Object, error)

func (r reader) Get(ctx context.Context, key, known string) (bundle.Object, error) {
	return r(ctx, key, known)
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	private, public := signingFiles(t, w.signing)
	key, err := bundle.ReadSigningKey(private)
	if err != nil || !key.Equal(w.signing) {
		t.Errorf("the signing key: %v", err)
	}
	keys, err := bundle.ReadPublicKeys(public)
	if err != nil || len(keys) != 1 || !keys[0].Equal(w.public) {
		t.Errorf("the public key: %v", err)
	}
	garbage := secret(t, "x")
	open := secret(t, "x")
	must(t, os.Chmod(open, 0o644))
	for _, path := range []string{garbage, open, public, "/none"} {
		if _, err := bundle.ReadSigningKey(path); err == nil {
			t.Errorf("%q was taken for a signing key", path)
		}
		if err := (bundle.Opener{IdentityFile: path}).Check(); err == nil {
			t.Errorf("%q was taken for an identity", path)
		}
	}
	for _, path := range []string{garbage, private, "/none"} {
		if _, err := bundle.ReadPublicKeys(path); err == nil {
			t.Errorf("%q was taken for public keys", path)
		}
	}
	for about, o := range map[string]bundle.Opener{"nothing": {}, "two": {IdentityFile: w.opener.IdentityFile, Plaintext: true}} {
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), "has to be chosen") {
			t.Errorf("an opener with %s: %v", about, err)
		}
	}
	must(t, w.opener.Check())
	must(t, bundle.Opener{Plaintext: true}.Check())
}

// FuzzParse holds that a pointer and a manifest are refused or make sense, whatever they are.
func FuzzParse(f *testing.F) {
	w := newWorld(f)
	store := &bundletest.Memory{}
	one := w.publish(f, store, w.version(f, shop), 1, "")
	w.publish(f, store, w.version(f, shop), 2, one.Version)
	keys, err := store.List(f.Context(), "")
	must(f, err)
	for _, key := range keys {
		if strings.HasSuffix(key, ".json") {
			o, err := store.Get(f.Context(), key, "")
			must(f, err)
			f.Add(o.Data)
		}
	}
	f.Add([]byte(`{"manifest":{},"signature":null}`))
	f.Add([]byte(`{"format":1,"name":"shop","publication":"1-../../../x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = bundle.ParsePointer(data, shop)
		m, _, err := bundle.ParseForFuzz(data)
		if err != nil {
			return
		}
		if len(m.Parts) < 3 || len(m.Parts) > 4 || len(m.Version) != 64 || m.Sequence == 0 {
			t.Errorf("accepted as %+v", m)
		}
	})
}
