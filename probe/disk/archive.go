package disk

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// archiveFile is a file in archive/NAME.
type archiveFile struct {
	kind   kind
	number int // of its version
}

// archiveName splits the name of a file in archive/NAME, such as "cert7.pem".
func archiveName(file string) (f archiveFile, ok bool) {
	stem, isPEM := strings.CutSuffix(file, ".pem")
	digits := strings.TrimLeft(stem, "abcdefghijklmnopqrstuvwxyz")
	index := slices.Index(kinds[:], stem[:len(stem)-len(digits)])
	if !isPEM || index < 0 || len(digits) > 9 {
		return archiveFile{}, false
	}
	number, err := strconv.Atoi(digits)
	if err != nil || digits[0] == '-' || digits[0] == '+' {
		return archiveFile{}, false
	}
	return archiveFile{kind(index), number}, true
}

// readArchive learns the versions that certbot still keeps, when each was replaced, and
// whether certbot will move live/ to a newer one by itself.
func (b *builder) readArchive(l *lineage) {
	names, err := listFolder(l.archiveDir)
	if err != nil {
		b.readFailed(l.archiveDir, err)
		return
	}
	files := make([]archiveFile, 0, len(names))
	for _, name := range names {
		if file, ok := archiveName(name); ok {
			files = append(files, file)
		}
	}
	slices.SortFunc(files, func(x, y archiveFile) int { return cmp.Or(x.number-y.number, int(x.kind-y.kind)) })
	var past succession
	newest := 0 // of which all four files are there
	for len(files) > 0 {
		version := firstVersion(files)
		files = files[len(version):]
		leaf := b.archivedLeaf(l, version)
		b.know(leaf.version)
		b.issued(leaf)
		past.add(leaf)
		if len(version) == len(kinds) {
			newest = version[0].number
		}
	}
	b.stored.Ages = past.ages()
	b.stored.Issued = b.stored.Issued[max(0, len(b.stored.Issued)-maxIssued):]
	b.findPending(l, newest)
}

// firstVersion returns the files of the first version among sorted ones.
func firstVersion(files []archiveFile) []archiveFile {
	n := 1
	for n < len(files) && files[n].number == files[0].number {
		n++
	}
	return files[:n]
}

// findPending does what certbot does at the beginning of each run: it moves live/ to the
// highest version of which all four files are there, and runs no hook for it.
func (b *builder) findPending(l *lineage, newest int) {
	linked := 0
	for _, ln := range l.links {
		if n := ln.number; n > 0 && (linked == 0 || n < linked) {
			linked = n
		}
	}
	if linked > 0 && newest > linked {
		b.torn = true
		b.find(certmedic.LineageBroken, "live/%s points to version %d but the archive holds version %d: "+
			"certbot links it at its next run, without running hooks", l.name, linked, newest)
	}
}

// archivedLeaf returns the leaf of one version. The version that the links lead to was read
// already.
func (b *builder) archivedLeaf(l *lineage, version []archiveFile) oldLeaf {
	if version[0].number == l.whole {
		leaf := b.leafFacts()
		names := joined(slices.Concat(leaf.DNSNames, leaf.IPAddresses))
		return oldLeaf{leaf.SHA256, leaf.NotBefore.Unix(), leaf.NotAfter.Unix(), names}
	}
	for _, file := range version {
		if file.kind != kindCert && file.kind != kindFullchain {
			continue
		}
		path := filepath.Join(l.archiveDir, kinds[file.kind]+strconv.Itoa(file.number)+".pem")
		if leaf := b.reader.Keys.leafOf(path, b.now); leaf.version != "" {
			return leaf
		}
	}
	return oldLeaf{}
}

// maxIssued bounds how many versions of an archive are told.
const maxIssued = 20

// issued tells of a version that was issued, once: one that was put back under a new number was
// not issued again. Versions with the same names share them.
func (b *builder) issued(leaf oldLeaf) {
	known := b.stored.Issued
	if leaf.names == "" || slices.ContainsFunc(known, func(i certmedic.Issued) bool { return i.Version == leaf.version }) {
		return
	}
	names := strings.Split(leaf.names, ",")
	if n := len(known); n > 0 && slices.Equal(known[n-1].Names, names) {
		names = known[n-1].Names
	}
	b.stored.Issued = append(known, certmedic.Issued{Version: leaf.version, NotBefore: time.Unix(leaf.notBefore, 0).UTC(), Names: names})
}

// maxAges bounds how many replacements are told.
const maxAges = 20

// succession gathers the versions of an archive in the order of their numbers.
type succession struct {
	last   oldLeaf // that began last
	shares []float64
}

// add takes the next version. One that began no later than the one before it replaced
// nothing: it is an old version that was put back under a new number.
func (s *succession) add(leaf oldLeaf) {
	life := s.last.notAfter - s.last.notBefore
	if s.last.version != "" && leaf.notBefore <= s.last.notBefore || leaf.notAfter <= leaf.notBefore {
		return
	}
	if life > 0 {
		s.shares = append(s.shares, float64(leaf.notBefore-s.last.notBefore)/float64(life))
	}
	s.last = leaf
}

// ages returns the share of its lifetime at which each version was replaced, of the last
// ones, oldest first.
func (s *succession) ages() []float64 { return s.shares[max(0, len(s.shares)-maxAges):] }
