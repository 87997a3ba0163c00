package disk

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// kind is one of the four files of a version.
type kind int

// The kinds, in certbot's order.
const (
	kindCert kind = iota
	kindPrivkey
	kindChain
	kindFullchain
)

// kinds are the names of the kinds.
var kinds = [...]string{"cert", "privkey", "chain", "fullchain"}

// Lineages lists a certbot tree's lineages, sorted: the names of renewal/*.conf. A
// folder live/NAME without its renewal/NAME.conf is a finding, because certbot does
// not renew it, and so is a renewal/ that
// cannot be read.
func Lineages(configDir string) ([]string, []certmedic.Finding) {
	var names []string
	var findings []certmedic.Finding
	find := func(code certmedic.FindingCode, detail string) {
		findings = append(findings, certmedic.NewFinding(code, detail))
	}
	entries, err := os.ReadDir(filepath.Join(configDir, "renewal"))
	if err != nil {
		find(codeOf(err), err.Error())
	}
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), ".conf")
		if ok && name != "" && !entry.IsDir() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range orphans(configDir, names) {
		find(certmedic.LineageBroken, fmt.Sprintf("live/%s has no renewal/%s.conf: certbot does not renew it", name, name))
	}
	return names, findings
}

// orphans lists the folders in live/ that are of none of the lineages.
func orphans(configDir string, lineages []string) []string {
	var out []string
	entries, _ := os.ReadDir(filepath.Join(configDir, "live"))
	for _, entry := range entries {
		if entry.IsDir() && !slices.Contains(lineages, entry.Name()) {
			out = append(out, entry.Name())
		}
	}
	return out
}

func codeOf(err error) certmedic.FindingCode {
	if errors.Is(err, fs.ErrNotExist) {
		return certmedic.FileMissing
	}
	return certmedic.FileUnreadable
}

// lineage is where a lineage's parts are, and what its links point to.
type lineage struct {
	conf       *RenewalConf // nil where it could not be read
	configDir  string
	name       string
	archiveDir string
	links      [len(kinds)]link // by kind
	whole      int              // the version of which fullchain, cert and chain agree to the byte; 0 for none
}

// link is one of the four names in live/NAME.
type link struct {
	path   string
	id     fileID // of what it leads to
	usable bool   // it leads to a file
	number int    // of the version it points to, 0 where it does not tell
	data   []byte // what the file holds; nil for the key
	key    keyFile
}

func (b *builder) readLineage(src certmedic.Source) {
	if src.Lineage == "" || !filepath.IsLocal(src.Lineage) || strings.ContainsRune(src.Lineage, filepath.Separator) {
		b.find(certmedic.LineageBroken, "%q is not the name of a lineage", src.Lineage)
		return
	}
	l := b.openLineage(src)
	b.stored.Lock = AskLock(src.ConfigDir, l.conf)
	b.stored.Directory = acmeDirectory(src.ConfigDir, l.conf)
	b.stored.Files = certmedic.StoredFiles{
		Cert: l.links[kindCert].path, Privkey: l.links[kindPrivkey].path,
		Chain: l.links[kindChain].path, Fullchain: l.links[kindFullchain].path,
	}
	b.followLinks(l)
	b.readVersion(l)
	b.compareNumbers(l)
	b.readArchive(l)
	b.findLeftovers(l)
}

// openLineage reads the renewal configuration. What it does not say is where certbot
// puts it by default.
func (b *builder) openLineage(src certmedic.Source) *lineage {
	l := &lineage{configDir: src.ConfigDir, name: src.Lineage}
	conf, err := b.reader.Keys.readConf(confPath(src), b.now)
	switch {
	case err == nil:
	case conf != nil:
		for _, line := range errorLines(err) {
			b.find(certmedic.LineageBroken, "%s", line)
		}
	case errors.Is(err, fs.ErrNotExist):
		b.find(certmedic.LineageBroken, "renewal/%s.conf is missing: certbot does not renew this lineage", src.Lineage)
	default:
		b.find(certmedic.FileUnreadable, "renewal/%s.conf: %v", src.Lineage, reason(err))
	}
	if conf != nil {
		for _, problem := range conf.problems() {
			b.find(certmedic.LineageBroken, "%s", problem)
		}
	}
	l.conf = conf
	for i, path := range livePaths(src, conf) {
		l.links[i].path = path
	}
	l.archiveDir = archiveDir(src, conf)
	return l
}

