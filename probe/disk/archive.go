package disk

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic"
)

// archiveName splits the name of a file in archive/NAME, such as "cert7.pem".
func archiveName(file string) (kind string, number int) {
	stem, ok := strings.CutSuffix(file, ".pem")
	digits := strings.TrimLeft(stem, "abcdefghijklmnopqrstuvwxyz")
	kind = stem[:len(stem)-len(digits)]
	if !ok || len(digits) > 9 || !slices.Contains(kinds[:], kind) {
		return "", 0
	}
	number, err := strconv.Atoi(digits)
	if err != nil || digits[0] == '-' || digits[0] == '+' {
		return "", 0
	}
	return kind, number
}

// readArchive learns the versions that certbot still keeps, and whether it will move
// live/ to a newer one by itself.
func (b *builder) readArchive(l *lineage) {
	entries, err := os.ReadDir(l.archiveDir)
	if err != nil {
		b.readFailed(l.archiveDir, err)
		return
	}
	versions := map[int][]string{} // the kinds of each number
	for _, entry := range entries {
		if kind, number := archiveName(entry.Name()); kind != "" {
			versions[number] = append(versions[number], kind)
		}
	}
	for _, number := range sortedKeys(versions) {
		b.know(b.archivedLeaf(l, number, versions[number]))
	}
	b.findPending(l, versions)
}

// findPending does what certbot does at the beginning of each run: it moves live/ to the
// highest version of which all four files are there, and runs no hook for it.
func (b *builder) findPending(l *lineage, versions map[int][]string) {
	linked := 0
	for _, kind := range kinds {
		if n := l.links[kind].number; n > 0 && (linked == 0 || n < linked) {
			linked = n
		}
	}
	newest := 0
	for number, there := range versions {
		if len(there) == len(kinds) {
			newest = max(newest, number)
		}
	}
	if linked > 0 && newest > linked {
		b.torn = true
		b.find(certmedic.LineageBroken, "live/%s points to version %d but the archive holds version %d: "+
			"certbot links it at its next run, without running hooks", l.name, linked, newest)
	}
}

// archivedLeaf returns the leaf of one version, empty where there is none. The version
// that the links lead to was read already.
func (b *builder) archivedLeaf(l *lineage, number int, there []string) certmedic.Fingerprint {
	if number == l.whole {
		return b.leafFacts().SHA256
	}
	for _, kind := range []string{"cert", "fullchain"} {
		if !slices.Contains(there, kind) {
			continue
		}
		path := filepath.Join(l.archiveDir, kind+strconv.Itoa(number)+".pem")
		if leaf := b.reader.Keys.leafOf(path, b.now); leaf != "" {
			return leaf
		}
	}
	return ""
}

func sortedKeys(m map[int][]string) []int {
	keys := make([]int, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
