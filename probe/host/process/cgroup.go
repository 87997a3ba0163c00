package process

import (
	"regexp"
	"strings"
)

// parseControlGroups reads /proc/PID/cgroup: the unit of the host's systemd, that of a user's
// systemd below it, and the container. The second version of control groups has one line,
// "0::/system.slice/nginx.service"; the first has one for each controller, of which systemd's
// own is called name=systemd.
func parseControlGroups(text string) (unit, userUnit, container string) {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) < 3 {
			continue
		}
		names, id := outside(strings.Split(parts[2], "/"))
		if container == "" {
			container = id
		}
		if parts[1] != "" && parts[1] != "name=systemd" || unit != "" {
			continue
		}
		unit, userUnit = units(names)
	}
	return unit, userUnit, container
}

// units returns the first unit of a path, and the last one below a user's systemd. Folders
// that a unit makes for itself come behind its name.
func units(names []string) (unit, userUnit string) {
	for _, name := range names {
		name = strings.TrimPrefix(name, "_") // systemd's escape for names that the kernel keeps for itself
		switch {
		case !isUnit(name):
		case unit == "":
			unit = name
		case userUnit == "" && strings.HasPrefix(unit, "user@"):
			userUnit = name
		}
	}
	return unit, userUnit
}

// isUnit reports whether a name is that of a unit that has processes of its own.
func isUnit(name string) bool {
	for _, suffix := range []string{".service", ".scope", ".socket", ".mount", ".swap"} {
		if len(name) > len(suffix) && strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// outside returns the folders of a control group up to the one that names a container, and the
// container. What is below belongs to the container's own systemd.
func outside(names []string) (host []string, container string) {
	for i, name := range names {
		before := ""
		if i > 0 {
			before = names[i-1]
		}
		if container = containerOf(before, name); container != "" {
			return names[:i+1], container
		}
	}
	return names, ""
}

// identified matches the folders of docker, podman, containerd, CRI-O and Kubernetes: the ID,
// alone or behind the name of what made it.
var identified = regexp.MustCompile(`^(?:(.*)[-:])?([0-9a-f]{64})(?:\.scope)?$`)

// containerOf returns the container that a folder of a control group stands for, if any. Those
// of what only looks after a container (conmon, lxc.monitor) and of virtual machines are none.
func containerOf(before, name string) string {
	if match := identified.FindStringSubmatch(name); match != nil {
		if strings.HasSuffix(match[1], "conmon") {
			return ""
		}
		return match[2]
	}
	if machine, ok := strings.CutPrefix(name, "lxc.payload."); ok {
		return machine
	}
	if before == "lxc" || before == "lxc.payload" {
		return name
	}
	if machine, ok := cutBoth(name, "machine-", ".scope"); ok && before == "machine.slice" {
		if machine = unescape(machine); !strings.HasPrefix(machine, "qemu-") {
			return machine
		}
	}
	if machine, ok := cutBoth(name, "systemd-nspawn@", ".service"); ok {
		return unescape(machine)
	}
	return ""
}

func cutBoth(text, prefix, suffix string) (string, bool) {
	text, begins := strings.CutPrefix(text, prefix)
	text, ends := strings.CutSuffix(text, suffix)
	return text, begins && ends && text != ""
}

// unescape undoes systemd's escapes in the name of a unit (systemd-escape(1)), of which "-" is
// the one that names of machines need.
func unescape(name string) string {
	return strings.ReplaceAll(name, `\x2d`, "-")
}
