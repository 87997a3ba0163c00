package ownership

import (
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// accounts are the local user and group databases.
type accounts struct{ passwd, group string }

func local() accounts { return accounts{"/etc/passwd", "/etc/group"} }

// private reports whether a group has the user as its only member, as distributions set up
// one for each user. A group that the local databases do not know is not private: who is in
// it cannot be said.
func (a accounts) private(gid, uid uint32) bool {
	owner := ""
	for _, fields := range records(a.passwd, 4) {
		switch {
		case fields[2] == number(uid):
			owner = fields[0]
		case fields[3] == number(gid):
			return false
		}
	}
	known := false
	for _, fields := range records(a.group, 4) {
		if fields[2] != number(gid) {
			continue
		}
		for member := range strings.SplitSeq(fields[3], ",") {
			if member != "" && member != owner {
				return false
			}
		}
		known = true
	}
	return known && owner != ""
}

func number(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// maxDatabase bounds what is read of a database, in bytes.
const maxDatabase = 16 << 20

// records returns the lines of a database with at least so many fields.
func records(file string, least int) [][]string {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // in a tree of others a pipe may stand there
	if err != nil {
		return nil // nothing is known, so nothing is private
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxDatabase))
	if err != nil {
		return nil
	}
	var all [][]string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) >= least {
			all = append(all, fields)
		}
	}
	return all
}
