package gather

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/rules"
)

// defaultTree is where certbot has its tree unless it is told otherwise.
const defaultTree = "/etc/letsencrypt"

// usualTrees are where other clients have theirs.
var usualTrees = []string{"/root/.acme.sh", "/etc/acme.sh", "/etc/lego", "/root/.lego", "/var/lib/dehydrated", "/etc/dehydrated", "/var/lib/caddy/.local/share/caddy"}

// The bounds of what is read.
const (
	maxLineages = 5000
	maxEntries  = 10_000 // of a folder
)

// lineages reads every certificate that a client keeps.
func (l *look) lineages() func() {
	var trees []audit.Tree
	var all []audit.Lineage
	var unseen []string
	for _, dir := range distinct(append([]string{defaultTree}, l.means.Trees...)) {
		if _, err := os.Stat(filepath.Join(dir, "renewal")); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				unseen = append(unseen, err.Error())
			}
			continue
		}
		names, _ := disk.Lineages(dir) // folders without a configuration are looked for by the tree
		if len(all)+len(names) > maxLineages {
			unseen = append(unseen, dir+" holds more lineages than are read")
			names = names[:max(0, maxLineages-len(all))]
		}
		trees = append(trees, l.tree(dir, names))
		for _, name := range names {
			all = append(all, l.lineage(dir, name))
		}
		if _, err := os.ReadDir(filepath.Join(dir, "live")); errors.Is(err, fs.ErrPermission) {
			unseen = append(unseen, dir+"/live may not be read: run it as root")
		}
	}
	for _, dir := range distinct(append(slices.Clone(usualTrees), l.means.Others...)) {
		client, found, _ := disk.Tree(dir)
		for _, item := range found[:min(len(found), max(0, maxLineages-len(all)))] {
			all = append(all, l.other(client, dir, item))
		}
	}
	return func() {
		l.f.Trees, l.f.Lineages = trees, all
		for _, why := range unseen {
			l.miss(audit.PartLineages, why)
		}
	}
}

func distinct(paths []string) []string {
	var all []string
	for _, p := range paths {
		if p = filepath.Clean(p); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// other reads a certificate of another client.
func (l *look) other(client, dir string, item disk.Found) audit.Lineage {
	one := audit.Lineage{Client: client, Tree: dir, Name: item.Name, Folder: filepath.Dir(item.Source.Cert)}
	l.fill(&one, item.Source)
	return one
}

// fill reads what a source holds.
func (l *look) fill(one *audit.Lineage, src certmedic.Source) {
	content := l.means.Reader.Read(src, l.f.Now)
	one.Stored = content.Stored
	if leaf, ok := content.Stored.Leaf(); ok {
		one.Due, _ = rules.Renewal{Ages: content.Stored.Ages}.Due(leaf)
	}
	if len(content.Certs) > 0 {
		one.Leaf = leafOf(content.Certs[0])
	}
	key := content.Stored.Files.Privkey
	if target, err := filepath.EvalSymlinks(key); err == nil && key != "" {
		one.Key, _ = access.Look(target) // what may not be seen is not open to others
	}
}

// tlsFeature is the extension of RFC 7633; certmedic's audits want its value for OCSP stapling.
var tlsFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}

func leafOf(cert *x509.Certificate) audit.Leaf {
	weak := []x509.SignatureAlgorithm{x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1}
	leaf := audit.Leaf{Signature: cert.SignatureAlgorithm.String(), Weak: slices.Contains(weak, cert.SignatureAlgorithm), OCSP: cert.OCSPServer}
	for _, e := range cert.Extensions {
		var features []int
		if e.Id.Equal(tlsFeature) {
			_, err := asn1.Unmarshal(e.Value, &features)
			leaf.MustStaple = err == nil && slices.Contains(features, 5)
		}
	}
	return leaf
}

// lineage reads a lineage of certbot.
func (l *look) lineage(dir, name string) audit.Lineage {
	src := certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: dir, Lineage: name}
	one := audit.Lineage{Client: "certbot", Tree: dir, Name: name}
	l.fill(&one, src)
	one.Conf, _ = disk.ReadRenewalConf(filepath.Join(dir, "renewal", name+".conf")) // its mistakes are among the findings of the source
	one.Folder = filepath.Dir(one.Stored.Files.Fullchain)
	for _, f := range one.Stored.Findings {
		switch {
		case f.Code != certmedic.LineageBroken:
		case strings.Contains(f.Detail, "certbot skips") || strings.HasPrefix(f.Detail, "renewal/"):
			one.Broken = append(one.Broken, f.Detail)
		default:
			one.Odd = append(one.Odd, f.Detail)
		}
	}
	if one.Conf != nil {
		one.Account = account(&one)
		one.Webroots = webroots(&one)
		one.Credentials = credentials(&one)
	}
	return one
}

