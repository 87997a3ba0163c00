package gather

import (
	"bufio"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/probe/host/process"
)

// maxMounts bounds what is read of one table, in bytes.
const maxMounts = 1 << 20

// mounted finds the files of the certificate that were mounted one by one for a process in a
// mount namespace of its own, as containers do: there they have other names, and stay what they
// were when this host replaces them.
func (l *look) mounted(spot diagnose.Spot, p process.Process) {
	own, ok := l.table.Process(os.Getpid())
	if p.Mounts == 0 || ok && own.Mounts == p.Mounts {
		return
	}
	l.mountedTree(spot, p)
	table := filepath.Join(l.proc, strconv.Itoa(p.PID), "mountinfo")
	file, err := os.Open(table)
	if err != nil {
		return // it has ended, or is another user's
	}
	defer file.Close()
	scanner := bufio.NewScanner(io.LimitReader(file, maxMounts))
	for line := 1; scanner.Scan(); line++ {
		fields := strings.Fields(scanner.Text()) // see proc_pid_mountinfo(5)
		if len(fields) < 5 || !mayHoldLeaf(unescaped(fields[4])) {
			continue
		}
		u := diagnose.Used{By: p.Name, Address: spot.Address, File: table, Line: line, Text: scanner.Text(), Path: unescaped(fields[4])}
		if l.seenMount(p, unescaped(fields[3]), &u) && !l.isUsed(u) {
			l.c.Used = append(l.c.Used, u)
		}
	}
}

// mountedTree finds out whether a process sees an older version than this host at the lineage's own
// path, as where a copy of the tree was mounted, or the links without what they lead to.
func (l *look) mountedTree(spot diagnose.Spot, p process.Process) {
	path := l.c.Stored.Files.Fullchain
	stored, ok := l.c.Stored.Leaf()
	seen, err := process.Seen(l.proc, p.PID, path)
	if !ok || err != nil {
		return
	}
	leaf, ok := leafIn(seen.Content)
	u := diagnose.Used{
		Path: path, By: p.Name, Address: spot.Address, Lead: diagnose.LeadOwn, Leaf: stored, Count: len(l.c.Stored.Chain), ModTime: l.c.Stored.Since,
	}
	if ok && l.isOurs(leaf) && leaf.SHA256 != stored.SHA256 && !l.isUsed(u) {
		l.c.Used = append(l.c.Used, u)
	}
}

// mayHoldLeaf reports whether a mount point is called as files with certificates are.
func mayHoldLeaf(point string) bool {
	return slices.Contains([]string{".pem", ".crt", ".cer", ".cert", ".bundle"}, strings.ToLower(filepath.Ext(point)))
}

// seenMount finds out what a process sees at a mount point, and reports whether that is a version of
// the certificate. Where the mounted file is one that was removed since, or is numbered, the new
// version is beside it, and the mount is what holds it back; else it is a copy.
func (l *look) seenMount(p process.Process, root string, u *diagnose.Used) bool {
	seen, err := process.Seen(l.proc, p.PID, u.Path)
	if err != nil {
		return false
	}
	leaf, ok := leafIn(seen.Content)
	if !ok || !l.isOurs(leaf) {
		return false
	}
	u.Lead, u.Leaf, u.ModTime = diagnose.LeadCopy, leaf, seen.ModTime
	if stored, ok := l.c.Stored.Leaf(); ok && (seen.Deleted || strings.HasSuffix(root, "//deleted") || l.holdsLeaf(root)) {
		u.Lead, u.Leaf, u.Count, u.ModTime = diagnose.LeadOwn, stored, len(l.c.Stored.Chain), l.c.Stored.Since
	}
	return true
}

// isUsed reports whether a file is known to be used at an address.
func (l *look) isUsed(u diagnose.Used) bool {
	return slices.ContainsFunc(l.c.Used, func(o diagnose.Used) bool { return o.Path == u.Path && o.Address == u.Address && o.Lead == u.Lead })
}

// holdsLeaf reports whether what was mounted is a file of the certificate that holds its leaf. The
// path is within its file system, so it may lack what that is mounted below.
func (l *look) holdsLeaf(root string) bool {
	root = strings.TrimSuffix(root, "//deleted")
	base := filepath.Base(root)
	if root == "/" || !strings.HasSuffix(base, ".pem") || !strings.HasPrefix(base, "fullchain") && !strings.HasPrefix(base, "cert") {
		return false
	}
	archive := filepath.Join(l.question.Certificate.Source.ConfigDir, "archive", l.question.Certificate.Source.Lineage)
	for _, folder := range []string{archive, l.liveFolder()} {
		if strings.HasSuffix(folder+"/"+base, root) {
			return true
		}
	}
	return false
}

// unescaped undoes the kernel's octal escapes of blanks and backslashes.
func unescaped(text string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(text)
}
