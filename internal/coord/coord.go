package coord

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The kinds of refusals that callers tell apart.
var (
	ErrHeld  = errors.New("another member holds the lease")
	ErrLost  = errors.New("the lease is not held any more")
	ErrStale = errors.New("a higher token, or another version, was there first")
)

// The bounds of what is kept.
const (
	MaxName  = 300       // bytes of a name or a key
	MaxValue = 256 << 10 // bytes of a record's value
)

// Engine is one member's session with what the members share. Its methods are safe for
// concurrent use, and none takes longer than the engine's bound on a call, 5 s by default,
// but for [Members.Watch].
type Engine interface {
	Coordinator
	Records
	Members
	// Close ends what the session still runs, and waits for it. Leases that were not released end
	// by themselves, if not before.
	io.Closer
}

// Coordinator is where members agree.
type Coordinator interface {
	// Acquire takes the lease of a name, which is a certificate's or an account's, for the time
	// to live that the coordinator was made with. It does not wait: [ErrHeld] says that another session has it, and the lease
	// returned with it says whose. Acquiring what one holds renews it, with the same token.
	Acquire(ctx context.Context, name string) (Lease, error)
	// Renew extends a lease from now on. [ErrLost] says that it ended meanwhile, by the engine's
	// clock or by this member's own. With any other error the lease is as it was, or was extended.
	Renew(ctx context.Context, l Lease) (Lease, error)
	// Release ends a lease at once. One that is lost already is no error.
	Release(ctx context.Context, l Lease) error
}

// Records are small values under names that members share. A write is a compare-and-swap.
type Records interface {
	// Get returns a record; ok is false where there is none.
	Get(ctx context.Context, key string) (r Record, ok bool, err error)
	// Put writes a value if the record has this revision (0: if there is none yet) and the
	// token is not lower than the record's. [ErrStale] says that it was not so; any other error
	// leaves open whether it was written.
	Put(ctx context.Context, key string, revision, token uint64, value []byte) (Record, error)
	// List returns the records whose keys begin with a prefix, by key.
	List(ctx context.Context, prefix string) ([]Record, error)
}

// Members are the members that live.
type Members interface {
	// Join makes this member known, and keeps it known until ctx ends or the engine is closed,
	// through failures of the engine too; it returns once others can see it. The name is the one that
	// the engine was made with.
	Join(ctx context.Context, m Member) error
	// Watch hands the living members, by name, to changed, now and after each change, until ctx
	// ends, and returns the error of ctx. It outlives failures of the engine; the members are then as they
	// were last seen. A member that leaves is gone soon, one that died after the time to live.
	Watch(ctx context.Context, changed func([]Member)) error
}

// Lease says who may act for a name, and until when.
type Lease struct {
	Name    string
	Member  string
	Token   uint64    // higher than that of every lease of this name before
	Expires time.Time // by the clock of this member, on the safe side; another's may be unknown, and zero
	Opaque  string    // what the engine needs to know it again
}

// Holds reports whether the lease has not ended. It goes by the wall clock and by the monotonic
// one, whichever is further: one of them stands still while a machine sleeps, the other can be set back.
func (l Lease) Holds(now time.Time) bool {
	return l.Token != 0 && now.Before(l.Expires) && now.Round(0).Before(l.Expires.Round(0))
}

// Expiry returns until when a member may count on a lease that it asked for at start: a tenth of
// the time to live less than all of it, so that clocks may differ in speed by as much.
func Expiry(start time.Time, ttl time.Duration) time.Time { return start.Add(ttl - ttl/10) }

// Record is a value that members share.
type Record struct {
	Key      string    `json:"key"`
	Value    []byte    `json:"value"`
	Token    uint64    `json:"token"`    // of who wrote it
	Revision uint64    `json:"revision"` // grows with each write, and is never 0
	Time     time.Time `json:"time"`     // of the write, by the engine's clock where it has one, else by the writer's
}

// Member is one certmedic of several.
type Member struct {
	Name    string    `json:"name"`
	Address string    `json:"address,omitempty"` // of its API, for the others; empty: it has none
	Started time.Time `json:"started"`
}

// Equal reports whether two say the same.
func (m Member) Equal(o Member) bool {
	return m.Name == o.Name && m.Address == o.Address && m.Started.Equal(o.Started)
}

// CheckName says what is wrong with the name of a lease or a member, or with the key of a record.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is empty")
	case len(name) > MaxName:
		return fmt.Errorf("the name %.40q... has %d bytes, more than %d", name, len(name), MaxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the name %q holds what is no text", name)
	}
	return nil
}

// CheckRecord says what is wrong with a record that is to be written.
func CheckRecord(key string, value []byte) error {
	if len(value) > MaxValue {
		return fmt.Errorf("the record %q has %d bytes, more than %d", key, len(value), MaxValue)
	}
	return CheckName(key)
}
