// Package access says who may read a file, from the modes of the file and of all folders above
// it, their access control lists (POSIX.1e, as extended attributes), SELinux's label and
// AppArmor's profile. internal/diagnose asks it whether a service can read its key;
// internal/audit asks it who else can. It reads attributes only, never contents.
//
// What modes and lists allow is decided as Linux does. Policies of SELinux are not read: what is
// known of the shipped ones is told, and is sure only where SELinux enforces.
package access

import (
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/certmedic/certmedic/probe/host/access/apparmor"
)

// Identity is who wants to read.
type Identity struct {
	Name         string // of the user, for people
	UID          int
	GIDs         []int
	Label        string   // of SELinux or AppArmor, as the kernel has it; empty: unconfined
	Capabilities *uint64  // effective ones, as bits (capabilities(7)); nil: all for root, and none for others
	UserIDs      [][2]int // the users whose files the capabilities reach, as first and number, of a user namespace; nil: all
	GroupIDs     [][2]int // the same of groups
}

// Means says what keeps somebody out.
type Means string

// The means, in the order in which the kernel asks them.
const (
	Mode     Means = "mode"
	ACL      Means = "acl"
	SELinux  Means = "selinux"
	AppArmor Means = "apparmor"
)

// Denial is a thing that keeps an identity from reading a path.
type Denial struct {
	Path string // the file or the folder above it
	By   Means
	Why  string // such as "drwx------ root:root: nginx (uid 33) may not enter it"
	Sure bool   // false: what the kernel would say depends on a policy that was not read whole
}

// Reads says what keeps an identity from reading a file, following links as the kernel does;
// none where it can. All that has to be mended is told, what the kernel asks first at first. The
// path is absolute; one that does not exist is [fs.ErrNotExist].
func Reads(who Identity, path string) (denied []Denial, err error) {
	return ReadsIn("/", who, path)
}

// ReadsIn is [Reads] for a path as it is seen below another root, such as /proc/PID/root of a
// process in a container. Links are followed inside it.
func ReadsIn(root string, who Identity, path string) (denied []Denial, err error) {
	return here().reads(root, who, path)
}

// host is where a host says what it enforces, and who is who.
type host struct {
	protectedLinks string // the kernel's setting
	selinux        string // its file system
	profiles       string // AppArmor's
	accounts       accounts
}

func here() host {
	return host{"/proc/sys/fs/protected_symlinks", "/sys/fs/selinux", "/etc/apparmor.d", accounts{"/etc/passwd", "/etc/group"}}
}

func (h host) reads(root string, who Identity, path string) ([]Denial, error) {
	way, err := walk(root, path)
	if err != nil {
		return nil, fmt.Errorf("looking at who may read %q: %w", path, err)
	}
	names := names{}
	if root == "/" { // else the users are those of a container, of whom this host knows numbers only
		names = h.accounts.names()
	}
	protected := firstByte(h.protectedLinks) == '1'
	var denied []Denial
	for _, n := range way {
		denied = append(denied, n.denials(who, names, protected)...)
	}
	label, mode := splitLabel(who.Label)
	switch mode {
	case ofSELinux:
		denied = append(denied, h.bySELinux(label, way)...)
	case ofAppArmor:
		denied = append(denied, h.byAppArmor(label, who, way[len(way)-1])...)
	}
	return denied, nil
}

// kind says whose a label is.
type kind int

const (
	ofNobody kind = iota // nothing is enforced
	ofSELinux
	ofAppArmor
)

// splitLabel says whose a label is, and returns what of it names the profile or the domain.
// AppArmor has "PROFILE (MODE)", SELinux "USER:ROLE:TYPE:LEVEL".
func splitLabel(label string) (string, kind) {
	if label == "" || label == "unconfined" {
		return "", ofNobody
	}
	if begin := strings.LastIndex(label, " ("); begin > 0 && strings.HasSuffix(label, ")") {
		switch label[begin+2 : len(label)-1] {
		case "enforce", "kill":
			return label[:begin], ofAppArmor
		default:
			return "", ofNobody
		}
	}
	if parts := strings.Split(label, ":"); len(parts) >= 3 && parts[0] != "" {
		return parts[2], ofSELinux
	}
	return label, ofAppArmor
}

func (h host) byAppArmor(profile string, who Identity, file node) []Denial {
	verdict, err := apparmor.Reads(h.profiles, profile, file.path, who.UID == file.uid)
	if err != nil || verdict.Allowed {
		return nil // of a profile that is not found nothing is known
	}
	return []Denial{{Path: file.path, By: AppArmor, Why: verdict.Why, Sure: verdict.Sure}}
}

// Facts are a file's owner and modes, for people and for audits.
type Facts struct {
	Path       string
	Owner      string // user:group, as names where there are any
	Mode       uint32 // permission bits, with those of setuid, setgid and the sticky bit as in chmod(1)
	ACL        bool   // it has an access control list beyond its mode
	Label      string // of SELinux; empty where there is none
	Link       string // where it leads, if it is a link
	OthersRead bool   // anybody on the host can read it, the folders above it considered; of a link: what it leads to
}

// Look returns the facts of a path, without following a last link.
func Look(path string) (Facts, error) {
	h := here()
	n, err := inspect("/", path)
	if err != nil {
		return Facts{}, fmt.Errorf("looking at %q: %w", path, err)
	}
	facts := Facts{Path: path, Owner: h.accounts.names().owner(n), Mode: n.mode & 0o7777, ACL: n.acl.extended(), Label: n.label}
	if n.kind == fs.ModeSymlink {
		if facts.Link, err = os.Readlink(path); err != nil {
			return Facts{}, fmt.Errorf("looking at %q: %w", path, err)
		}
	}
	denied, err := h.reads("/", Identity{UID: nobody}, path)
	facts.OthersRead = err == nil && len(denied) == 0
	return facts, nil
}

// nobody is a user that no file belongs to.
const nobody = -1

func firstByte(path string) byte {
	data, err := os.ReadFile(path)
	if err != nil || len(data) == 0 {
		return 0
	}
	return data[0]
}
