package certmedic

import (
	"slices"
	"time"
)

// LocalHost names this host among the hosts of a destination.
const LocalHost = "local"

// Node is a host that copies of a certificate are installed on.
type Node struct {
	Name      string   `json:"name"`                // [LocalHost], or as the configuration names it
	Addresses []string `json:"addresses,omitempty"` // the IP addresses at which it serves, or names that resolve to them; empty: not known
}

// Rollout says how a version gets to the hosts of a destination: to some first, and then, where
// it is seen served there, to the others in waves. A zero is the usual value, which is written
// beside it.
type Rollout struct {
	Canaries  int // how many hosts get it before anybody else does: 1
	Wave      int // how many of all hosts are in a wave, in percent: 25
	Parallel  int // how many hosts are at work at the same time: 5
	Tolerated int // how many of all hosts may fail before no further wave begins, in percent: 0
}

// NodeState says how far a version came on one node.
type NodeState string

// The states of a node.
const (
	NodeWaiting     NodeState = "not_begun"   // it has not had its turn
	NodeRunning     NodeState = "running"     // it is at work
	NodeDone        NodeState = "done"        // installed, and seen served there
	NodePutBack     NodeState = "put_back"    // it failed, and is as it was before
	NodeFailed      NodeState = "failed"      // it failed, and is not as it was before
	NodeUnreachable NodeState = "unreachable" // nothing could be done; it is tried again
)

// NodeStatus is what is known of one destination on one node: what certmedic did there last. It
// is shared by all members of a cluster, and outlives them.
type NodeStatus struct {
	Destination string      `json:"destination"`
	Node        string      `json:"node"`
	State       NodeState   `json:"state"`
	Want        Fingerprint `json:"want"`              // the version that was to be installed last
	Version     Fingerprint `json:"version,omitempty"` // the version that was installed and kept last; empty: none by certmedic
	Detail      string      `json:"detail,omitempty"`  // why it is not done
	Wave        int         `json:"wave"`              // of the roll-out; 0 is that of the canaries
	Token       uint64      `json:"token"`             // with which it was done
	Since       time.Time   `json:"since"`             // since when it is in this state
	Attempts    int         `json:"attempts"`          // how often it was tried without success since it last was done
	Tried       time.Time   `json:"tried,omitzero"`    // when it was tried last
	Basis       string      `json:"basis,omitempty"`   // of the plan that was tried last, see [Action.Basis]
}

// Local reports whether a destination is on this host, beside others or not. What a version is
// pushed to is on none.
func (d Destination) Local() bool {
	return !d.Push.Some() && (len(d.Hosts) == 0 || slices.Contains(d.Hosts, LocalHost))
}

// Remote returns the other hosts that a destination is on.
func (d Destination) Remote() []string {
	return slices.DeleteFunc(slices.Clone(d.Hosts), func(host string) bool { return host == LocalHost })
}

// Lead says who acts for a certificate: one of the members of a cluster, or, on a single host, this one.
type Lead struct {
	Member string    `json:"member,omitempty"` // who acts, as far as is known; empty: nobody
	Mine   bool      `json:"mine"`             // this member does
	Token  uint64    `json:"token,omitempty"`  // of its lease, where it is this member; it only ever grows
	Lost   time.Time `json:"lost,omitzero"`    // since when the coordinator cannot be asked; zero: it can
	Since  time.Time `json:"since,omitzero"`   // since when this member has the lease
	Waits  string    `json:"waits,omitempty"`  // why this member does not act yet although it has the lease
}
