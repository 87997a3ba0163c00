package bundle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
)

// Keep is how many publications of a certificate are usually kept.
const Keep = 10

// Prune removes old publications of a certificate: all but the newest ones, of which the current
// one and its predecessor always stay, and what killed publishers left. What a publisher writes at
// the same time is not touched: it goes on from the current publication, so its sequence is higher,
// and a lower one can never become current.
func Prune(ctx context.Context, store Store, name string, keep int) error {
	if err := prune(ctx, store, name, keep); err != nil {
		return fmt.Errorf("pruning the publications of %q: %w", name, err)
	}
	return nil
}

func prune(ctx context.Context, store Store, name string, keep int) error {
	at, err := readPointer(ctx, store, name, "")
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	folder, err := Key(name, versionsName, "")
	if err != nil {
		return err
	}
	keys, err := store.List(ctx, folder)
	if err != nil {
		return err
	}
	for _, p := range at.superfluous(publications(keys, folder), keep) {
		for _, key := range p.keys {
			if err := store.Remove(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// publication is what a listing tells of one.
type publication struct {
	predecessor
	sequence uint64
	whole    bool // it has a manifest, which is written last
	keys     []string
}

// publications groups keys. Those that are not of a publication are left alone.
func publications(keys []string, folder string) map[predecessor]publication {
	all := map[predecessor]publication{}
	for _, key := range keys {
		names := strings.Split(strings.TrimPrefix(key, folder), "/")
		if len(names) != 3 || !hexSHA256.MatchString(names[0]) || !publicationName.MatchString(names[1]) {
			continue
		}
		id := predecessor{certmedic.Fingerprint(names[0]), names[1]}
		p := all[id]
		p.predecessor = id
		number, _, _ := strings.Cut(names[1], "-")
		p.sequence, _ = strconv.ParseUint(number, 10, 64)
		if names[2] == manifestFile {
			p.whole = true
			p.keys = append([]string{key}, p.keys...) // goes first, so that no rest looks whole
		} else {
			p.keys = append(p.keys, key)
		}
		all[id] = p
	}
	return all
}

// superfluous returns what can go.
func (at located) superfluous(all map[predecessor]publication, keep int) []publication {
	delete(all, predecessor{at.Version, at.Publication})
	if at.Previous != nil {
		delete(all, *at.Previous)
		keep--
	}
	var old, rest []publication
	for _, p := range all {
		switch {
		case p.sequence > at.Sequence:
		case p.whole && p.sequence < at.Sequence: // one of the current one's number lost against it
			old = append(old, p)
		default:
			rest = append(rest, p)
		}
	}
	slices.SortFunc(old, func(a, b publication) int {
		return cmp.Or(cmp.Compare(b.sequence, a.sequence), cmp.Compare(a.Publication, b.Publication))
	})
	kept := min(max(0, keep-1), len(old))
	return append(rest, old[kept:]...)
}