// livePaths returns the four names of a lineage, in the order of kinds.
func livePaths(src certmedic.Source, conf *RenewalConf) [4]string {
	var paths [4]string
	if conf != nil {
		paths = [4]string{conf.Cert, conf.Privkey, conf.Chain, conf.Fullchain}
	}
	folder := filepath.Join(src.ConfigDir, "live", src.Lineage)
	for _, path := range paths {
		if path != "" {
			folder = filepath.Dir(path)
			break
		}
	}
	for i, path := range paths {
		if path == "" {
			paths[i] = filepath.Join(folder, kinds[i]+".pem")
		}
	}
	return paths
}

// acmeDirectory returns the URL of the directory of the CA that a lineage is renewed at; empty
// where neither its configuration nor the tree's defaults name one.
func acmeDirectory(configDir string, conf *RenewalConf) string {
	if conf != nil && conf.Server != "" {
		return conf.Server
	}
	ini, err := ReadCLIIni(configDir)
	if err != nil {
		return "" // the hooks' reader tells what is wrong with the file
	}
	return ini.Server
}

func archiveDir(src certmedic.Source, conf *RenewalConf) string {
	if conf != nil && conf.ArchiveDir != "" {
		return filepath.Clean(conf.ArchiveDir)
	}
	return filepath.Join(src.ConfigDir, "archive", src.Lineage)
}

// followLinks looks at the four names in live/NAME, and reads what they lead to.
func (b *builder) followLinks(l *lineage) {
	for i := range l.links {
		ln := &l.links[i]
		target, err := readLink(ln.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			b.torn = true
			b.find(certmedic.LineageBroken, "%s is missing: certbot skips this lineage", ln.path)
			continue
		case errors.Is(err, unix.EINVAL):
			b.find(certmedic.LineageBroken, "%s is not a link into the archive: certbot skips this lineage", ln.path)
			target = ""
		case err != nil:
			b.readFailed(ln.path, err)
			continue
		case !filepath.IsAbs(target):
			target = filepath.Join(filepath.Dir(ln.path), target)
		}
		if !b.openLink(kind(i), ln, target) {
			continue
		}
		b.keep(cmp.Or(target, ln.path), ln.id)
		if target != "" {
			ln.number = b.numberOf(l, kind(i), target)
		}
	}
}

// openLink reads what a link leads to, and reports whether it leads to a file.
func (b *builder) openLink(k kind, ln *link, target string) bool {
	var err error
	if k == kindPrivkey {
		ln.key = b.openKey(ln.path)
		ln.id, err = ln.key.id, ln.key.err
	} else {
		ln.data, ln.id, err = readWhole(ln.path, maxPEMSize)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		b.torn = true
		b.find(certmedic.LineageBroken, "%s is a dangling link to %s: certbot skips this lineage", ln.path, target)
	case err != nil && k != kindPrivkey: // takeKey tells what is wrong with a key
		b.readFailed(ln.path, err)
	default:
		ln.usable = true
	}
	return ln.usable
}

// numberOf returns the number of the version that a link points to, 0 where it leads
// elsewhere.
func (b *builder) numberOf(l *lineage, k kind, target string) int {
	file, ok := archiveName(filepath.Base(target))
	if !ok || file.kind != k || !sameFolder(filepath.Dir(target), l.archiveDir) {
		b.find(certmedic.LineageBroken, "%s points to %s, not to a %s of %s", l.links[k].path, target, kinds[k], l.archiveDir)
		return 0
	}
	return file.number
}

