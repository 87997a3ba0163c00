package conf

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// The bounds of a configuration.
const (
	MaxDepth = 16       // how deep files may include each other
	MaxValue = 16 << 10 // of a value with its variables replaced, in bytes

	maxFiles    = 2000     // how many files are read
	maxFileSize = 8 << 20  // of one file, in bytes
	maxTotal    = 64 << 20 // of all files together, in bytes
	maxEntries  = 20000    // of a folder
)

// Files reads the files of one configuration, within bounds. A file that is read twice
// counts twice, so that files which include each other come to an end.
type Files struct {
	dump  map[string]string // nil: the files are on disk
	read  int
	size  int
	paths []string
}

// OnDisk returns the files of this host.
func OnDisk() *Files { return &Files{} }

// InDump returns files that a service printed, by their paths. Nothing else can be read.
func InDump(texts map[string]string) *Files {
	dump := make(map[string]string, len(texts))
	for path, text := range texts {
		dump[filepath.Clean(path)] = text
	}
	return &Files{dump: dump}
}

// Read returns the text of a regular file.
func (f *Files) Read(path string) (string, error) {
	if f.read++; f.read > maxFiles {
		return "", fmt.Errorf("%s: not read: the configuration has more than %d files", path, maxFiles)
	}
	text, err := f.text(path)
	if err != nil {
		return "", err
	}
	if f.size += len(text); f.size > maxTotal {
		return "", fmt.Errorf("%s: not read: the configuration is larger than %d bytes", path, maxTotal)
	}
	if !slices.Contains(f.paths, path) {
		f.paths = append(f.paths, path)
	}
	return text, nil
}

// Paths returns the files that were read, each once, in the order of the first reads.
func (f *Files) Paths() []string { return slices.Clone(f.paths) }

func (f *Files) text(path string) (string, error) {
	if f.dump != nil {
		text, ok := f.dump[path]
		if !ok {
			return "", fmt.Errorf("%s: not in the output", path)
		}
		return text, nil
	}
	// Without O_NONBLOCK, a named pipe in a file's place would be waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s: not a regular file", path)
	case info.Size() > maxFileSize:
		return "", fmt.Errorf("%s: larger than %d bytes", path, maxFileSize)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFileSize))
	return string(data), err
}

// Glob returns the paths that match a pattern of [filepath.Match], in order.
func (f *Files) Glob(pattern string) ([]string, error) {
	if f.dump == nil {
		return filepath.Glob(pattern)
	}
	var out []string
	for _, path := range slices.Sorted(maps.Keys(f.dump)) {
		matches, err := filepath.Match(pattern, path)
		if err != nil {
			return nil, err
		}
		if matches {
			out = append(out, path)
		}
	}
	return out, nil
}

// IsDir reports whether a path is a folder, links followed.
func (f *Files) IsDir(path string) bool {
	if f.dump != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Exists reports whether there is anything at a path, links followed.
func (f *Files) Exists(path string) bool {
	if f.dump != nil {
		_, ok := f.dump[path]
		return ok
	}
	_, err := os.Stat(path)
	return err == nil
}

// List returns the paths of a folder's entries, in the order of their names.
func (f *Files) List(dir string) ([]string, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > maxEntries {
		return nil, fmt.Errorf("%s: more than %d files", dir, maxEntries)
	}
	slices.Sort(names)
	for i, name := range names {
		names[i] = filepath.Join(dir, name)
	}
	return names, nil
}
