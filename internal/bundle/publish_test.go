package bundle_test

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/bundle"
	"github.com/certmedic/certmedic/internal/bundle/bundletest"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

// TestThereAndBack publishes and fetches in each way a key can be stored.
func TestThereAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	passphrase := secret(t, "correct horse\nnot this\n")
	for _, row := range []struct {
		about  string
		seal   bundle.Seal
		opener bundle.Opener
		way    bundle.Way
	}{
		{"to a recipient", w.seal, w.opener, bundle.WayRecipients},
		{"by a passphrase", bundle.Quick(bundle.Seal{PassphraseFile: passphrase}), bundle.Opener{PassphraseFile: passphrase}, bundle.WayPassphrase},
		{"in plaintext", bundle.Seal{Plaintext: true}, bundle.Opener{Plaintext: true}, bundle.WayPlaintext},
	} {
		t.Run(row.about, func(t *testing.T) {
			store := &bundletest.Memory{}
			v := w.version(t, "*.example.com/..")
			o := w.options(7, "")
			o.Seal = row.seal
			m, err := bundle.Publish(t.Context(), store, v, o)
			must(t, err)
			trust := w.trust()
			trust.Opener = row.opener
			b, err := bundle.Latest(t.Context(), store, v.Name, trust)
			must(t, err)
			if string(b.Fullchain) != string(v.Fullchain) || string(b.Privkey) != string(v.Privkey) || string(b.Cert)+string(b.Chain) != string(b.Fullchain) {
				t.Error("what came back is not what was published")
			}
			got := b.Manifest
			if got.Version != m.Version || got.Token != 7 || got.Sequence != 1 || got.Previous != "" || got.Member != "m1" || !got.Time.Equal(noon()) || got.Key.Way != row.way {
				t.Errorf("the manifest says %+v", got)
			}
			if want := []string{"shop.example.com", "10.0.0.1"}; !slices.Equal(got.Names, want) {
				t.Errorf("the names are %q", got.Names)
			}
			hidden(t, store, v, row.way == bundle.WayPlaintext)
		})
	}
}

// hidden holds that the private key is nowhere in the store, unless it was to be.
func hidden(t *testing.T, store bundle.Store, v bundle.Version, plaintext bool) {
	t.Helper()
	keys, err := store.List(t.Context(), "")
	must(t, err)
	found := false
	for _, key := range keys {
		o, err := store.Get(t.Context(), key, "")
		must(t, err)
		found = found || strings.Contains(string(o.Data), "PRIVATE KEY")
	}
	if found != plaintext {
		t.Errorf("the key is in plain sight: %t", found)
	}
}

func TestRefusedVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.version(t, shop)
	for _, row := range []struct {
		about  string
		change func(v *bundle.Version, o *bundle.Options)
		says   string
	}{
		{"another one's key", func(v *bundle.Version, _ *bundle.Options) { v.Privkey = other.Privkey }, "not the leaf's"},
		{"no key", func(v *bundle.Version, _ *bundle.Options) { v.Privkey = nil }, "no private key"},
		{"a key with a passphrase", func(v *bundle.Version, _ *bundle.Options) {
			v.Privkey = pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
		}, "passphrase of its own"},
		{"a key that is none", func(v *bundle.Version, _ *bundle.Options) {
			v.Privkey = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})
		}, "cannot be parsed"},
		{"no certificate", func(v *bundle.Version, _ *bundle.Options) { v.Fullchain = []byte("x") }, "no certificate"},
		{"a key among the certificates", func(v *bundle.Version, _ *bundle.Options) {
			v.Fullchain = append(slices.Clone(v.Fullchain), v.Privkey...)
		}, "among the certificates"},
		{"a chain that does not lead on", func(v *bundle.Version, _ *bundle.Options) {
			v.Fullchain = append(slices.Clone(v.Fullchain), other.Fullchain...)
		}, "not signed by the next"},
		{"no name", func(v *bundle.Version, _ *bundle.Options) { v.Name = "" }, "name"},
		{"a name that is too long", func(v *bundle.Version, _ *bundle.Options) { v.Name = strings.Repeat("*", 100) }, "too long"},
		{"no way to store the key", func(_ *bundle.Version, o *bundle.Options) { o.Seal = bundle.Seal{} }, "has to be chosen"},
		{"two ways to store the key", func(_ *bundle.Version, o *bundle.Options) { o.Seal.Plaintext = true }, "has to be chosen"},
		{"a recipient that is none", func(_ *bundle.Version, o *bundle.Options) {
			o.Seal.Recipients = []string{"AGE-SECRET-KEY-1QQQ"}
		}, "recipient 1"},
		{"a passphrase that is not there", func(_ *bundle.Version, o *bundle.Options) {
			o.Seal = bundle.Seal{PassphraseFile: "/none"}
		}, "no such file"},
		{"an empty passphrase", func(_ *bundle.Version, o *bundle.Options) {
			o.Seal = bundle.Seal{PassphraseFile: secret(t, "\n")}
		}, "is empty"},
	} {
		store := &bundletest.Memory{}
		v, o := w.version(t, shop), w.options(1, "")
		row.change(&v, &o)
		_, err := bundle.Publish(t.Context(), store, v, o)
		if err == nil || !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: got %v, want %q", row.about, err, row.says)
		}
		if keys, _ := store.List(t.Context(), ""); len(keys) != 0 {
			t.Errorf("%s: it wrote %q", row.about, keys)
		}
	}
}

