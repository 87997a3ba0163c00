package bench_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// poll is how often is looked whether something has happened.
const poll = 100 * time.Millisecond

// process is a program that was started and ends with the test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	ended  bool
}

// start starts a program with more in its environment. What it writes to standard error
// is the test's.
func start(t *testing.T, program string, env []string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	t.Cleanup(p.stop)
	return p
}

// stop ends the process and waits for it.
func (p *process) stop() {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// ask asks a child for its counter.
func (p *process) ask() int {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin); err != nil {
		p.t.Fatal(err)
	}
	text, err := p.stdout.ReadString('\n')
	if err != nil {
		p.t.Fatalf("asking %q for its counter: %v", p.cmd.Path, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// perProbe returns how many microseconds the process spends on the processor for each of
// what is counted. Counting is outside of what is measured.
func (p *process) perProbe(count func() int) float64 {
	p.t.Helper()
	counted := -count()
	spent := -p.cpu()
	time.Sleep(span)
	spent += p.cpu()
	counted += count()
	if counted == 0 {
		p.t.Fatalf("%s: nothing was probed", p.cmd.Path)
	}
	return float64(spent.Microseconds()) / float64(counted)
}

// tick is the unit of the times in /proc/PID/stat; it is the same on every Linux.
const tick = 10 * time.Millisecond

// cpu returns the time that the process has spent on the processor, in user and in kernel
// mode (proc_pid_stat(5), fields 14 and 15).
func (p *process) cpu() time.Duration {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	var sum time.Duration
	for _, text := range fields[11:13] {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		sum += time.Duration(n) * tick
	}
	return sum
}

// resident returns the most memory, in bytes, that the process has in a span of time
// (VmRSS, looked at every 100 ms).
func (p *process) resident(in time.Duration) int64 {
	p.t.Helper()
	var most int64
	for end := time.Now().Add(in); time.Now().Before(end); time.Sleep(poll) {
		most = max(most, p.status("VmRSS:"))
	}
	return most
}

// status returns a line of /proc/PID/status that is in kB, in bytes.
func (p *process) status(name string) int64 {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	for text := range strings.Lines(string(data)) {
		fields := strings.Fields(text)
		if len(fields) < 2 || fields[0] != name {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			p.t.Fatal(err)
		}
		return n * 1024
	}
	return 0
}
