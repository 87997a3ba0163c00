// Package process looks at what runs on a host: processes, what they listen on, since when
// they run, which files they have open or mapped, and how a path looks from inside their mount
// namespace. It reads /proc only.
//
// internal/diagnose asks it whether what serves a certificate is older than the certificate,
// and internal/audit what listens where; discovery shares its reading of the kernel's tables of
// sockets. It promises to stop nothing and to trace nothing, and to leave out what this user may
// not see, saying so.
package process

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// Table is a look at all processes. Threads of the kernel and processes that have ended and are
// not waited for yet are left out.
type Table struct {
	Time      time.Time
	Processes []Process // by their ids
	Sockets   []Socket  // listening, and unconnected UDP, of the network namespace that was looked from
	Elsewhere []Socket  // the same, of the other namespaces, such as containers'
	Hidden    int       // processes whose files this user may not see

	hosts map[netip.Addr]uint64 // the other namespaces by their addresses; 0 where several have one
}

// Process is one process.
type Process struct {
	PID, Parent  int
	Name         string // as the kernel has it
	Exe          string // empty where it may not be seen
	ExeDeleted   bool   // its program was replaced on disk since it was started
	Argv         []string
	Start        time.Time
	UID          int      // with which it asks for files, as this host numbers users
	GIDs         []int    // the same, of its group and the supplementary ones
	Capabilities uint64   // effective ones, as bits (capabilities(7))
	UserIDs      [][2]int // of its user namespace, as first and number; nil: the namespace is that of who looks
	GroupIDs     [][2]int // the same of groups; both are as this host numbers them
	Root         string   // of its file system, as this process sees it: /proc/PID/root; empty where it may not be seen
	Mounts       uint64   // identity of its mount namespace; 0 where it may not be seen
	Net          uint64   // identity of its network namespace; 0 where it may not be seen
	Unit         string   // the systemd unit of its control group, such as nginx.service
	UserUnit     string   // the unit of a user's own systemd, where Unit is such as user@1000.service
	Container    string   // the ID of its container, from its control group; empty: none is known
	Label        string   // of SELinux or AppArmor; empty: unconfined, or neither is there
}

// Socket is a port that somebody listens on.
type Socket struct {
	Network string // tcp or udp
	Address netip.AddrPort
	Net     uint64 // identity of its network namespace; 0 where that may not be seen
	PIDs    []int  // all that hold it, masters and workers
}

// Process returns a process by its id.
func (t Table) Process(pid int) (Process, bool) {
	at, ok := slices.BinarySearchFunc(t.Processes, pid, func(p Process, pid int) int { return cmp.Compare(p.PID, pid) })
	if !ok {
		return Process{}, false
	}
	return t.Processes[at], true
}

// Listening returns the processes that answer at an address of this host, the oldest first. As
// in the kernel a socket at the very address goes before one at all addresses. One at all
// addresses of IPv6 is taken to answer for IPv4, too, as it does unless it was told not to.
func (t Table) Listening(network string, at netip.AddrPort) []Process {
	return t.holders(t.Sockets, network, at)
}

// ListeningIn is [Table.Listening] for the address of another network namespace, as
// [Process.Net] names it.
func (t Table) ListeningIn(net uint64, network string, at netip.AddrPort) []Process {
	inside := slices.DeleteFunc(slices.Clone(t.Elsewhere), func(s Socket) bool { return s.Net != net })
	return t.holders(inside, network, at)
}

func (t Table) holders(sockets []Socket, network string, at netip.AddrPort) []Process {
	at = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	closest := 0
	var pids []int
	for _, s := range sockets {
		near := nearness(s.Address, at)
		if s.Network != network || near == 0 || near < closest {
			continue
		}
		if near > closest {
			closest, pids = near, nil
		}
		pids = append(pids, s.PIDs...)
	}
	slices.Sort(pids)
	return t.oldest(slices.Compact(pids))
}

// nearness says how well a socket's address fits: 0 is not at all.
func nearness(socket, at netip.AddrPort) int {
	switch {
	case socket.Port() != at.Port():
		return 0
	case socket.Addr() == at.Addr():
		return 3
	case socket.Addr().IsUnspecified() && socket.Addr().Is4() == at.Addr().Is4():
		return 2
	case socket.Addr() == netip.IPv6Unspecified():
		return 1
	default:
		return 0
	}
}

// Children returns the processes that a process started, and theirs, the oldest first.
func (t Table) Children(pid int) []Process {
	byParent := map[int][]int{}
	for _, p := range t.Processes {
		byParent[p.Parent] = append(byParent[p.Parent], p.PID)
	}
	seen := map[int]bool{pid: true} // ids are used again: a circle is possible
	var pids []int
	for next := byParent[pid]; len(next) > 0; next = next[1:] {
		if child := next[0]; !seen[child] {
			seen[child] = true
			pids = append(pids, child)
			next = append(next, byParent[child]...)
		}
	}
	return t.oldest(pids)
}

func (t Table) oldest(pids []int) []Process {
	var out []Process
	for _, pid := range pids {
		if p, ok := t.Process(pid); ok {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(a, b Process) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(a.PID, b.PID))
	})
	return out
}
