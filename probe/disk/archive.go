package disk

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/inspect"
)

var archivePattern = regexp.MustCompile(`^(cert|privkey|chain|fullchain)([0-9]{1,9})\.pem$`)

// archiveName splits the name of a file in archive/NAME, such as "cert7.pem".
func archiveName(file string) (kind string, number int) {
	m := archivePattern.FindStringSubmatch(file)
	if m == nil {
		return "", 0
	}
	number, _ = strconv.Atoi(m[2])
	return m[1], number
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
		for _, kind := range versions[number] {
			if kind == "cert" || kind == "fullchain" {
				b.knowFile(filepath.Join(l.archiveDir, kind+strconv.Itoa(number)+".pem"))
			}
		}
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

// knowFile adds a kept version. What is wrong with an old file is of no interest.
func (b *builder) knowFile(path string) {
	data, err := readFile(path, maxPEMSize)
	if err != nil {
		return
	}
	if certs, _ := parseCertificates(data); len(certs) > 0 {
		b.know(inspect.Facts(certs[0]).SHA256)
	}
}

func sortedKeys(m map[int][]string) []int {
	keys := make([]int, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
