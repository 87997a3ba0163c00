package gather

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/audit"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
	"github.com/certmedic/certmedic/probe/host/service"
)

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// configured sets keys of the section [renewalparams] of a lineage.
func configured(t *testing.T, path string, lines ...string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, line := range strings.Split(string(data), "\n") {
		key, _, _ := strings.Cut(line, " = ")
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+" = ") }) {
			kept = append(kept, line)
		}
		if line == "[renewalparams]" {
			kept = append(kept, lines...)
		}
	}
	write(t, path, strings.Join(kept, "\n"), 0o644)
}

// gathered looks at a tree, and at an nginx of which main is the configuration.
func gathered(t *testing.T, tree *disktest.Tree, main string) audit.Facts {
	t.Helper()
	m := Means{Reader: disk.Reader{Keys: &disk.KeyCache{}}, Trees: []string{tree.ConfigDir}}
	if main != "" {
		m.Mains = map[service.Kind][]string{service.Nginx: {main}}
	}
	return Gather(t.Context(), m)
}

func find(t *testing.T, f audit.Facts, name string) audit.Lineage {
	t.Helper()
	i := slices.IndexFunc(f.Lineages, func(l audit.Lineage) bool { return l.Name == name })
	if i < 0 {
		t.Fatalf("%s is not seen", name)
	}
	return f.Lineages[i]
}

func TestLineages(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop.test", []string{"shop.test"}, disktest.Options{})
	dir := t.TempDir()
	token := write(t, filepath.Join(dir, "token.ini"), "secret", 0o600)
	configured(t, tree.Conf("shop.test"), "account = 0123", "webroot_path = "+dir+"/gone,", "dns_x_credentials = "+token, "dns_y_credentials = "+token+".gone")
	write(t, filepath.Join(tree.ConfigDir, "live", "old", "README"), "", 0o644)
	write(t, filepath.Join(tree.ConfigDir, "renewal-hooks", "reload.sh"), "#!/bin/sh\n", 0o755)
	write(t, filepath.Join(tree.ConfigDir, "cli.ini"), "# defaults\nmax-log-backups = 0\n", 0o644)
	f := gathered(t, tree, "")

	l := find(t, f, "shop.test")
	if len(l.Stored.Chain) == 0 || l.Due.IsZero() || l.Key.Mode != 0o600 || l.Key.OthersRead || l.Leaf.Signature == "" || len(l.Broken) > 0 {
		t.Errorf("the lineage is %+v", l)
	}
	if len(l.Webroots) != 1 || l.Webroots[0].Problem == "" || l.Webroots[0].Place.Line == 0 {
		t.Errorf("the webroots are %+v", l.Webroots)
	}
	if len(l.Credentials) != 2 || l.Credentials[0].Missing || !l.Credentials[1].Missing {
		t.Errorf("the credentials are %+v", l.Credentials)
	}
	if !l.Account.Missing || l.Account.ID != "0123" {
		t.Errorf("the account is %+v", l.Account)
	}
	i := slices.IndexFunc(f.Trees, func(o audit.Tree) bool { return o.Dir == tree.ConfigDir })
	if got := f.Trees[i]; !slices.Equal(got.Orphans, []string{"old"}) || len(got.Misplaced) != 1 || got.Backups.Value != "0" || got.Backups.Place.Line != 2 {
		t.Errorf("the tree is %+v", got)
	}
}

func TestAccountOfTheOlderDirectory(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop.test", []string{"shop.test"}, disktest.Options{})
	configured(t, tree.Conf("shop.test"), "account = 0123", "server = https://acme-v02.api.letsencrypt.org/directory")
	write(t, filepath.Join(tree.ConfigDir, "accounts/acme-v01.api.letsencrypt.org/directory/0123/private_key.json"), "{}", 0o600)
	if l := find(t, gathered(t, tree, ""), "shop.test"); l.Account.Missing {
		t.Errorf("%+v", l.Account)
	}
}

func TestHooks(t *testing.T) {
	tree := disktest.New(t)
	for _, name := range []string{"blog.test", "shop.test"} {
		tree.Issue(name, []string{name}, disktest.Options{RenewHook: "systemctl reload " + name})
	}
	hooks := filepath.Join(tree.ConfigDir, "renewal-hooks", "deploy")
	write(t, filepath.Join(hooks, "all"), "#!/bin/sh\nsystemctl reload nginx\n", 0o755)
	write(t, filepath.Join(hooks, "asleep"), "#!/bin/sh\n", 0o644)
	open := write(t, filepath.Join(hooks, "open"), "#!/bin/sh\nsystemctl reload nginx\n", 0o777)
	f := gathered(t, tree, "")
	byPlace := map[string]audit.Hook{}
	for _, h := range f.Hooks {
		if len(h.Lineages) > 0 && h.Lineages[0].Tree == tree.ConfigDir {
			byPlace[h.Place.File] = h
		}
	}
	if len(byPlace) != 5 {
		t.Fatalf("there are %d hooks: %v", len(byPlace), byPlace)
	}
	if h := byPlace[filepath.Join(hooks, "all")]; len(h.Lineages) != 2 || len(h.Script.Reloads) != 1 || h.Skipped != "" {
		t.Errorf("that of all is %+v", h)
	}
	if h := byPlace[filepath.Join(hooks, "asleep")]; h.Skipped == "" {
		t.Errorf("that which is not executable is %+v", h)
	}
	if h := byPlace[open]; len(h.Writable) != 1 || !strings.Contains(h.Writable[0].Fix, "chmod") {
		t.Errorf("that which others may write is %+v", h)
	}
	if h := byPlace[tree.Conf("shop.test")]; len(h.Lineages) != 1 || h.Place.Line == 0 {
		t.Errorf("that of one lineage is %+v", h)
	}
}

