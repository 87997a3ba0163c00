package bundle

import (
	"context"
	"errors"
)

// What stores say that callers tell apart.
var (
	ErrNotFound  = errors.New("there is no such object")
	ErrUnchanged = errors.New("it is as it was before")
	ErrConflict  = errors.New("somebody else was there first")
)

// ErrStale says that a higher token, a later publication or another version was there first.
var ErrStale = errors.New("it is stale")

// The bounds of what is stored. A store refuses larger objects and longer listings, so that a
// broken or hostile one cannot fill the memory.
const (
	MaxObject = 1 << 20 // bytes
	MaxListed = 10000   // keys
)

// Reader is a store as consumers need it.
type Reader interface {
	// Get returns an object. Where its tag is still the known one it is [ErrUnchanged]; where
	// there is none, [ErrNotFound]. It never returns half of an object.
	Get(ctx context.Context, key, known string) (Object, error)
}

// Writer is how a store is written to. Both are atomic and durable when they return nil. After
// any other error than [ErrConflict] the object may have been written or not.
type Writer interface {
	// Create writes an object that must not exist yet, else it is [ErrConflict].
	Create(ctx context.Context, key string, data []byte) error
	// Swap replaces an object that has this tag, or makes it where the tag is empty and there is
	// none; else it is [ErrConflict]. A key is written by one of the two verbs only, ever.
	Swap(ctx context.Context, key, tag string, data []byte) error
}

// Keeper is how a store is kept small.
type Keeper interface {
	// List returns the keys of created objects that begin with the prefix, which ends in a slash,
	// in any order; those of swapped objects may be among them. More than [MaxListed] are an error.
	List(ctx context.Context, prefix string) ([]string, error)
	// Remove removes an object. One that is not there is no error.
	Remove(ctx context.Context, key string) error
}

// Store is shared storage for small objects. Keys are as [Key] makes them; those that [ValidKey]
// does not take are refused.
type Store interface {
	Reader
	Writer
	Keeper
}

// Object is what a store holds under a key.
type Object struct {
	Data []byte
	Tag  string // changes with the content; opaque
}
