package unit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The bounds of what is read.
const (
	maxFile    = 1 << 20 // bytes of one file
	maxEntries = 5000    // of one folder
	maxLinks   = 8       // followed
)

// Tree is a file system whose unit files are read.
type Tree struct {
	Root string // empty: /
}

// folders returns where systemd looks for unit files, the strongest first (systemd.unit(5)).
func folders() []string {
	return []string{
		"/run/systemd/transient", "/etc/systemd/system", "/run/systemd/system", "/run/systemd/generator",
		"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
	}
}

// Setting is one line of a unit file.
type Setting struct {
	Section string // such as Service
	Key     string // such as ExecStart
	Value   string // continued lines joined
	File    string
	Line    int // where it begins, from 1
}

// File is a unit as its files have it.
type File struct {
	Name     string
	Path     string // of its main file; empty: there is none
	Masked   bool   // it is a link to /dev/null, or empty: systemd refuses to start it
	DropIns  []string
	Settings []Setting // in the order in which systemd takes them
	Problems []string  // files that could not be read
}

// All returns the values of a setting that may be given several times; an empty one takes back
// those before it.
func (f File) All(section, key string) []Setting {
	var all []Setting
	for _, s := range f.Settings {
		switch {
		case s.Section != section || s.Key != key:
		case s.Value == "":
			all = nil
		default:
			all = append(all, s)
		}
	}
	return all
}

// Get returns the value of a setting that counts once: the last one. It is empty where there is none.
func (f File) Get(section, key string) string {
	for _, s := range slices.Backward(f.Settings) {
		if s.Section == section && s.Key == key {
			return s.Value
		}
	}
	return ""
}