func TestOnlySoManyHooksAreRead(t *testing.T) {
	r := &reading{look: &look{}, found: map[hookKey]int{}}
	for i := range maxHooks + 5 {
		r.take(audit.ID{Name: "shop"}, hookKey{"post", strconv.Itoa(i), ""}, func() audit.Hook { return audit.Hook{Skipped: "not executable"} })
	}
	if len(r.all) != maxHooks || !r.more {
		t.Errorf("%d hooks were read; that there are more is told: %v", len(r.all), r.more)
	}
}

func TestUsed(t *testing.T) {
	tree := disktest.New(t)
	old := tree.Issue("shop.test", []string{"shop.test"}, disktest.Options{})
	tree.Renew("shop.test")
	dir := t.TempDir()
	stale := write(t, filepath.Join(dir, "stale.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: old.Leaf.Raw})), 0o644)
	fresh := filepath.Join(dir, "fresh.pem")
	data, err := os.ReadFile(tree.Live("shop.test", "fullchain"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, fresh, string(data), 0o644)
	link := filepath.Join(dir, "link.pem")
	if err := os.Symlink(tree.Live("shop.test", "fullchain"), link); err != nil {
		t.Fatal(err)
	}
	foreign := write(t, filepath.Join(dir, "foreign.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: other(t)})), 0o644)
	paths := map[string]audit.Lead{
		tree.Live("shop.test", "fullchain"): audit.LeadOwn, link: audit.LeadOwn, tree.Archive("shop.test", "fullchain", 1): audit.LeadPinned,
		stale: audit.LeadCopy, fresh: audit.LeadCopy, foreign: audit.LeadForeign, filepath.Join(dir, "none.pem"): audit.LeadMissing,
	}
	var conf strings.Builder
	conf.WriteString("events {}\nhttp {\n")
	for path := range paths {
		fmt.Fprintf(&conf, "server { listen 443 ssl; server_name %s; ssl_certificate %s; ssl_certificate_key %s; }\n", filepath.Base(path), path, tree.Live("shop.test", "privkey"))
	}
	f := gathered(t, tree, write(t, filepath.Join(dir, "nginx.conf"), conf.String()+"}\n", 0o644))
	seen := 0
	for _, u := range f.Used {
		want, ok := paths[u.Path]
		if !ok {
			continue
		}
		seen++
		if u.Lead != want || u.Stale != (u.Path == stale) || u.Place.Line == 0 {
			t.Errorf("%s is %+v, want %s", u.Path, u, want)
		}
	}
	if seen != len(paths) {
		t.Errorf("%d files are used, want %d", seen, len(paths))
	}
}

// other returns a leaf of somebody else.
func other(t *testing.T) []byte {
	t.Helper()
	leaf := disktest.New(t).Issue("other.test", []string{"other.test"}, disktest.Options{}).Leaf
	if _, err := x509.ParseCertificate(leaf.Raw); err != nil {
		t.Fatal(err)
	}
	return leaf.Raw
}

func TestAPartThatHangsIsLeftBehind(t *testing.T) {
	m := Means{Reader: disk.Reader{}, Own: func(ctx context.Context) (audit.Own, string) {
		return audit.Own{File: "c.yml"}, "it is busy"
	}}
	f := Gather(t.Context(), m)
	if f.Own.File != "c.yml" || f.Sees(audit.PartOwn) || time.Since(f.Now) > ceiling {
		t.Errorf("it says %+v", f.Unseen)
	}
	l := &look{}
	hangs := make(chan struct{})
	defer close(hangs)
	l.within(10*time.Millisecond, []part{{"what hangs", func() func() { <-hangs; return nil }}, {"what does not", func() func() { return func() { l.f.Root = "done" } }}})
	if l.f.Root != "done" || len(l.f.Unseen) != 1 {
		t.Errorf("it says %q, %v", l.f.Root, l.f.Unseen)
	}
}

func TestATreeHasNothingLive(t *testing.T) {
	f := Gather(t.Context(), Means{Root: "/mnt"})
	for _, p := range []audit.Part{audit.PartProcesses, audit.PartUnits, audit.PartClock} {
		if f.Sees(p) {
			t.Errorf("%s is seen", p)
		}
	}
	if len(f.Processes.Processes) > 0 || f.Clock.Known {
		t.Error("the host is looked at")
	}
}

func TestDeclaredPlugins(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "certbot_nginx-2.1.egg-info/entry_points.txt"), "[certbot.plugins]\nnginx = a:B\n\n[console_scripts]\nx = y:z\n", 0o644)
	write(t, filepath.Join(dir, "certbot_dns_x-1.dist-info/entry_points.txt"), "[certbot.plugins]\ndns-x = a:B\n", 0o644)
	write(t, filepath.Join(dir, "requests-1.dist-info/entry_points.txt"), "[certbot.plugins]\nnot = a:B\n", 0o644)
	if got := declared(dir); !slices.Equal(got, []string{"dns-x", "nginx"}) {
		t.Errorf("it declares %v", got)
	}
}