// TestOtherKeys holds that keys and chains of other kinds go through.
func TestOtherKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for about, pair := range map[string]mint.Pair{
		"rsa":               mint.Must(w.issuing.Leaf(mint.Leaf{Names: []string{"a.test"}, KeyType: mint.RSA2048})),
		"ed25519":           mint.Must(w.issuing.Leaf(mint.Leaf{Names: []string{"a.test"}, KeyType: mint.Ed25519})),
		"issued by a root":  mint.Must(w.root.Leaf(mint.Leaf{Names: []string{"a.test"}})),
		"wildcard, no more": mint.Must(w.issuing.Leaf(mint.Leaf{Names: []string{"*.a.test"}})),
	} {
		store := &bundletest.Memory{}
		v := versionOf(t, shop, pair)
		w.publish(t, store, v, 1, "")
		b, err := bundle.Latest(t.Context(), store, shop, w.trust())
		if err != nil || string(b.Fullchain) != string(v.Fullchain) || (len(pair.Chain) == 1) != (b.Chain == nil) {
			t.Errorf("%s: %v", about, err)
		}
	}
}

// TestFencing holds who may publish after whom.
func TestFencing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &bundletest.Memory{}
	if _, err := bundle.Current(t.Context(), store, shop, nil); !errors.Is(err, bundle.ErrNotFound) {
		t.Errorf("before the first: %v", err)
	}
	one, two, three := w.version(t, shop), w.version(t, shop), w.version(t, shop)
	refused := func(about string, v bundle.Version, token uint64, previous certmedic.Fingerprint) {
		t.Helper()
		if _, err := bundle.Publish(t.Context(), store, v, w.options(token, previous)); !errors.Is(err, bundle.ErrStale) {
			t.Errorf("%s: %v", about, err)
		}
	}
	refused("a predecessor where there is none", one, 5, "0000")
	first := w.publish(t, store, one, 5, "")
	refused("a lower token", two, 4, first.Version)
	refused("no predecessor where there is one", two, 5, "")
	refused("a lower token for the same version", one, 4, "")
	second := w.publish(t, store, two, 5, first.Version)
	refused("another predecessor", three, 6, first.Version)
	if second.Sequence != 2 || second.Previous != first.Version {
		t.Errorf("the second one says %+v", second)
	}

	before, err := store.List(t.Context(), "")
	must(t, err)
	again := w.publish(t, store, two, 9, first.Version)
	after, err := store.List(t.Context(), "")
	must(t, err)
	if again.Sequence != 2 || len(after) != len(before) {
		t.Errorf("the same once more is publication %d, and of %d objects there are %d", again.Sequence, len(before), len(after))
	}
	current, err := bundle.Current(t.Context(), store, shop, []ed25519.PublicKey{w.public})
	if err != nil || current.Version != second.Version {
		t.Errorf("current is %s, %v", current.Version, err)
	}
}

// TestPublishedAnew holds what makes a version be published again although it is current.
func TestPublishedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, row := range []struct {
		about  string
		change func(v *bundle.Version, o *bundle.Options)
		trust  func(*bundle.Trust)
	}{
		{"another way to store the key", func(_ *bundle.Version, o *bundle.Options) {
			o.Seal = bundle.Seal{Plaintext: true}
		}, func(t *bundle.Trust) { t.Opener = bundle.Opener{Plaintext: true} }},
		{"one recipient more", func(_ *bundle.Version, o *bundle.Options) {
			o.Seal.Recipients = append(slices.Clone(o.Seal.Recipients), newWorld(t).seal.Recipients...)
		}, nil},
		{"another signer", func(_ *bundle.Version, o *bundle.Options) {
			o.Key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		}, func(t *bundle.Trust) {
			t.Keys = append(t.Keys, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey))
		}},
		{"a longer chain", func(v *bundle.Version, _ *bundle.Options) {
			v.Fullchain = append(slices.Clone(v.Fullchain), mint.PEM(w.root.Cert)...)
		}, nil},
	} {
		t.Run(row.about, func(t *testing.T) {
			store := &bundletest.Memory{}
			v := w.version(t, shop)
			first := w.publish(t, store, v, 1, "")
			o, trust := w.options(1, first.Version), w.trust()
			row.change(&v, &o)
			if row.trust != nil {
				row.trust(&trust)
			}
			second, err := bundle.Publish(t.Context(), store, v, o)
			if err != nil || second.Sequence != 2 || second.Version != first.Version {
				t.Errorf("it is publication %d, %v", second.Sequence, err)
			}
			b, err := bundle.Latest(t.Context(), store, shop, trust)
			if err != nil || b.Mark.Sequence != 2 || string(b.Fullchain) != string(v.Fullchain) {
				t.Errorf("fetched: %v", err)
			}
		})
	}
}

func TestReadVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := w.version(t, shop)
	dir := t.TempDir()
	leaf, chain, _ := strings.Cut(string(v.Fullchain), "-----END CERTIFICATE-----\n")
	files := certmedic.StoredFiles{
		Cert: filepath.Join(dir, "cert"), Chain: filepath.Join(dir, "chain"),
		Fullchain: filepath.Join(dir, "fullchain"), Privkey: filepath.Join(dir, "key"),
	}
	for path, data := range map[string]string{
		files.Cert: leaf + "-----END CERTIFICATE-----", files.Chain: chain,
		files.Fullchain: string(v.Fullchain), files.Privkey: string(v.Privkey),
	} {
		must(t, os.WriteFile(path, []byte(data), 0o600))
	}
	for about, from := range map[string]certmedic.StoredFiles{
		"full chain": {Fullchain: files.Fullchain, Privkey: files.Privkey},
		"two files":  {Cert: files.Cert, Chain: files.Chain, Privkey: files.Privkey},
	} {
		read, err := bundle.ReadVersion(shop, from)
		must(t, err)
		store := &bundletest.Memory{}
		w.publish(t, store, read, 1, "")
		if b, err := bundle.Latest(t.Context(), store, shop, w.trust()); err != nil || string(b.Fullchain) != string(v.Fullchain) {
			t.Errorf("%s: %v", about, err)
		}
	}
	must(t, os.Chmod(files.Privkey, 0o644))
	if _, err := bundle.ReadVersion(shop, files); err == nil {
		t.Error("a key that others may read was read")
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	store := &bundletest.Memory{}
	must(t, bundle.Prune(t.Context(), store, shop, 3))
	var last certmedic.Fingerprint
	var all []certmedic.Fingerprint
	for token := range uint64(6) {
		last = w.publish(t, store, w.version(t, shop), token+1, last).Version
		all = append(all, last)
	}
	folder := shop + "/versions/"
	later := folder + strings.Repeat("a", 64) + "/7-0123456789abcdef/cert.pem"
	for key, stays := range map[string]bool{
		later: true, // somebody is writing it
		folder + strings.Repeat("b", 64) + "/6-0123456789abcdef/cert.pem": false, // somebody was killed
		folder + "README": true,
	} {
		store.Set(key, []byte("x"))
		defer func() {
			if _, err := store.Get(t.Context(), key, ""); (err == nil) != stays {
				t.Errorf("%s: %v", key, err)
			}
		}()
	}
	versions := func() (kept []certmedic.Fingerprint) {
		for _, v := range all {
			if keys, _ := store.List(t.Context(), folder+string(v)+"/"); len(keys) > 0 {
				kept = append(kept, v)
			}
		}
		return kept
	}
	for _, row := range []struct {
		keep int
		want []certmedic.Fingerprint
	}{{10, all}, {4, all[2:]}, {1, all[4:]}, {0, all[4:]}} {
		must(t, bundle.Prune(t.Context(), store, shop, row.keep))
		if got := versions(); !slices.Equal(got, row.want) {
			t.Errorf("keeping %d: %d stay", row.keep, len(got))
		}
	}
	if _, err := bundle.Latest(t.Context(), store, shop, w.trust()); err != nil {
		t.Error(err)
	}
}

func TestKeyStaysApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, name := range []string{"a", "A", "%41", "a.", ".a", "..", ".", "a/b", "a%2Fb", "*.a", "a b", "ä", "\u0061\u0308", "a\\b", "CON", "con"} {
		key, err := bundle.Key(name, "current.json")
		must(t, err)
		if !bundle.ValidKey(key) || strings.Count(key, "/") != 1 {
			t.Errorf("%q has the key %q", name, key)
		}
		if other, ok := seen[strings.ToLower(key)]; ok {
			t.Errorf("%q and %q have the same key where upper case is lower case", name, other)
		}
		seen[strings.ToLower(key)] = name
	}
	for _, name := range []string{"", "a\nb", "\xff", "a\x00"} {
		if key, err := bundle.Key(name); err == nil {
			t.Errorf("%q has the key %q", name, key)
		}
	}
}
