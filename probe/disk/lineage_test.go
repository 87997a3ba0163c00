package disk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

var names = []string{"shop.example.test", "www.shop.example.test", "192.0.2.7"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// details lists findings, one a line.
func details(findings []certmedic.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%s: %s", f.Code, f.Detail))
	}
	return strings.Join(out, "\n")
}

func TestSoundLineage(t *testing.T) {
	tree := disktest.New(t)
	first := tree.Issue("shop", names, disktest.Options{})
	second := tree.Renew("shop")
	now := time.Now()
	stored := disk.Read(tree.Source("shop"), now)
	if len(stored.Findings) > 0 {
		t.Errorf("findings of a sound lineage: %s", details(stored.Findings))
	}
	if leaf, ok := stored.Leaf(); !ok || leaf.SHA256 != second.Fingerprint || len(stored.Chain) != 2 {
		t.Errorf("leaf %v of %d, want version 2", leaf.SHA256, len(stored.Chain))
	}
	if stored.Version != "2" || !slices.Equal(stored.Names, names) || stored.Time != now {
		t.Errorf("version %q, names %q, time %v", stored.Version, stored.Names, stored.Time)
	}
	if !slices.Equal(stored.Known, []certmedic.Fingerprint{first.Fingerprint, second.Fingerprint}) {
		t.Errorf("known versions %v", stored.Known)
	}
	want := certmedic.StoredFiles{
		Cert: tree.Live("shop", "cert"), Privkey: tree.Live("shop", "privkey"),
		Chain: tree.Live("shop", "chain"), Fullchain: tree.Live("shop", "fullchain"),
	}
	if stored.Files != want || stored.Lock.State != certmedic.LockFree {
		t.Errorf("files %+v, lock %+v", stored.Files, stored.Lock)
	}
	info, err := os.Lstat(stored.Path)
	must(t, err)
	if !stored.Since.Equal(info.ModTime()) {
		t.Errorf("since %v, the link is of %v", stored.Since, info.ModTime())
	}
}

func TestReusedKeyIsALinkInTheArchive(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{ReuseKey: true})
	tree.Renew("shop")
	content := disk.Reader{Keys: &disk.KeyCache{}}.Read(tree.Source("shop"), time.Now())
	if len(content.Stored.Findings) > 0 || !content.KeyMatches {
		t.Errorf("key matches: %t, findings: %s", content.KeyMatches, details(content.Stored.Findings))
	}
}

// brokenRow breaks a sound lineage of two versions in one way.
type brokenRow struct {
	about   string
	spoil   func(t *testing.T, tree *disktest.Tree)
	code    certmedic.FindingCode
	detail  string // a part of it
	version string // that is read all the same, empty where no leaf can be
	status  certmedic.Status
}

func relink(t *testing.T, tree *disktest.Tree, kind, target string) {
	t.Helper()
	must(t, os.Remove(tree.Live("shop", kind)))
	must(t, os.Symlink(target, tree.Live("shop", kind)))
}

func editConf(t *testing.T, tree *disktest.Tree, from, to string) {
	t.Helper()
	data, err := os.ReadFile(tree.Conf("shop"))
	must(t, err)
	must(t, os.WriteFile(tree.Conf("shop"), []byte(strings.Replace(string(data), from, to, 1)), 0o644))
}

// leftOver leaves links to the first version as certbot does while it moves the real ones.
func leftOver(t *testing.T, tree *disktest.Tree, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		target := fmt.Sprintf("../../archive/shop/%s1.pem", kind)
		must(t, os.Symlink(target, filepath.Join(filepath.Dir(tree.Live("shop", kind)), "previous_"+kind+".pem")))
	}
}

// cutNewline takes the newline from the end of the leaf, and makes the fullchain of it.
func cutNewline(t *testing.T, tree *disktest.Tree) {
	t.Helper()
	leaf, err := os.ReadFile(tree.Archive("shop", "cert", 2))
	must(t, err)
	chain, err := os.ReadFile(tree.Archive("shop", "chain", 2))
	must(t, err)
	leaf = leaf[:len(leaf)-1]
	must(t, os.WriteFile(tree.Archive("shop", "cert", 2), leaf, 0o644))
	must(t, os.WriteFile(tree.Archive("shop", "fullchain", 2), slices.Concat(leaf, chain), 0o644))
}

