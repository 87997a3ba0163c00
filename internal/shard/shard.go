// Package shard spreads endpoints over members by rendezvous hashing: each key belongs to the
// member with the highest hash of both, so that a member that joins or leaves moves only its
// own share. The app asks it which endpoints this member probes. It is pure, and says the same in every process
// and every version: members of two versions share the work while one after the other is updated.
package shard

import (
	"slices"
)

// Set is a set of members. The zero value has none, to whom nothing belongs.
type Set struct {
	members []string // sorted, each once
	hashes  []uint64
}

// Of returns the set of these members; their order does not matter, nor that one is named twice.
func Of(members []string) Set {
	s := Set{members: slices.Clone(members)}
	slices.Sort(s.members)
	s.members = slices.Compact(s.members)
	for _, member := range s.members {
		s.hashes = append(s.hashes, hash(member))
	}
	return s
}

// Owner returns the member that a key belongs to; empty where there is none.
func (s Set) Owner(key string) string {
	if len(s.members) == 0 {
		return ""
	}
	h, best, highest := hash(key), 0, uint64(0)
	for i, member := range s.hashes {
		if weight := mix(h ^ member); weight > highest {
			best, highest = i, weight
		}
	}
	return s.members[best]
}

// Mine reports whether a key belongs to a member. A member that the set does not have is taken into it: it is
// alive, as it asks, whatever is known of it elsewhere.
func Mine(member string, members []string, key string) bool {
	return Of(append(slices.Clone(members), member)).Owner(key) == member
}

// Spread returns the keys of each member, in the order given. Members without any are in it too.
func Spread(members, keys []string) map[string][]string {
	s := Of(members)
	spread := make(map[string][]string, len(s.members))
	for _, member := range s.members {
		spread[member] = make([]string, 0, len(keys)/len(s.members))
	}
	if len(s.members) == 0 {
		return spread
	}
	for _, key := range keys {
		owner := s.Owner(key)
		spread[owner] = append(spread[owner], key)
	}
	return spread
}

// hash is FNV-1a of 64 bits, mixed.
func hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): every bit of the result depends on every bit of x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
