package acmelog

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what is read.
type Options struct {
	Client Client    // empty: certbot
	Path   string    // the folder of the logs, or one file; empty: certbot's /var/log/letsencrypt
	Since  time.Time // runs that ended before are left out; zero: none
	Runs   int       // how many of the newest runs are read; 0: 200

	// Early is the folder in which certbot leaves the log of a run that ended before it had its
	// lock on the folder of the logs, usually /tmp. Empty: it is not looked at.
	Early string
}

// defaultFolder is where certbot logs, unless it is told otherwise.
const defaultFolder = "/var/log/letsencrypt"

// The bounds of reading.
const (
	defaultRuns  = 200
	maxFile      = 16 << 20  // bytes of one file; of a larger one the end is read
	maxCounted   = 512 << 20 // bytes of the file of which the end is read: its lines are counted
	maxRead      = 64 << 20  // bytes of all files
	maxNames     = 10000     // files in a folder
	maxRenewals  = 100_000   // of all runs, after which no older one is read
	maxEarly     = 20        // early logs
	maxEarlySize = 1 << 20
)

// Read reads a client's logs, the newest first, within bounds: the newest 16 MB of a file, 64 MB
// in all, no more runs than the options say, and no further back than to 100,000 renewals.
func Read(o Options) Log {
	var r Reader
	return r.Read(o)
}

// Reader reads logs, and those that have not changed since the last time not again. Its zero
// value is ready, and it may be used by several goroutines.
type Reader struct {
	mu    sync.Mutex
	files map[string]readFile
	holds int // renewals and files, of those
}

// readFile is what a file held when it was read.
type readFile struct {
	state   fileState
	client  Client
	runs    []Run
	problem string
}

// fileState tells one state of a file from another.
type fileState struct {
	dev, ino uint64
	size     int64
	modified int64 // unix nanoseconds
}

// maxRemembered bounds how many renewals of how many files are remembered: a run of a host with
// ten thousand lineages says something about each.
const maxRemembered = maxRenewals

// Read is [Read], and remembers.
func (r *Reader) Read(o Options) Log {
	o.Client = cmp.Or(o.Client, Certbot)
	o.Runs = cmp.Or(o.Runs, defaultRuns)
	if o.Path == "" && o.Client == Certbot {
		o.Path = defaultFolder
	}
	log := Log{Folder: o.Path}
	files, err := logFiles(o)
	if err != nil {
		log.None, log.Problem = errors.Is(err, fs.ErrNotExist), err.Error()
	}
	if len(files) > 0 && files[0] == o.Path {
		log.Folder = filepath.Dir(o.Path)
	}
	log.Runs = r.newest(o, files, &log)
	if o.Early != "" {
		log.Runs = merged(log.Runs, r.early(o))
	}
	log.Runs = slices.DeleteFunc(log.Runs, func(run Run) bool { return run.Ended.Before(o.Since) })
	if len(log.Runs) > 0 {
		log.Oldest = log.Runs[0].Started
	}
	return log
}

// newest reads the files, the newest first, until there are enough runs or they get too old.
func (r *Reader) newest(o Options, files []string, log *Log) []Run {
	var all [][]Run
	var budget int64 = maxRead
	count, renewals := 0, 0
	for _, file := range files {
		if count >= o.Runs || renewals >= maxRenewals {
			break
		}
		if budget <= 0 {
			log.Problem = cmp.Or(log.Problem, fmt.Sprintf("only the newest %d MB of the logs in %q were read", maxRead>>20, log.Folder))
			break
		}
		read := r.file(o.Client, file, maxFile)
		budget -= read.state.size
		log.Problem = cmp.Or(log.Problem, read.problem)
		runs := read.runs[max(0, len(read.runs)-(o.Runs-count)):]
		all = append(all, runs)
		count, renewals = count+len(runs), renewals+weight(runs)
		if n := len(runs); n > 0 && runs[n-1].Ended.Before(o.Since) {
			break
		}
	}
	slices.Reverse(all)
	return slices.Concat(all...)
}

// file reads one file, unless it is as it was when it was read before.
func (r *Reader) file(client Client, path string, limit int64) readFile {
	r.mu.Lock()
	known, ok := r.files[path]
	r.mu.Unlock()
	if ok && known.client == client && known.state == stateOf(path) {
		return known
	}
	data, before, state, err := load(path, limit)
	read := readFile{state: state, client: client}
	if errors.Is(err, fs.ErrNotExist) && ok {
		return read // rotated away meanwhile
	}
	if err != nil {
		read.problem = err.Error()
	}
	read.runs = runsOf(client, path, data, before)
	if err == nil {
		r.remember(path, read)
	}
	return read
}

// remember keeps what was read; everything else is forgotten where there is no room.
func (r *Reader) remember(path string, read readFile) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds += 1 + weight(read.runs)
	if r.files == nil || r.holds > maxRemembered {
		r.files, r.holds = map[string]readFile{}, 1+weight(read.runs)
	}
	r.files[path] = read
}

// weight is how many renewals runs are about.
func weight(runs []Run) int {
	n := 0
	for _, run := range runs {
		n += len(run.Renewals)
	}
	return n
}

// runsOf returns the runs in a log of which some lines before the data were left out.
func runsOf(client Client, path string, data []byte, before int) []Run {
	var runs []Run
	switch client {
	case Lego:
		runs = legoRuns(path, data, before)
	case ACMESh:
		runs = acmeshRuns(path, data, before)
	default:
		runs = certbotRuns(path, data, before)
	}
	if before > 0 && len(runs) > 1 {
		return runs[1:] // what began it was left out
	}
	return runs
}

func stateOf(path string) fileState {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return fileState{}
	}
	return newState(&st)
}

func newState(st *unix.Stat_t) fileState {
	return fileState{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, modified: st.Mtim.Nano()}
}

// load reads a regular file, packed or not, the last limit bytes of it. It returns how many
// lines it left out before them.
func load(path string, limit int64) (data []byte, before int, state fileState, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, state, fmt.Errorf("reading a log: %w", err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, 0, state, fmt.Errorf("reading the log %q: %w", path, err)
	}
	state = newState(&st)
	switch packed := strings.HasSuffix(path, ".gz"); {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("it is not a file")
	case packed:
		data, err = unpack(f, limit)
	case st.Size > maxCounted:
		err = fmt.Errorf("it has more than %d MB", maxCounted>>20)
	default:
		data, before, err = tail(f, st.Size, limit)
	}
	if err != nil {
		err = fmt.Errorf("reading the log %q: %w", path, err)
	}
	return data, before, state, err
}

// unpack reads what gzip packed. What was unpacked before an error is of use, too.
func unpack(f io.Reader, limit int64) ([]byte, error) {
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(unpacked, limit))
	if err == nil && int64(len(data)) == limit {
		err = fmt.Errorf("it has more than %d MB when it is unpacked", limit>>20)
	}
	return data, err
}

// tail reads the end of a file, from the beginning of a line, and counts the lines before.
func tail(f io.Reader, size, limit int64) (data []byte, before int, err error) {
	in := bufio.NewReaderSize(f, 1<<16)
	for skip := size - limit; skip > 0; {
		part, err := in.ReadSlice('\n')
		skip -= int64(len(part))
		if err == nil {
			before++
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, before, err
		}
	}
	data, err = io.ReadAll(io.LimitReader(in, limit))
	return data, before, err
}