var brokenRows = []brokenRow{
	{"the leaf's link dangles, fullchain tells all the same", func(t *testing.T, tree *disktest.Tree) {
		relink(t, tree, "cert", "../../archive/shop/cert9.pem")
	}, certmedic.LineageBroken, "cert.pem is a dangling link to ", "2", certmedic.StatusWarning},
	{"a link is missing", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Remove(tree.Live("shop", "chain")))
	}, certmedic.LineageBroken, "chain.pem is missing", "2", certmedic.StatusWarning},
	{"the fullchain is missing, cert and chain tell", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Remove(tree.Live("shop", "fullchain")))
	}, certmedic.LineageBroken, "fullchain.pem is missing", "2", certmedic.StatusWarning},
	{"the folder in live is gone", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.RemoveAll(filepath.Dir(tree.Live("shop", "cert"))))
	}, certmedic.FileMissing, "there is no certificate to read", "", certmedic.StatusUnknown},
	{"a regular file stands in a link's place", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Remove(tree.Live("shop", "cert")))
		data, err := os.ReadFile(tree.Archive("shop", "cert", 2))
		must(t, err)
		must(t, os.WriteFile(tree.Live("shop", "cert"), data, 0o644))
	}, certmedic.LineageBroken, "cert.pem is not a link into the archive", "2", certmedic.StatusWarning},
	{"the links are at different versions", func(t *testing.T, tree *disktest.Tree) {
		relink(t, tree, "cert", "../../archive/shop/cert1.pem")
	}, certmedic.LineageBroken, "different versions: cert 1, privkey 2, chain 2, fullchain 2", "2", certmedic.StatusWarning},
	{"the archive holds a newer version", func(_ *testing.T, tree *disktest.Tree) {
		tree.Archived("shop")
	}, certmedic.LineageBroken, "points to version 2 but the archive holds version 3", "2", certmedic.StatusWarning},
	{"a link leads out of the archive", func(t *testing.T, tree *disktest.Tree) {
		relink(t, tree, "chain", filepath.Join(tree.ConfigDir, "live/README"))
	}, certmedic.LineageBroken, "chain.pem points to ", "2", certmedic.StatusCritical},
	{"the key is of another version", func(t *testing.T, tree *disktest.Tree) {
		relink(t, tree, "privkey", "../../archive/shop/privkey1.pem")
	}, certmedic.KeyMismatch, "privkey.pem: the private key does not belong to the certificate in ", "2", certmedic.StatusCritical},
	{"the chain is no PEM, the leaf stays", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.WriteFile(tree.Archive("shop", "chain", 2), []byte("oops"), 0o644))
	}, certmedic.NotACertificate, "chain.pem: neither PEM nor a certificate in DER", "2", certmedic.StatusCritical},
	{"the fullchain is cut off in its second block", func(t *testing.T, tree *disktest.Tree) {
		info, err := os.Stat(tree.Archive("shop", "fullchain", 2))
		must(t, err)
		must(t, os.Truncate(tree.Archive("shop", "fullchain", 2), info.Size()-40))
	}, certmedic.NotACertificate, "the PEM block that begins here is broken", "2", certmedic.StatusCritical},
	{"every certificate is empty", func(t *testing.T, tree *disktest.Tree) {
		for _, kind := range []string{"cert", "chain", "fullchain"} {
			must(t, os.Truncate(tree.Archive("shop", kind, 2), 0))
		}
	}, certmedic.NotACertificate, "cert.pem: the file is empty", "2", certmedic.StatusCritical},
	{"the key is empty", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Truncate(tree.Archive("shop", "privkey", 2), 0))
	}, certmedic.KeyMismatch, "privkey.pem: no private key in the file", "2", certmedic.StatusCritical},
	{"everybody may read the key", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Chmod(tree.Archive("shop", "privkey", 2), 0o644))
	}, certmedic.FilePermissions, "mode 0644", "2", certmedic.StatusWarning},
	{"there is no renewal configuration", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Remove(tree.Conf("shop")))
	}, certmedic.LineageBroken, "renewal/shop.conf is missing", "2", certmedic.StatusWarning},
	{"the configuration lacks a key", func(t *testing.T, tree *disktest.Tree) {
		editConf(t, tree, "\nchain = ", "\nchian = ")
	}, certmedic.LineageBroken, `renewal/shop.conf: the key "chain" is missing`, "2", certmedic.StatusWarning},
	{"the configuration lacks its authenticator", func(t *testing.T, tree *disktest.Tree) {
		editConf(t, tree, "authenticator = webroot", "")
	}, certmedic.LineageBroken, "no authenticator", "2", certmedic.StatusWarning},
	{"the configuration has a senseless line", func(t *testing.T, tree *disktest.Tree) {
		editConf(t, tree, "version = 5.6.0", "version")
	}, certmedic.LineageBroken, "renewal/shop.conf:2: neither a section", "2", certmedic.StatusWarning},
	{"the configuration is a folder", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Remove(tree.Conf("shop")))
		must(t, os.Mkdir(tree.Conf("shop"), 0o755))
	}, certmedic.FileUnreadable, "renewal/shop.conf: not a regular file", "2", certmedic.StatusUnknown},
	{"an update of the links was cut short", func(t *testing.T, tree *disktest.Tree) {
		leftOver(t, tree, "cert", "privkey", "chain", "fullchain")
	}, certmedic.LineageBroken, "certbot goes back to them", "2", certmedic.StatusWarning},
	{"an update was cut short before it kept all links", func(t *testing.T, tree *disktest.Tree) {
		leftOver(t, tree, "cert", "privkey")
	}, certmedic.LineageBroken, "live/shop holds previous_cert.pem, previous_privkey.pem from an update that was cut short: certbot removes them", "2", certmedic.StatusWarning},
	{"an update was cut short while it removed the kept links", func(t *testing.T, tree *disktest.Tree) {
		leftOver(t, tree, "chain", "fullchain")
	}, certmedic.LineageBroken, "live/shop holds previous_chain.pem, previous_fullchain.pem from", "2", certmedic.StatusWarning},
	{"a key that cannot be read is of another version", func(t *testing.T, tree *disktest.Tree) {
		must(t, os.Remove(tree.Archive("shop", "privkey", 1)))
		must(t, os.Mkdir(tree.Archive("shop", "privkey", 1), 0o700))
		relink(t, tree, "privkey", "../../archive/shop/privkey1.pem")
	}, certmedic.LineageBroken, "different versions: cert 2, privkey 1, chain 2, fullchain 2", "2", certmedic.StatusUnknown},
	{"the leaf ends without a newline, so that the fullchain is broken where it meets the chain", func(t *testing.T, tree *disktest.Tree) {
		cutNewline(t, tree)
	}, certmedic.NotACertificate, "line 1: the PEM block that begins here is broken", "2", certmedic.StatusCritical},
	{"cert and fullchain of one version differ", func(t *testing.T, tree *disktest.Tree) {
		data, err := os.ReadFile(tree.Archive("shop", "cert", 1))
		must(t, err)
		must(t, os.WriteFile(tree.Archive("shop", "cert", 2), data, 0o644))
	}, certmedic.LineageBroken, "is not the cert.pem and the chain.pem beside it", "2", certmedic.StatusWarning},
}

