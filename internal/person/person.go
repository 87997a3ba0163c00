// Package person names the people behind processes, for records of who decided what. The web server
// asks it about the peer of the socket, commands ask it about themselves.
//
// It promises that a process cannot choose the name: that follows from its user id, and from the one
// with which its session was logged in to (proc(5), /proc/PID/loginuid), which sudo does not change.
package person

import (
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// OfProcess names the person behind a process of a user: "root (uid 0)", or, where that user is not
// who logged in, "ada (uid 1000, as root)".
func OfProcess(pid, uid int) string {
	login, ok := loginOf(pid)
	if !ok || login == uid {
		return fmt.Sprintf("%s (uid %d)", nameOf(uid), uid)
	}
	return fmt.Sprintf("%s (uid %d, as %s)", nameOf(login), login, nameOf(uid))
}

// loginOf returns with which user the session of a process was logged in to, where the kernel knows.
func loginOf(pid int) (uid int, ok bool) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/loginuid")
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 32)
	if err != nil || n == math.MaxUint32 {
		return 0, false // nobody did, as for services
	}
	return int(n), true
}

// nameOf returns the name of a user, or its number where it has none.
func nameOf(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "user " + strconv.Itoa(uid)
	}
	return u.Username
}
