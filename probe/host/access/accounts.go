package access

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// maxAccounts bounds what is read of a database, in bytes.
const maxAccounts = 16 << 20

// accounts are the local user and group databases.
type accounts struct{ passwd, group string }

// Lookup returns a user's identity from /etc/passwd and /etc/group, without asking a name
// service. A number is taken as it is; of one that nobody has, no groups are known.
func Lookup(user string) (Identity, error) {
	return here().accounts.lookup(user)
}

func (a accounts) lookup(user string) (Identity, error) {
	users, err := records(a.passwd, 4)
	if err != nil {
		return Identity{}, fmt.Errorf("looking for user %q: %w", user, err)
	}
	groups, err := records(a.group, 4)
	if err != nil {
		return Identity{}, fmt.Errorf("looking for the groups of user %q: %w", user, err)
	}
	at := slices.IndexFunc(users, func(fields []string) bool { return fields[0] == user })
	if at < 0 {
		at = slices.IndexFunc(users, func(fields []string) bool { return fields[2] == user })
	}
	if at < 0 {
		if uid, err := strconv.ParseUint(user, 10, 32); err == nil {
			return Identity{UID: int(uid)}, nil
		}
		return Identity{}, fmt.Errorf("looking for user %q: %q has none of this name", user, a.passwd)
	}
	uid, err := strconv.ParseUint(users[at][2], 10, 32)
	gid, groupErr := strconv.ParseUint(users[at][3], 10, 32)
	if err != nil || groupErr != nil {
		return Identity{}, fmt.Errorf("looking for user %q: %q has no numbers for it", user, a.passwd)
	}
	who := Identity{Name: users[at][0], UID: int(uid), GIDs: []int{int(gid)}}
	for _, fields := range groups {
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err == nil && slices.Contains(strings.Split(fields[3], ","), who.Name) && !slices.Contains(who.GIDs, int(id)) {
			who.GIDs = append(who.GIDs, int(id))
		}
	}
	return who, nil
}

// names are those of users and groups, by their numbers as the databases write them.
type names struct{ users, groups map[string]string }

// names returns what the databases tell; without them numbers are shown.
func (a accounts) names() names {
	byNumber := func(file string) map[string]string {
		out := map[string]string{}
		all, _ := records(file, 3)
		for _, fields := range all {
			if _, ok := out[fields[2]]; !ok {
				out[fields[2]] = fields[0]
			}
		}
		return out
	}
	return names{byNumber(a.passwd), byNumber(a.group)}
}

func (n names) user(uid int) string  { return nameOr(n.users, uid) }
func (n names) group(gid int) string { return nameOr(n.groups, gid) }

func (n names) owner(of node) string { return n.user(of.uid) + ":" + n.group(of.gid) }

func nameOr(names map[string]string, id int) string {
	number := strconv.Itoa(id)
	if name := names[number]; name != "" {
		return name
	}
	return number
}

// records returns the lines of a database with at least so many fields.
func records(file string, least int) ([][]string, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // in a tree of others a pipe may stand there
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAccounts))
	if err != nil {
		return nil, err
	}
	var all [][]string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Split(strings.TrimSpace(line), ":"); len(fields) >= least {
			all = append(all, fields)
		}
	}
	return all, nil
}
