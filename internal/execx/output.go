package execx

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/redact"
)

// cutMark stands where output was left out.
const cutMark = "\n[... output left out ...]\n"

// output is the pair of files that a command writes to.
type output struct {
	stdout, stderr *stream
	temporary      string // folder to remove, where the caller gave none
}

// stream is one output file, of which the beginning and the end are kept.
type stream struct {
	file *os.File
	half int64  // bytes kept of either side
	head []byte // the beginning, once the file was cut
	tail []byte // what preceded the last cut
	cut  bool
}

// openOutput creates both files. They are opened for appending, so that a writer goes
// on at the beginning after they were cut.
func openOutput(dir string, maxOutput int64) (*output, error) {
	out := &output{}
	if dir == "" {
		temporary, err := os.MkdirTemp("", "certmedic-run-")
		if err != nil {
			return nil, fmt.Errorf("creating a folder for its output: %w", err)
		}
		out.temporary, dir = temporary, temporary
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating a folder for its output: %w", err)
	}
	flags := os.O_RDWR | os.O_CREATE | os.O_TRUNC | os.O_APPEND | syscall.O_NOFOLLOW
	if err := out.open(dir, flags, maxOutput); err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

// reopenOutput opens the files of a command that an earlier watchdog started.
func reopenOutput(dir string, maxOutput int64) (*output, error) {
	if dir == "" {
		return nil, errors.New("its output was not kept")
	}
	out := &output{}
	if err := out.open(dir, os.O_RDWR|syscall.O_NOFOLLOW, maxOutput); err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

func (o *output) open(dir string, flags int, maxOutput int64) error {
	if maxOutput <= 0 {
		maxOutput = DefaultMaxOutput
	}
	stdout, errOut := os.OpenFile(filepath.Join(dir, "stdout"), flags, 0o600)
	stderr, errErr := os.OpenFile(filepath.Join(dir, "stderr"), flags, 0o600)
	o.stdout = &stream{file: stdout, half: maxOutput / 2}
	o.stderr = &stream{file: stderr, half: maxOutput / 2}
	if err := errors.Join(errOut, errErr); err != nil {
		return fmt.Errorf("opening its output files: %w", err)
	}
	return nil
}

// close closes the files. A temporary folder is removed with them; a command that still
// writes there keeps its descriptors and is not disturbed.
func (o *output) close() {
	for _, s := range []*stream{o.stdout, o.stderr} {
		if s != nil && s.file != nil {
			_ = s.file.Close() // only read and truncated: nothing of ours can be lost
		}
	}
	if o.temporary != "" {
		_ = os.RemoveAll(o.temporary) // a leftover in the temporary folder hurts nobody
	}
}

// trim cuts files that have grown too long.
func (o *output) trim() {
	o.stdout.trim()
	o.stderr.trim()
}

// readInto puts both streams into the run, as plain text without secrets.
func (o *output) readInto(run certmedic.Run) certmedic.Run {
	var cutOut, cutErr bool
	run.Stdout, cutOut = o.stdout.text()
	run.Stderr, cutErr = o.stderr.text()
	run.Truncated = cutOut || cutErr
	return run
}

// trim keeps the beginning and the last bytes of a file that has grown past twice its
// half, and empties it. What is written between the two is lost, as is the middle.
func (s *stream) trim() {
	size := s.size()
	if size <= 2*s.half {
		return
	}
	if !s.cut {
		s.head = s.read(0, s.half)
	}
	s.tail = s.read(size-s.half, s.half)
	s.cut = true
	_ = s.file.Truncate(0) // tried again at the next tick
}

// text returns what was kept, and whether something was left out.
func (s *stream) text() (string, bool) {
	s.trim()
	rest := s.read(0, 2*s.half)
	if !s.cut {
		return clean(rest), false
	}
	tail := append(s.tail, rest...)
	tail = tail[max(0, int64(len(tail))-s.half):]
	// Cleaned as one: a key whose middle was left out has its begin in the head and its
	// end in the tail.
	return clean([]byte(string(s.head) + cutMark + string(tail))), true
}

func (s *stream) size() int64 {
	info, err := s.file.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

func (s *stream) read(offset, length int64) []byte {
	data, err := io.ReadAll(io.NewSectionReader(s.file, offset, length))
	if err != nil {
		return fmt.Appendf(nil, "[reading the output: %v]", err)
	}
	return data
}

func clean(output []byte) string { return redact.Text(redact.Plain(string(output))) }