// letsEncrypt is the directory that certbot takes where a lineage names none.
const letsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// account looks for the account of a lineage as certbot's accounts.py does: below the path of the
// CA's directory, and below that of the directory that Let's Encrypt had before.
func account(one *audit.Lineage) audit.Account {
	a := audit.Account{ID: one.Param("account")}
	server := one.Conf.Server
	if server == "" {
		server = letsEncrypt
	}
	u, err := url.Parse(server)
	if a.ID == "" || err != nil || !filepath.IsLocal(a.ID) || !filepath.IsLocal(filepath.Join(u.Host, u.Path)) {
		return audit.Account{}
	}
	a.Path = filepath.Join(one.Tree, "accounts", u.Host, u.Path, a.ID)
	older := strings.Replace(a.Path, "acme-v02", "acme-v01", 1)
	a.Missing = absent(filepath.Join(a.Path, "private_key.json")) && absent(filepath.Join(older, "private_key.json"))
	return a
}

func absent(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func place(one *audit.Lineage, key string) audit.Place {
	return audit.Place{File: one.Conf.Path, Line: one.Conf.Line("renewalparams." + key)}
}

func webroots(one *audit.Lineage) []audit.Webroot {
	var all []audit.Webroot
	for _, path := range one.Conf.Params["webroot_path"].Values {
		if filepath.IsAbs(path) {
			all = append(all, audit.Webroot{Path: path, Place: place(one, "webroot_path"), Problem: unwritable(path)})
		}
	}
	return all
}

// unwritable says why root could not write into a folder; empty where it can.
func unwritable(path string) string {
	info, err := os.Stat(path)
	var st unix.Statfs_t
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist"
	case err == nil && !info.IsDir():
		return "is not a folder"
	case unix.Statfs(path, &st) == nil && st.Flags&unix.ST_RDONLY != 0:
		return "is on a file system that is mounted read-only"
	}
	return ""
}

// credentials finds the files that DNS plugins log in with: certbot's own, and those of others,
// have them under dns_NAME_credentials.
func credentials(one *audit.Lineage) []audit.Credential {
	var all []audit.Credential
	for key, set := range one.Conf.Params {
		if !strings.HasSuffix(key, "_credentials") || !filepath.IsAbs(set.String()) {
			continue
		}
		c := audit.Credential{Path: set.String(), Place: audit.Place{File: one.Conf.Path, Line: set.Line}, Missing: absent(set.String())}
		if target, err := filepath.EvalSymlinks(c.Path); err == nil {
			c.Facts, _ = access.Look(target) // what may not be seen is not open to others
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b audit.Credential) int { return a.Place.Line - b.Place.Line })
	return all
}

// tree looks at what the lineages of a tree share.
func (l *look) tree(dir string, names []string) audit.Tree {
	t := audit.Tree{Dir: dir, Backups: setting(filepath.Join(dir, "cli.ini"))}
	t.Ini, _ = disk.ReadCLIIni(dir) // what is wrong with it is told by the hooks
	for _, entry := range list(filepath.Join(dir, "live")) {
		if entry.IsDir() && !slices.Contains(names, entry.Name()) {
			t.Orphans = append(t.Orphans, entry.Name())
		}
	}
	t.Misplaced, t.Hooked = misplaced(filepath.Join(dir, "renewal-hooks"))
	for _, name := range []string{"live", "archive"} {
		if facts, err := access.Look(filepath.Join(dir, name)); err == nil {
			t.Folders = append(t.Folders, facts)
		}
	}
	paths := []string{filepath.Join(dir, "cli.ini")}
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, "renewal", name+".conf"))
	}
	t.Writable = l.writable(paths...)
	return t
}

func list(dir string) []fs.DirEntry {
	entries, _ := os.ReadDir(dir) // of what is not there nothing follows
	return entries[:min(len(entries), maxEntries)]
}

// misplaced finds hooks beside the folders that certbot runs, and in folders within these.
func misplaced(dir string) (paths []string, hooked bool) {
	for _, entry := range list(dir) {
		path := filepath.Join(dir, entry.Name())
		if !slices.Contains([]string{"pre", "deploy", "post"}, entry.Name()) {
			if isProgram(path) {
				paths = append(paths, path)
			}
			continue
		}
		for _, inner := range list(path) {
			hooked = hooked || !inner.IsDir()
			for _, below := range list(filepath.Join(path, inner.Name())) {
				if file := filepath.Join(path, inner.Name(), below.Name()); isProgram(file) {
					paths = append(paths, file)
				}
			}
		}
	}
	return paths, hooked
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && (info.Mode()&0o111 != 0 || filepath.Ext(path) == ".sh")
}

// writable returns those files that others can change, once for each component that lets them.
func (l *look) writable(paths ...string) []audit.Writable {
	if l.means.Strangers {
		return nil
	}
	var all []audit.Writable
	var told []string
	for _, path := range paths {
		var open *ownership.Error
		if !errors.As(ownership.Check(path), &open) || slices.Contains(told, open.Path) {
			continue
		}
		told = append(told, open.Path)
		all = append(all, audit.Writable{Path: path, Problem: open.Path + " " + open.Problem, Fix: open.Fix})
	}
	return all
}

// backups matches the setting of cli.ini that says how many logs are kept.
var backups = regexp.MustCompile(`^\s*(?:--)?max[-_]log[-_]backups\s*[=: ]\s*(\d+)`)

// setting reads max-log-backups.
func setting(path string) audit.Setting {
	for i, line := range lines(path) {
		if m := backups.FindStringSubmatch(line); m != nil {
			return audit.Setting{Value: m[1], Place: audit.Place{File: path, Line: i + 1}}
		}
	}
	return audit.Setting{}
}
