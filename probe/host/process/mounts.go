package process

import (
	"path/filepath"
	"strconv"
	"strings"
)

// mount is a line of /proc/PID/mountinfo.
type mount struct {
	point  string // inside the process' root
	source string // what of the file system is mounted
}

// readMounts returns the mounts that a process sees; none where they may not be seen.
func readMounts(dir string) []mount {
	text, err := readText(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return nil
	}
	return parseMounts(text)
}

// parseMounts reads /proc/PID/mountinfo, as proc_pid_mountinfo(5) has it: "ID PARENT DEVICE ROOT
// POINT OPTIONS...". Of a file that was removed the root ends in "//deleted".
func parseMounts(text string) []mount {
	var out []mount
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) >= 6 {
			source := strings.TrimSuffix(unescapeOctal(fields[3]), "//deleted")
			out = append(out, mount{point: unescapeOctal(fields[4]), source: source})
		}
	}
	return out
}

// covering returns the mount point below which a path lies, and what is mounted there. Of
// several at one point the last one is seen.
func covering(mounts []mount, path string) (point, source string) {
	for _, m := range mounts {
		if len(m.point) >= len(point) && within(path, m.point) {
			point, source = m.point, m.source
		}
	}
	return point, source
}

func within(path, folder string) bool {
	rest, ok := strings.CutPrefix(path, strings.TrimSuffix(folder, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// unescapeOctal undoes the kernel's escapes for white space and backslashes, such as \040.
func unescapeOctal(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if char, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(char))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}
