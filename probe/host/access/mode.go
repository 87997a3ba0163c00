package access

import (
	"fmt"
	"io/fs"
	"slices"
)

// The capabilities that pass over modes and lists, as bits (capabilities(7)).
const (
	overrides = 1 << 1 // CAP_DAC_OVERRIDE
	readsAll  = 1 << 2 // CAP_DAC_READ_SEARCH
)

// passes reports whether modes and lists do not keep somebody from searching and reading. The
// capabilities of a user namespace count for the files of its users and groups.
func (who Identity) passes(n node) bool {
	if who.Capabilities == nil {
		return who.UID == 0
	}
	if *who.Capabilities&(overrides|readsAll) == 0 {
		return false
	}
	return who.UserIDs == nil || among(who.UserIDs, n.uid) && among(who.GroupIDs, n.gid)
}

func among(ranges [][2]int, id int) bool {
	return slices.ContainsFunc(ranges, func(r [2]int) bool { return id >= r[0] && id-r[0] < r[1] })
}

// String returns the identity for people, such as "nginx (uid 33)".
func (who Identity) String() string {
	switch {
	case who.UID == nobody:
		return "any other user"
	case who.Name == "":
		return fmt.Sprintf("uid %d", who.UID)
	default:
		return fmt.Sprintf("%s (uid %d)", who.Name, who.UID)
	}
}

// denials says what of modes and lists keeps somebody from what has to be allowed.
func (n node) denials(who Identity, names names, protectedLinks bool) []Denial {
	if n.kind == fs.ModeSymlink {
		if protectedLinks && n.protectedFrom(who) {
			why := fmt.Sprintf("a link of %s in a folder that everybody may write: the kernel lets %s not follow it (fs.protected_symlinks)", names.user(n.uid), who)
			return []Denial{{Path: n.path, By: Mode, Why: why, Sure: true}}
		}
		return nil
	}
	by, allowed := n.allows(who)
	if allowed || who.passes(n) {
		return nil
	}
	what := fmt.Sprintf("%s %s", modeText(n.kind, n.mode), names.owner(n))
	if by == ACL {
		what += " with the access control list " + n.acl.text(names)
	}
	do := "read"
	if n.want == maySearch {
		do = "enter"
	}
	return []Denial{{Path: n.path, By: by, Why: fmt.Sprintf("%s: %s may not %s it", what, who, do), Sure: true}}
}

// protectedFrom reports whether a last link is followed by its owner only: those in folders
// that everybody may write and that have the sticky bit, as /tmp, unless the folder's owner
// made them.
func (n node) protectedFrom(who Identity) bool {
	const open = 0o1002
	return n.within.mode&open == open && n.uid != who.UID && n.uid != n.within.uid
}

// allows decides as acl_permission_check of the kernel does: the owner by the mode, then all
// others by the list, if there is one whose mask leaves anything, else by the mode.
func (n node) allows(who Identity) (Means, bool) {
	group := n.mode >> 3 & 7
	switch {
	case who.UID == n.uid:
		return Mode, n.mode>>6&n.want == n.want
	case n.acl != nil && group != 0:
		return ACL, n.acl.allows(who, n)
	case slices.Contains(who.GIDs, n.gid):
		return Mode, group&n.want == n.want
	default:
		return Mode, n.mode&n.want == n.want
	}
}

// modeText writes a mode as ls(1) does.
func modeText(kind fs.FileMode, mode uint32) string {
	m := kind | fs.FileMode(mode&0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			m |= flag
		}
	}
	return m.String()
}
