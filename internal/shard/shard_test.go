package shard_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/certmedic/certmedic/internal/shard"
)

func endpoints(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("host%d.example.com:443", i)
	}
	return keys
}

func members(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("m%d", i+1)
	}
	return names
}

func TestBalance(t *testing.T) {
	addresses := make([]string, 100_000)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("10.%d.%d.%d:8443", i>>16, i>>8&255, i&255)
	}
	for _, row := range []struct {
		about         string
		members, keys []string
	}{
		{"names that count", members(10), endpoints(100_000)},
		{"addresses that count", members(10), addresses},
		{"members with long names that are nearly alike", []string{
			"watch-1.eu-central-1.example.com", "watch-2.eu-central-1.example.com", "watch-3.eu-central-1.example.com",
			"watch-1.us-east-1.example.com", "watch-2.us-east-1.example.com", "watch-3.us-east-1.example.com",
			"a", "b", "c", "d",
		}, endpoints(100_000)},
	} {
		want := len(row.keys) / len(row.members)
		for member, share := range shard.Spread(row.members, row.keys) {
			if off := len(share) - want; max(off, -off) > want/20 {
				t.Errorf("%s: %s has %d of %d keys, more than 5%% off %d", row.about, member, len(share), len(row.keys), want)
			}
		}
	}
}

// TestOnlyAShareMoves takes random sets of members and has one join and one leave.
func TestOnlyAShareMoves(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 1))
	keys := endpoints(2000)
	for range 40 {
		names := members(2 + random.IntN(20))
		random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		joins := names[0]
		before, after := shard.Of(names[1:]), shard.Of(names)
		moved := 0
		for _, key := range keys {
			was, is := before.Owner(key), after.Owner(key)
			if was == is {
				continue
			}
			moved++
			if is != joins {
				t.Fatalf("%q moved from %s to %s as %s joined", key, was, is, joins)
			}
		}
		if want := len(keys) / len(names); moved > want+want/2+20 || moved < want/2-20 {
			t.Errorf("as one of %d joined %d of %d keys moved", len(names), moved, len(keys))
		}
	}
}

func TestEachKeyIsOnesOwn(t *testing.T) {
	names := members(7)
	for _, key := range endpoints(500) {
		var owners []string
		for _, name := range names {
			if shard.Mine(name, names, key) {
				owners = append(owners, name)
			}
		}
		if len(owners) != 1 || owners[0] != shard.Of(names).Owner(key) {
			t.Errorf("%q belongs to %q, and to %s", key, owners, shard.Of(names).Owner(key))
		}
	}
}

func TestSets(t *testing.T) {
	keys := endpoints(100)
	twice := shard.Of([]string{"b", "a", "b"})
	for _, key := range keys {
		if twice.Owner(key) != shard.Of([]string{"a", "b"}).Owner(key) {
			t.Errorf("%q belongs to another member where names come in another order, or twice", key)
		}
		if owner := (shard.Set{}).Owner(key); owner != "" {
			t.Errorf("%q belongs to %q of nobody", key, owner)
		}
		if !shard.Mine("a", nil, key) {
			t.Errorf("%q is not a's, who is alone", key)
		}
	}
	if got := shard.Spread(nil, keys); len(got) != 0 {
		t.Errorf("spread over nobody: %v", got)
	}
	if got := shard.Spread([]string{"a"}, keys); !slices.Equal(got["a"], keys) {
		t.Errorf("spread over one: %v", got)
	}
	if got := shard.Spread([]string{"a", "b"}, nil); len(got) != 2 {
		t.Errorf("of no keys the members have %v", got)
	}
}

// TestOwnersStay holds what members of other versions say.
func TestOwnersStay(t *testing.T) {
	s := shard.Of([]string{"m1", "m2", "m3"})
	for key, want := range map[string]string{
		"": "m3", "shop.example.com:443": "m3", "10.0.0.7:8443": "m2", "mail.example.com:25": "m2", "größe.example:443": "m3",
	} {
		if got := s.Owner(key); got != want {
			t.Errorf("%q belongs to %s, and belonged to %s before", key, got, want)
		}
	}
}

func BenchmarkSpread(b *testing.B) {
	names, keys := members(10), endpoints(1_000_000)
	for b.Loop() {
		if got := shard.Spread(names, keys); len(got) != 10 {
			b.Fatal(len(got))
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/key")
}