// sameFolder compares two folders by their names, which are clean, and, failing that, by
// identity.
func sameFolder(a, b string) bool {
	if a == b {
		return true
	}
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// readVersion reads the version that live/ points to. Services load fullchain.pem, so
// the leaf is taken from there, and from cert.pem where there is none.
func (b *builder) readVersion(l *lineage) {
	from := &l.links[kindFullchain]
	if b.certs = b.readAgreeing(l); b.certs == nil {
		from = b.readParts(&l.links[kindFullchain], &l.links[kindCert], &l.links[kindChain])
	}
	b.stored.Path = from.path
	if from.number > 0 {
		b.stored.Version = strconv.Itoa(from.number)
	}
	if id, err := identifyLink(from.path); err == nil {
		b.stored.Since = time.Unix(0, id.mtime)
	}
	if key := &l.links[kindPrivkey]; key.usable {
		b.takeKey(key.key)
	}
}

// readAgreeing returns the certificates of a sound version: its fullchain is its cert and
// its chain to the byte, as certbot writes them, so that one of them has to be parsed. It
// returns nil for a version that has to be looked at part by part.
func (b *builder) readAgreeing(l *lineage) []*x509.Certificate {
	full, leaf, above := &l.links[kindFullchain], &l.links[kindCert], &l.links[kindChain]
	if full.number == 0 || full.number != leaf.number || full.number != above.number || len(leaf.data) == 0 {
		return nil
	}
	rest, ok := bytes.CutPrefix(full.data, leaf.data)
	if !ok || len(rest) == 0 || !bytes.Equal(rest, above.data) {
		return nil
	}
	certs := b.parseWhole(leaf.data, full.data)
	if len(certs) < 2 {
		return nil
	}
	l.whole = full.number
	return certs
}

// parseWhole returns the certificates of a fullchain that begins with the leaf's file, nil
// where one cannot be read. What follows a leaf that is one block of whole lines is decoded
// once for all leaves before it.
func (b *builder) parseWhole(leaf, full []byte) []*x509.Certificate {
	above := full[len(leaf):]
	apart := bytes.HasPrefix(leaf, []byte("-----BEGIN CERTIFICATE-----")) &&
		bytes.Count(leaf, []byte(pemBegin)) == 1 && leaf[len(leaf)-1] == '\n'
	known := b.reader.Keys.chain(above)
	if apart && known != nil {
		full = leaf
	}
	certs, errs := b.parseCertificates(full)
	switch {
	case len(errs) > 0:
		return nil
	case apart && known != nil:
		return append(certs, known...)
	case apart && len(certs) > 1:
		b.reader.Keys.rememberChain(above, certs[1:])
	}
	return certs
}

// readParts reads the three files of certificates each for itself, and returns the one
// that the leaf is taken from.
func (b *builder) readParts(full, leaf, chain *link) *link {
	take := func(ln *link) []*x509.Certificate {
		if !ln.usable {
			return nil
		}
		return b.takeCerts(ln.path, ln.data)
	}
	fullCerts, leafCerts, chainCerts := take(full), take(leaf), take(chain)
	b.certs = fullCerts
	switch {
	case len(fullCerts) == 0 && len(leafCerts) == 0:
		b.noLeaf(leaf)
		return leaf
	case len(fullCerts) == 0:
		b.certs = append(leafCerts[:1:1], chainCerts...)
		return leaf
	case full.number == leaf.number && full.number == chain.number:
		b.compareParts(full, fullCerts, leafCerts, chainCerts)
	}
	return full
}

// noLeaf makes sure that a lineage without a leaf is never taken for a sound one.
func (b *builder) noLeaf(leaf *link) {
	for _, f := range b.stored.Findings {
		if f.Code != certmedic.LineageBroken && f.Code != certmedic.FilePermissions {
			return
		}
	}
	b.find(certmedic.FileMissing, "%s: there is no certificate to read", leaf.path)
}

// compareParts checks that a version's fullchain is its cert and its chain.
func (b *builder) compareParts(full *link, fullCerts, leafCerts, chainCerts []*x509.Certificate) {
	if len(leafCerts) == 0 || len(chainCerts) == 0 {
		return
	}
	if !sameCerts(fullCerts, append(leafCerts[:1:1], chainCerts...)) {
		b.torn = true
		b.find(certmedic.LineageBroken, "%s is not the cert.pem and the chain.pem beside it", full.path)
	}
}

// compareNumbers checks that the four links point to one version.
func (b *builder) compareNumbers(l *lineage) {
	first, same := 0, true
	for _, ln := range l.links {
		first = cmp.Or(first, ln.number)
		same = same && (ln.number == 0 || ln.number == first)
	}
	if same {
		return
	}
	var told []string
	for i, ln := range l.links {
		if ln.number != 0 {
			told = append(told, fmt.Sprintf("%s %d", kinds[i], ln.number))
		}
	}
	b.torn = true
	b.find(certmedic.LineageBroken, "live/%s points to different versions: %s", l.name, strings.Join(told, ", "))
}

// findLeftovers looks for the links that certbot keeps while it moves the real ones.
// With all four there it moves back to them at its next run. It makes them in the order of
// the kinds and removes them in the same order, so that where there are any, the first or
// the last of them is there.
func (b *builder) findLeftovers(l *lineage) {
	folder := filepath.Dir(l.links[kindCert].path)
	if !isThere(previous(folder, kindCert)) && !isThere(previous(folder, kindFullchain)) {
		return
	}
	var left []string
	for i := range kinds {
		if name := previous(folder, kind(i)); isThere(name) {
			left = append(left, filepath.Base(name))
		}
	}
	then := "certbot removes them at its next run"
	if len(left) == len(kinds) {
		then = "certbot goes back to them at its next run"
	}
	b.torn = true
	b.find(certmedic.LineageBroken, "live/%s holds %s from an update that was cut short: %s", l.name, strings.Join(left, ", "), then)
}

// previous names the link that certbot keeps for one of a kind in live/NAME.
func previous(folder string, k kind) string { return folder + "/previous_" + kinds[k] + ".pem" }
