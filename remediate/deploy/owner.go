package deploy

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/certmedic/certmedic"
)

// becomes returns the mode and the owner that a file will have: those that are configured,
// else those of the file that it replaces, else those of a new file. What cannot be told now
// is left as it is configured, and shows when the file is staged.
func becomes(f certmedic.InstalledFile) (mode, owner string) {
	mode, owner = f.Mode, f.Owner
	uid, gid := os.Geteuid(), os.Getegid()
	perm := defaultMode(f.From)
	info, err := os.Stat(f.To)
	if err == nil {
		if perm = info.Mode().Perm(); f.From.HasKey() {
			perm &^= 0o007 // what was there may have held no key; who wants all to read it says so by mode
		}
	} else if info, err = os.Stat(filepath.Dir(f.To)); err == nil && info.Mode()&fs.ModeSetgid == 0 {
		info = nil // only a folder with the set-group-ID bit gives its group to what is made in it
	}
	if info != nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			gid = int(stat.Gid)
			if !info.IsDir() {
				uid = int(stat.Uid)
			}
		}
	}
	if mode == "" {
		mode = fmt.Sprintf("%04o", perm)
	}
	if owner == "" {
		owner = userName(uid) + ":" + groupName(gid)
	}
	return mode, owner
}

func defaultMode(part certmedic.FilePart) fs.FileMode {
	if part.HasKey() {
		return 0o600
	}
	return 0o644
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func groupName(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return g.Name
	}
	return strconv.Itoa(gid)
}

// modeOf parses the mode of a file; without one it is that of a new file.
func modeOf(f File) (fs.FileMode, error) {
	if f.Mode == "" {
		return defaultMode(f.From), nil
	}
	mode, err := strconv.ParseUint(f.Mode, 8, 12)
	if err != nil {
		return 0, fmt.Errorf("mode %q is not octal", f.Mode)
	}
	return fs.FileMode(mode), nil
}

// ownerOf resolves "user:group", by name or by number; -1 keeps what is there.
func ownerOf(owner string) (uid, gid int, err error) {
	uid, gid = -1, -1
	name, group, _ := strings.Cut(owner, ":")
	if name != "" {
		if uid, err = userID(name); err != nil {
			return -1, -1, fmt.Errorf("looking up user %q: %w", name, err)
		}
	}
	if group != "" {
		if gid, err = groupID(group); err != nil {
			return -1, -1, fmt.Errorf("looking up group %q: %w", group, err)
		}
	}
	return uid, gid, nil
}

func userID(name string) (int, error) {
	u, err := user.Lookup(name)
	if err == nil {
		name = u.Uid
	}
	if id, bad := strconv.Atoi(name); bad == nil && id >= 0 {
		return id, nil
	}
	return -1, err
}

func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err == nil {
		name = g.Gid
	}
	if id, bad := strconv.Atoi(name); bad == nil && id >= 0 {
		return id, nil
	}
	return -1, err
}
