package access

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// The tags of entries, as linux/posix_acl.h has them.
const (
	tagOwner = 0x01
	tagUser  = 0x02
	tagGroup = 0x04 // the file's own group
	tagNamed = 0x08 // another group
	tagMask  = 0x10
	tagOther = 0x20
)

// entry is a line of an access control list.
type entry struct {
	tag  uint16
	perm uint16
	id   uint32
}

// acl is an access control list, in the kernel's order: owner, users, groups, mask, others. nil
// is none.
type acl []entry

// parseACL reads the attribute system.posix_acl_access: version 2 in 32 bits, and 8 bytes for
// each entry, least significant byte first (linux/posix_acl_xattr.h).
func parseACL(data []byte) (acl, error) {
	if len(data) == 0 {
		return nil, nil
	}
	if len(data) < 4 || len(data)%8 != 4 || binary.LittleEndian.Uint32(data) != 2 {
		return nil, fmt.Errorf("%d bytes are no list of version 2", len(data))
	}
	var out acl
	for raw := range slices.Chunk(data[4:], 8) {
		out = append(out, entry{
			tag: binary.LittleEndian.Uint16(raw), perm: binary.LittleEndian.Uint16(raw[2:]), id: binary.LittleEndian.Uint32(raw[4:]),
		})
	}
	return out, nil
}

// extended reports whether the list says more than a mode does.
func (l acl) extended() bool {
	return slices.ContainsFunc(l, func(e entry) bool { return e.tag == tagUser || e.tag == tagNamed || e.tag == tagMask })
}

// allows decides as posix_acl_permission of the kernel does. Of several groups one that allows is
// enough; one that is there and does not keeps others' permissions from being asked.
func (l acl) allows(who Identity, n node) bool {
	inGroup := false
	for _, e := range l {
		enough := uint32(e.perm)&n.want == n.want
		switch e.tag {
		case tagOwner:
			if who.UID == n.uid {
				return enough
			}
		case tagUser:
			if uint32(who.UID) == e.id && who.UID >= 0 {
				return enough && l.mask(n.want)
			}
		case tagGroup, tagNamed:
			gid := n.gid
			if e.tag == tagNamed {
				gid = int(e.id)
			}
			if !slices.Contains(who.GIDs, gid) {
				continue
			}
			if inGroup = true; enough {
				return l.mask(n.want)
			}
		case tagOther:
			return enough && !inGroup
		}
	}
	return false
}

// mask reports whether the mask, which bounds all entries but the owner's and others', leaves a
// permission.
func (l acl) mask(want uint32) bool {
	at := slices.IndexFunc(l, func(e entry) bool { return e.tag == tagMask })
	return at < 0 || uint32(l[at].perm)&want == want
}

// text writes a list as setfacl(1) takes it.
func (l acl) text(names names) string {
	var out []string
	for _, e := range l {
		var who string
		switch e.tag {
		case tagOwner:
			who = "user:"
		case tagUser:
			who = "user:" + names.user(int(e.id))
		case tagGroup:
			who = "group:"
		case tagNamed:
			who = "group:" + names.group(int(e.id))
		case tagMask:
			who = "mask:"
		case tagOther:
			who = "other:"
		default:
			continue
		}
		perm := []byte("---")
		for i, char := range []byte("rwx") {
			if e.perm&(4>>i) != 0 {
				perm[i] = char
			}
		}
		out = append(out, who+":"+string(perm))
	}
	return strings.Join(out, ",")
}