// Names returns the names of all unit files of a kind, such as "timer", sorted.
func (t Tree) Names(kind string) []string {
	var names []string
	for _, folder := range t.places() {
		for _, entry := range t.list(folder) {
			if filepath.Ext(entry) == "."+kind {
				names = append(names, entry)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Load reads a unit's files. An error says that there are none, or that its main file cannot
// be read; it is [fs.ErrNotExist] for the former.
func (t Tree) Load(name string) (File, error) {
	f := File{Name: name}
	for _, candidate := range []string{name, template(name)} {
		for _, folder := range t.places() {
			path := filepath.Join(folder, candidate)
			if _, err := os.Lstat(t.Root + path); candidate == "" || err != nil {
				continue
			}
			return t.load(f, path)
		}
	}
	return f, fmt.Errorf("unit %q: %w", name, fs.ErrNotExist)
}

func (t Tree) load(f File, path string) (File, error) {
	f.Path = path
	data, masked, err := t.read(path)
	if err != nil {
		return f, fmt.Errorf("reading unit %q: %w", f.Name, err)
	}
	f.Masked = masked
	f.Settings = parse(path, data)
	for _, path := range t.dropIns(f.Name, filepath.Base(t.follow(path))) {
		data, masked, err := t.read(path)
		switch {
		case err != nil:
			f.Problems = append(f.Problems, fmt.Sprintf("reading drop-in %q: %v", path, err))
		case !masked:
			f.DropIns = append(f.DropIns, path)
			f.Settings = append(f.Settings, parse(path, data)...)
		}
	}
	return f, nil
}

// Starters returns the links that have a unit started by itself: in the .wants, .requires and
// .upholds folders of others, under its name or that of an alias.
func (t Tree) Starters(name string) []string {
	var links []string
	for _, folder := range t.places() {
		for _, entry := range t.list(folder) {
			if ext := filepath.Ext(entry); ext != ".wants" && ext != ".requires" && ext != ".upholds" {
				continue
			}
			for _, wanted := range t.list(filepath.Join(folder, entry)) {
				link := filepath.Join(folder, entry, wanted)
				if wanted == name || filepath.Base(t.follow(link)) == name {
					links = append(links, link)
				}
			}
		}
	}
	return links
}

// places returns the folders that are there, each once: /lib is often a link to /usr/lib.
func (t Tree) places() []string {
	var places []string
	var seen []os.FileInfo
	for _, folder := range folders() {
		info, err := os.Stat(t.Root + folder)
		if err != nil || slices.ContainsFunc(seen, func(s os.FileInfo) bool { return os.SameFile(s, info) }) {
			continue
		}
		seen = append(seen, info)
		places = append(places, folder)
	}
	return places
}

// dropIns returns the drop-ins of a unit in the order in which they are taken: by the name of
// the file, wherever it lies. Of two with one name the one of the more special folder counts,
// then the one of the stronger place.
func (t Tree) dropIns(name, alias string) []string {
	found := map[string]string{}
	for _, special := range dropInFolders(name, alias) {
		for _, folder := range t.places() {
			for _, entry := range t.list(filepath.Join(folder, special)) {
				if filepath.Ext(entry) == ".conf" && found[entry] == "" {
					found[entry] = filepath.Join(folder, special, entry)
				}
			}
		}
	}
	paths := make([]string, 0, len(found))
	for _, path := range found {
		paths = append(paths, path)
	}
	slices.SortFunc(paths, func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) })
	return paths
}

// dropInFolders returns the names of the folders that hold a unit's drop-ins, the most special
// first: of itself, its template, its prefixes up to a dash, and its type.
func dropInFolders(name, alias string) []string {
	folders := []string{name + ".d"}
	if alias != name {
		folders = append(folders, alias+".d")
	}
	if t := template(name); t != "" {
		folders = append(folders, t+".d")
	}
	ext := filepath.Ext(name)
	for stem := strings.TrimSuffix(name, ext); ; {
		dash := strings.LastIndexByte(strings.TrimSuffix(stem, "-"), '-')
		if dash < 0 {
			break
		}
		stem = stem[:dash+1]
		folders = append(folders, stem+ext+".d")
	}
	return append(folders, strings.TrimPrefix(ext, ".")+".d")
}

// template returns the name of the template of an instance; empty where it is none.
func template(name string) string {
	stem, _, instance := strings.Cut(name, "@")
	if !instance {
		return ""
	}
	return stem + "@" + filepath.Ext(name)
}

// list returns the names in a folder; none where it cannot be read.
func (t Tree) list(folder string) []string {
	dir, err := os.Open(t.Root + folder)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(maxEntries)
	slices.Sort(names)
	return names
}

// follow returns where a link leads, inside the tree; the path itself where it is none.
func (t Tree) follow(path string) string {
	for range maxLinks {
		to, err := os.Readlink(t.Root + path)
		if err != nil {
			return path
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return path
}

// read reads a unit file or a drop-in. Empty ones and links to /dev/null mask.
func (t Tree) read(path string) (data []byte, masked bool, err error) {
	path = t.follow(path)
	if path == "/dev/null" {
		return nil, true, nil
	}
	info, err := os.Stat(t.Root + path)
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() {
		return nil, false, errors.New("it is not a regular file")
	}
	f, err := os.Open(t.Root + path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	data, err = io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return data, err == nil && len(data) == 0, err
}

// parse reads the lines of a unit file (systemd.syntax(7)).
func parse(path string, data []byte) []Setting {
	var settings []Setting
	var section string
	var value strings.Builder // of a line that goes on
	begun := 0
	for i, line := range bytes.Split(data, []byte("\n")) {
		text := strings.TrimSpace(string(line))
		if comment := strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";"); comment {
			continue
		}
		if begun == 0 {
			begun = i + 1
		}
		if head, more := strings.CutSuffix(text, `\`); more {
			value.WriteString(head + " ")
			continue
		}
		whole := value.String() + text
		if name, ok := strings.CutPrefix(whole, "["); ok && strings.HasSuffix(name, "]") {
			section = strings.TrimSuffix(name, "]")
		} else if key, v, ok := strings.Cut(whole, "="); ok {
			settings = append(settings, Setting{section, strings.TrimSpace(key), strings.TrimSpace(v), path, begun})
		}
		value.Reset()
		begun = 0
	}
	return settings
}