func TestBrokenLineages(t *testing.T) {
	for _, row := range brokenRows {
		t.Run(row.about, func(t *testing.T) {
			tree := disktest.New(t)
			tree.Issue("shop", names, disktest.Options{})
			second := tree.Renew("shop")
			later := time.Now().Add(time.Hour) // the files' times can be relied on by then
			reader := disk.Reader{Keys: &disk.KeyCache{}}
			reader.Read(tree.Source("shop"), later)
			row.spoil(t, tree)
			stored := disk.Read(tree.Source("shop"), later)
			if again := reader.Read(tree.Source("shop"), later).Stored; !reflect.DeepEqual(again, stored) {
				t.Errorf("whoever read it before finds:\n%s\nwhoever did not:\n%s", details(again.Findings), details(stored.Findings))
			}
			found := slices.ContainsFunc(stored.Findings, func(f certmedic.Finding) bool {
				return f.Code == row.code && strings.Contains(f.Detail, row.detail)
			})
			if !found {
				t.Errorf("no finding %s %q in:\n%s", row.code, row.detail, details(stored.Findings))
			}
			if status := certmedic.StatusOf(stored.Findings...); status != row.status {
				t.Errorf("status %s, want %s:\n%s", status, row.status, details(stored.Findings))
			}
			if stored.Version != row.version {
				t.Errorf("version %q, want %q", stored.Version, row.version)
			}
			empty := strings.Contains(row.about, "empty") && row.code == certmedic.NotACertificate
			if leaf, _ := stored.Leaf(); row.version != "" && !empty && leaf.SHA256 != second.Fingerprint {
				t.Errorf("the leaf was lost: %s", details(stored.Findings))
			}
			if strings.Contains(details(stored.Findings), "PRIVATE KEY") {
				t.Error("a finding quotes a key")
			}
		})
	}
}

