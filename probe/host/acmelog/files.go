package acmelog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// logFiles returns the files of a log, the newest first.
func logFiles(o Options) ([]string, error) {
	if o.Path == "" {
		return nil, errors.New("it is not known where the client logs")
	}
	info, err := os.Stat(o.Path)
	if err != nil {
		return nil, fmt.Errorf("looking for a log: %w", err)
	}
	if !info.IsDir() {
		return []string{o.Path}, nil
	}
	names, err := list(o.Path)
	base := map[Client]string{Certbot: "letsencrypt.log", Lego: "lego.log", ACMESh: "acme.sh.log"}[o.Client]
	var files []logFile
	for _, name := range names {
		if f, ok := rotated(name, base); ok {
			f.path = filepath.Join(o.Path, name)
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b logFile) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(b.date, a.date), cmp.Compare(a.path, b.path))
	})
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.path
	}
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("there is no %s in %q: %w", base, o.Path, fs.ErrNotExist)
	}
	return paths, err
}

// State tells one state of a log from another without reading it: it changes with each run that
// writes to it. It is empty where there is no log.
func State(o Options) string {
	o.Client, o.Path = cmp.Or(o.Client, Certbot), cmp.Or(o.Path, defaultFolder)
	files, _ := logFiles(o)
	if len(files) == 0 {
		return ""
	}
	return fmt.Sprintf("%d %+v", len(files), stateOf(files[0]))
}

// list returns the names in a folder, as many as are looked at.
func list(folder string) ([]string, error) {
	dir, err := os.Open(folder)
	if err != nil {
		return nil, fmt.Errorf("looking for logs: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(maxNames)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return names, fmt.Errorf("looking for logs in %q: %w", folder, err)
	case len(names) == maxNames:
		return names, fmt.Errorf("there are more than %d files in %q: not all were looked at", maxNames, folder)
	}
	return names, nil
}

// logFile is a log, and what it was renamed to since.
type logFile struct {
	path   string
	number int    // how often it was rotated, as certbot and logrotate count; of a date, more than any
	date   string // with logrotate's dateext
}

// rotated reports whether a file is a log with that base, and its place among them: "base",
// "base.1", "base.2.gz", "base-20261123.gz".
func rotated(name, base string) (logFile, bool) {
	rest, ok := strings.CutPrefix(name, base)
	rest = strings.TrimSuffix(rest, ".gz")
	switch {
	case !ok || len(rest) == 1 || strings.Trim(rest[min(1, len(rest)):], "0123456789-_") != "":
		return logFile{}, false
	case rest == "":
		return logFile{}, true
	case rest[0] == '-':
		return logFile{number: maxNames * maxNames, date: rest[1:]}, true
	}
	number, err := strconv.Atoi(rest[1:])
	return logFile{number: number}, err == nil && rest[0] == '.' && number > 0
}

// early returns the runs of certbot that never got as far as its log, the oldest first: while
// another run has the lock of its folder, each leaves a log of its own. Only folders of root, or
// of whoever runs certmedic, are believed.
func (r *Reader) early(o Options) []Run {
	names, err := filepath.Glob(filepath.Join(o.Early, "certbot-log-*", "log"))
	if err != nil || o.Client != Certbot {
		return nil
	}
	written := map[string]int64{}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Lstat(name, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && (st.Uid == 0 || int(st.Uid) == os.Geteuid()) {
			written[name] = st.Mtim.Nano()
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return written[name] == 0 })
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(written[a], written[b]) })
	var runs []Run
	for _, name := range names[max(0, len(names)-maxEarly):] {
		runs = append(runs, r.file(o.Client, name, maxEarlySize).runs...)
	}
	return runs
}

// merged puts runs between others, each before the first that was started later.
func merged(runs, others []Run) []Run {
	runs = slices.Clip(runs)
	for _, other := range others {
		at := slices.IndexFunc(runs, func(run Run) bool { return run.Started.After(other.Started) })
		if at < 0 {
			at = len(runs)
		}
		runs = slices.Insert(runs, at, other)
	}
	return runs
}
