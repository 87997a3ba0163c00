// Package tree writes certbot's folders as certbot does: archive/NAME/certN.pem and its
// three siblings, the links in live/NAME, renewal/NAME.conf, the three lock files and
// letsencrypt.log. The laboratory's issuer works in such a tree, and tests make
// lineages with it, whole or broken.
//
// What it writes follows certbot 2.x; folders and files get certbot's modes whatever
// the umask is.
package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Tree says where certbot keeps its things.
type Tree struct {
	ConfigDir string // archive, live, renewal and the hooks; /etc/letsencrypt
	WorkDir   string // /var/lib/letsencrypt
	LogsDir   string // /var/log/letsencrypt
}

// At returns a tree whose three folders are config, work and logs below dir.
func At(dir string) Tree {
	return Tree{
		ConfigDir: filepath.Join(dir, "config"),
		WorkDir:   filepath.Join(dir, "work"),
		LogsDir:   filepath.Join(dir, "logs"),
	}
}

// Version is one version of a lineage, in PEM.
type Version struct {
	Cert, Privkey, Chain []byte
}

// kinds are the parts of a version, in the order in which certbot writes them.
func kinds() []string { return []string{"cert", "privkey", "chain", "fullchain"} }

// Live returns the folder of a lineage's links.
func (t Tree) Live(lineage string) string { return filepath.Join(t.ConfigDir, "live", lineage) }

// Archive returns the folder of a lineage's versions.
func (t Tree) Archive(lineage string) string { return filepath.Join(t.ConfigDir, "archive", lineage) }

// HookDir returns the folder of the hooks of one kind: pre, deploy or post.
func (t Tree) HookDir(kind string) string {
	return filepath.Join(t.ConfigDir, "renewal-hooks", kind)
}

// Prepare makes the folders that certbot makes on every run. Folders above the three of
// the tree are made where they are missing, and left as they are otherwise.
func (t Tree) Prepare() error {
	open := []string{
		t.ConfigDir, t.WorkDir, filepath.Join(t.ConfigDir, "renewal"), filepath.Join(t.ConfigDir, "renewal-hooks"),
		t.HookDir("pre"), t.HookDir("deploy"), t.HookDir("post"),
	}
	closed := []string{
		t.LogsDir, filepath.Join(t.ConfigDir, "live"), filepath.Join(t.ConfigDir, "archive"),
		filepath.Join(t.ConfigDir, "accounts"),
	}
	for _, dir := range open {
		if err := makeDir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, dir := range closed {
		if err := makeDir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// Save adds a version to a lineage, which is made where it is missing, moves the links
// of live/ to it and returns its number.
func (t Tree) Save(lineage string, version Version) (int, error) {
	for _, dir := range []string{t.Archive(lineage), t.Live(lineage)} {
		if err := makeDir(dir, 0o755); err != nil {
			return 0, err
		}
	}
	latest, err := t.Latest(lineage)
	if err != nil {
		return 0, err
	}
	number := latest + 1
	content := map[string][]byte{
		"cert": version.Cert, "privkey": version.Privkey, "chain": version.Chain,
		"fullchain": slices.Concat(version.Cert, version.Chain),
	}
	for _, kind := range kinds() {
		mode := os.FileMode(0o644)
		if kind == "privkey" {
			mode = 0o600
		}
		path := filepath.Join(t.Archive(lineage), fmt.Sprintf("%s%d.pem", kind, number))
		if err := writeFile(path, content[kind], mode); err != nil {
			return 0, err
		}
	}
	return number, t.Point(lineage, number)
}

// Latest returns the highest number that all four parts of a version have; 0 where
// there is none.
func (t Tree) Latest(lineage string) (int, error) {
	entries, err := os.ReadDir(t.Archive(lineage))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("reading the versions of %q: %w", lineage, err)
	}
	form := regexp.MustCompile(`^(cert|privkey|chain|fullchain)([0-9]+)\.pem$`)
	parts, latest := map[int]int{}, 0
	for _, entry := range entries {
		match := form.FindStringSubmatch(entry.Name())
		if match == nil {
			continue
		}
		number, err := strconv.Atoi(match[2])
		if err != nil {
			continue // more digits than a number has
		}
		parts[number]++
		if parts[number] == len(kinds()) {
			latest = max(latest, number)
		}
	}
	return latest, nil
}

// Point moves the links of live/ to a version. As with certbot, links named
// previous_KIND.pem hold the old targets while the new ones are made.
func (t Tree) Point(lineage string, number int) error {
	live := t.Live(lineage)
	for _, kind := range kinds() {
		old, err := os.Readlink(filepath.Join(live, kind+".pem"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("moving the links of %q: %w", lineage, err)
		}
		if err := link(old, filepath.Join(live, "previous_"+kind+".pem")); err != nil {
			return err
		}
	}
	for _, kind := range kinds() {
		target := filepath.Join("..", "..", "archive", lineage, fmt.Sprintf("%s%d.pem", kind, number))
		if err := link(target, filepath.Join(live, kind+".pem")); err != nil {
			return err
		}
	}
	for _, kind := range kinds() {
		if err := remove(filepath.Join(live, "previous_"+kind+".pem")); err != nil {
			return err
		}
	}
	return nil
}

// Lineages returns the names that have a renewal configuration, sorted.
func (t Tree) Lineages() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(t.ConfigDir, "renewal", "*.conf"))
	if err != nil {
		return nil, fmt.Errorf("listing the lineages below %q: %w", t.ConfigDir, err)
	}
	names := make([]string, 0, len(paths))
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".conf"))
	}
	return names, nil
}

// link makes a symbolic link, in the place of one that is there, in two steps as
// certbot does.
func link(target, path string) error {
	if err := remove(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// makeDir makes a folder with its parents. The mode of one that it made does not
// depend on the umask.
func makeDir(dir string, mode os.FileMode) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDir(parent, 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

// writeFile writes a file whose mode does not depend on the umask.
func writeFile(path string, content []byte, mode os.FileMode) error {
	if err := os.WriteFile(path, content, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}