// TestChainsThatLineagesShare holds that what a cache knows of a chain is told of each leaf
// before it, however the leaf's file looks.
func TestChainsThatLineagesShare(t *testing.T) {
	tree := disktest.New(t)
	reader := disk.Reader{Keys: &disk.KeyCache{}}
	for _, row := range []struct {
		about, lineage string
		leaf           func(pem string) string
	}{
		{"the first with the chain", "one", func(pem string) string { return pem }},
		{"another leaf with it", "two", func(pem string) string { return pem }},
		{"a leaf behind a comment", "comment", func(pem string) string { return "about the leaf\n" + pem }},
		{"a leaf twice", "twice", func(pem string) string { return pem + pem }},
		{"a leaf without a newline", "glued", func(pem string) string { return strings.TrimSpace(pem) }},
		{"no certificate in the leaf's place", "request", func(pem string) string {
			return strings.ReplaceAll(pem, " CERTIFICATE-", " CERTIFICATE REQUEST-")
		}},
		{"a leaf without its end", "cut", func(pem string) string { return pem[:len(pem)/2] + "\n" }},
	} {
		tree.Issue(row.lineage, names, disktest.Options{})
		leaf, err := os.ReadFile(tree.Archive(row.lineage, "cert", 1))
		must(t, err)
		chain, err := os.ReadFile(tree.Archive(row.lineage, "chain", 1))
		must(t, err)
		text := row.leaf(string(leaf))
		must(t, os.WriteFile(tree.Archive(row.lineage, "cert", 1), []byte(text), 0o644))
		must(t, os.WriteFile(tree.Archive(row.lineage, "fullchain", 1), []byte(text+string(chain)), 0o644))
		now := time.Now()
		for range 2 {
			got, want := reader.Read(tree.Source(row.lineage), now).Stored, disk.Read(tree.Source(row.lineage), now)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n%+v\nwithout a cache:\n%+v", row.about, got, want)
			}
		}
	}
}

func TestLineageNamesThatArePathsAreRefused(t *testing.T) {
	for _, name := range []string{"", "..", "../x", "a/b", "/etc"} {
		stored := disk.Read(certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: t.TempDir(), Lineage: name}, time.Now())
		if !certmedic.HasFinding(stored.Findings, certmedic.LineageBroken) || stored.Path != "" {
			t.Errorf("%q was read: %+v", name, stored)
		}
	}
}

func TestLineages(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{})
	tree.Issue("blog.example.test", []string{"blog.example.test"}, disktest.Options{})
	tree.Issue("gone", []string{"gone.example.test"}, disktest.Options{})
	must(t, os.Rename(tree.Conf("gone"), tree.Conf("gone")+".bak"))
	found, findings := disk.Lineages(tree.ConfigDir)
	if !slices.Equal(found, []string{"blog.example.test", "shop"}) {
		t.Errorf("lineages %q", found)
	}
	if details(findings) != "lineage_broken: live/gone has no renewal/gone.conf: certbot does not renew it" {
		t.Errorf("findings %s", details(findings))
	}
	_, findings = disk.Lineages(filepath.Join(tree.ConfigDir, "nowhere"))
	if !certmedic.HasFinding(findings, certmedic.FileMissing) {
		t.Errorf("a tree that is not there gave %s", details(findings))
	}
}

func TestSettleWaitsForTheLinks(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{})
	next := tree.Archived("shop")
	relink(t, tree, "fullchain", "../../archive/shop/fullchain2.pem")
	reads := 0
	stored := disk.Settle(t.Context(), tree.Source("shop"), func() time.Time {
		if reads++; reads == 3 {
			tree.Link("shop", 2)
		}
		return time.Now()
	})
	if leaf, _ := stored.Leaf(); leaf.SHA256 != next.Fingerprint || len(stored.Findings) > 0 {
		t.Errorf("version %s: %s", stored.Version, details(stored.Findings))
	}
	if reads != 3 {
		t.Errorf("%d reads until the links were whole, want 3", reads)
	}
}

func TestSettleEndsWithItsContext(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{})
	tree.Archived("shop")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stored := disk.Settle(ctx, tree.Source("shop"), time.Now)
	if !certmedic.HasFinding(stored.Findings, certmedic.LineageBroken) || stored.Version != "1" {
		t.Errorf("a torn state was not told: %+v", stored)
	}
}
