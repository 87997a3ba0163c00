package process

import (
	"fmt"
	"strconv"
	"strings"
)

// deletedMark is what the kernel writes behind the path of a file that has no name any more.
const deletedMark = " (deleted)"

// kernelThread is the flag of threads of the kernel (PF_KTHREAD).
const kernelThread = 0x00200000

// stat is what /proc/PID/stat tells, as proc_pid_stat(5) has it.
type stat struct {
	name   string
	parent int
	start  uint64 // in clock ticks since the host was started
	ended  bool
	kernel bool
}

// parseStat reads /proc/PID/stat. The name is in brackets, and may hold any character.
func parseStat(text string) (stat, error) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return stat{}, fmt.Errorf("reading the state of a process: %q has no name in brackets", text)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("reading the state of a process: %q has too few fields", text)
	}
	parent, err := strconv.Atoi(fields[1])
	flags, flagsErr := strconv.ParseUint(fields[6], 10, 64)
	start, startErr := strconv.ParseUint(fields[19], 10, 63)
	if err != nil || flagsErr != nil || startErr != nil {
		return stat{}, fmt.Errorf("reading the state of a process: %q has a field that is no number", text)
	}
	return stat{
		name: text[begin+1 : end], parent: parent, start: min(start, maxTicks),
		ended: strings.Contains("ZXx", fields[0]), kernel: flags&kernelThread != 0,
	}, nil
}

// maxTicks keeps a start within what a duration can hold: a hundred years.
const maxTicks = 100 * 365 * 24 * 3600 * ticks

// parseStatus reads the identity with which a process asks for files, and its effective
// capabilities, from /proc/PID/status. What is missing there is nobody's.
func parseStatus(text string) (uid int, gids []int, capabilities uint64) {
	uid = -1
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		numbers := integers(value)
		switch {
		case key == "Uid" && len(numbers) == 4: // real, effective, saved, for files
			uid = numbers[3]
		case key == "Gid" && len(numbers) == 4:
			gids = append([]int{numbers[3]}, gids...)
		case key == "Groups":
			gids = append(gids, numbers...)
		case key == "CapEff":
			capabilities, _ = strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	return uid, gids, capabilities
}

func integers(text string) []int {
	var out []int
	for field := range strings.FieldsSeq(text) {
		if number, err := strconv.Atoi(field); err == nil {
			out = append(out, number)
		}
	}
	return out
}

// parseLabel reads /proc/PID/attr/current. AppArmor calls unconfined what no profile holds, in
// its name or in the mode behind it.
func parseLabel(text string) string {
	label := strings.TrimRight(text, "\x00\n")
	if label == "unconfined" || strings.HasSuffix(label, " (unconfined)") {
		return ""
	}
	return label
}
