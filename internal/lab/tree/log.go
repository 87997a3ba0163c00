package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// keptLogs is how many logs of earlier runs are kept; certbot keeps a thousand.
const keptLogs = 20

// Log is logs/letsencrypt.log, in certbot's form.
type Log struct{ file *os.File }

// OpenLog begins the log of one run. As with certbot, the log of the last run becomes
// letsencrypt.log.1, that of the run before letsencrypt.log.2, and so on.
func (t Tree) OpenLog() (*Log, error) {
	path := filepath.Join(t.LogsDir, "letsencrypt.log")
	for i := keptLogs; i > 0; i-- {
		older, newer := fmt.Sprintf("%s.%d", path, i), fmt.Sprintf("%s.%d", path, i-1)
		if i == 1 {
			newer = path
		}
		if err := os.Rename(newer, older); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("rotating the log: %w", err)
		}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	return &Log{file: file}, nil
}

// Printf writes a line as certbot's logger of that name does at that level. A message
// of several lines has a prefix at the first only.
func (l *Log) Printf(level, logger, format string, args ...any) {
	now := time.Now()
	stamp := strings.Replace(now.Format("2006-01-02 15:04:05.000"), ".", ",", 1)
	// A log that cannot be written does not stop a renewal.
	_, _ = fmt.Fprintf(l.file, "%s:%s:%s:%s\n", stamp, level, logger, fmt.Sprintf(format, args...))
}

// Close ends the log of this run.
func (l *Log) Close() error { return l.file.Close() }
