package remediate_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/remediate"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// world is a host in a folder: what is stored, what is installed, and for each address a
// file with what its service has loaded. It lives on disk alone, so that a process that is
// killed and the one after it see the same world.
//
//	stored/{cert,chain,fullchain,privkey}.pem   the source
//	installed/{fullchain,privkey}.pem           what the service reads
//	loaded/ADDRESS                              what is presented there
//	log                                         what commands did, a line each
type world struct {
	dir  string
	cert certmedic.Certificate

	mu     sync.Mutex
	looks  int
	change func(*remediate.Sight) // has the last word about what is seen
}

const shop = "shop"

// newWorld makes a host that holds a new version and serves the old one on an address.
func newWorld(t *testing.T, addresses ...string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	root := mint.Must(mint.NewCA("root"))
	issuing := mint.Must(root.Intermediate("issuing"))
	w.store(t, "old", mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}, NotBefore: time.Now().Add(-60 * 24 * time.Hour)})))
	w.store(t, "stored", mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"shop.test"}})))
	for _, part := range []string{"fullchain.pem", "privkey.pem"} {
		w.write(t, "installed/"+part, w.read(t, "old/"+part))
	}
	if len(addresses) == 0 {
		addresses = []string{"192.0.2.1:443"}
	}
	for _, a := range addresses {
		w.write(t, "loaded/"+a, w.read(t, "old/fullchain.pem"))
	}
	w.write(t, "log", "")
	w.cert = certmedic.Certificate{
		Name: shop, Mode: certmedic.ModeAuto, Allow: []certmedic.ActionKind{certmedic.ActionRedeploy, certmedic.ActionReload},
		Source: certmedic.Source{Kind: certmedic.SourceCertbot, ConfigDir: w.dir, Lineage: shop},
	}
	return w
}

func (w *world) store(t *testing.T, folder string, pair mint.Pair) {
	t.Helper()
	w.write(t, folder+"/cert.pem", string(pair.CertPEM()))
	w.write(t, folder+"/chain.pem", string(pair.ChainPEM()))
	w.write(t, folder+"/fullchain.pem", string(pair.FullchainPEM()))
	w.write(t, folder+"/privkey.pem", string(mint.Must(pair.KeyPEM())))
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(w.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// log returns what commands did.
func (w *world) log(t *testing.T) []string {
	t.Helper()
	return strings.Fields(w.read(t, "log"))
}

// script writes an executable that works in the world's folder.
func (w *world) script(t *testing.T, name, text string) string {
	t.Helper()
	w.write(t, name, "#!/bin/sh\ncd "+w.dir+"\n"+text)
	if err := os.Chmod(w.path(name), 0o755); err != nil {
		t.Fatal(err)
	}
	return w.path(name)
}

// load makes every address present what a folder holds, as a service that reloads.
const load = `for a in loaded/*; do cp %s/fullchain.pem "$a.new" && mv "$a.new" "$a"; done
`

// withHooks gives the lineage deploy hooks, by name.
func (w *world) withHooks(t *testing.T, scripts ...string) {
	t.Helper()
	for i, text := range scripts {
		name := fmt.Sprintf("hooks/%d.sh", i)
		w.script(t, name, fmt.Sprintf("echo %d >> log\n", i)+text)
	}
}

func (w *world) hooks(certmedic.Certificate) ([]deploy.Hook, error) {
	paths, err := filepath.Glob(w.path("hooks/*.sh"))
	var hooks []deploy.Hook
	for _, path := range paths {
		hooks = append(hooks, deploy.Hook{Command: path, Path: path})
	}
	return hooks, err
}

// withSteps gives the certificate deploy steps whose commands are scripts.
func (w *world) withSteps(t *testing.T, test, reload, alive string) {
	t.Helper()
	d := certmedic.Destination{
		Name: "web",
		Files: []certmedic.InstalledFile{
			{From: certmedic.PartFullchain, To: w.path("installed/fullchain.pem")},
			{From: certmedic.PartPrivkey, To: w.path("installed/privkey.pem")},
		},
		Test:   []string{w.script(t, "bin/test", "echo test >> log\n"+test)},
		Reload: []string{w.script(t, "bin/reload", "echo reload >> log\n"+reload)},
		Alive:  []string{w.script(t, "bin/alive", "echo alive >> log\n"+alive)},
	}
	w.cert.Destinations = []certmedic.Destination{d}
}

func loadInstalled() string { return fmt.Sprintf(load, "installed") }
func loadStored() string    { return fmt.Sprintf(load, "stored") }

// look is the remediator's sight of the world.
func (w *world) look(_ context.Context, certificate string) (remediate.Sight, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	if certificate != w.cert.Name {
		return remediate.Sight{}, fmt.Errorf("there is no certificate %q", certificate)
	}
	s := remediate.Sight{Certificate: w.cert, Stored: certmedic.Stored{
		Names: []string{"shop.test"}, Lock: certmedic.Lock{State: certmedic.LockFree},
		Files: certmedic.StoredFiles{
			Cert: w.path("stored/cert.pem"), Chain: w.path("stored/chain.pem"),
			Fullchain: w.path("stored/fullchain.pem"), Privkey: w.path("stored/privkey.pem"),
		},
	}}
	if block, _ := pem.Decode(w.bytes("stored/cert.pem")); block != nil {
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return s, err
		}
		s.Stored.Chain = []certmedic.CertFacts{{SHA256: w.leaf("stored/cert.pem"), NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter}}
		for block, rest := pem.Decode(w.bytes("stored/chain.pem")); block != nil; block, rest = pem.Decode(rest) {
			sum := certmedic.Fingerprint(fmt.Sprintf("%x", sha256.Sum256(block.Bytes)))
			s.Stored.Chain = append(s.Stored.Chain, certmedic.CertFacts{SHA256: sum})
		}
	}
	entries, err := os.ReadDir(w.path("loaded"))
	if err != nil {
		return s, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".new") {
			s.Addresses = append(s.Addresses, remediate.Served{Address: e.Name(), Bound: true, Leaf: w.leaf("loaded/" + e.Name())})
		}
	}
	w.judge(&s)
	if w.change != nil {
		w.change(&s)
	}
	return s, nil
}

func (w *world) looked() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.looks
}

// bytes returns a file's content; a file that cannot be read is empty.
func (w *world) bytes(name string) []byte {
	data, _ := os.ReadFile(w.path(name))
	return data
}

// leaf returns the version that a file begins with; an empty file presents nothing.
func (w *world) leaf(name string) certmedic.Fingerprint {
	block, _ := pem.Decode(w.bytes(name))
	if block == nil {
		return ""
	}
	return certmedic.Fingerprint(fmt.Sprintf("%x", sha256.Sum256(block.Bytes)))
}

// serves reports whether every address presents what a folder holds.
func (w *world) serves(t *testing.T, folder string) bool {
	t.Helper()
	entries, err := os.ReadDir(w.path("loaded"))
	if err != nil || len(entries) == 0 {
		t.Fatal("nothing is served", err)
	}
	want := w.leaf(folder + "/fullchain.pem")
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return w.leaf("loaded/"+e.Name()) != want })
}

// installed reports whether the installed files are those of a folder, all of them.
func (w *world) installed(t *testing.T, folder string) bool {
	t.Helper()
	return w.read(t, "installed/fullchain.pem") == w.read(t, folder+"/fullchain.pem") &&
		w.read(t, "installed/privkey.pem") == w.read(t, folder+"/privkey.pem")
}

// wantTidy checks that nothing staged and no folder of an action is left.
func (w *world) wantTidy(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"installed/.certmedic-*", "run/*"} {
		if left, _ := filepath.Glob(w.path(pattern)); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// journal keeps actions as files, so that it outlives its process.
type journal struct {
	dir    string
	before func(n int) // called before and after the nth record is on disk, from 1 on
	after  func(n int)

	mu      sync.Mutex
	records int
}

func (j *journal) Record(a certmedic.Action) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records++
	if j.before != nil {
		j.before(j.records)
	}
	data, err := json.Marshal(a)
	if err := errors.Join(err, atomicfile.Write(filepath.Join(j.dir, a.ID), data, 0o600, -1, -1)); err != nil {
		return err
	}
	if j.after != nil {
		j.after(j.records)
	}
	return nil
}

func (j *journal) Actions(certificate string, since time.Time) ([]certmedic.Action, error) {
	entries, err := os.ReadDir(j.dir)
	if err != nil {
		return nil, err
	}
	var all []certmedic.Action
	for _, e := range slices.Backward(entries) {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(j.dir, e.Name()))
		var a certmedic.Action
		if err := errors.Join(err, json.Unmarshal(data, &a)); err != nil {
			return nil, err
		}
		if (certificate == "" || a.Certificate == certificate) && !a.StartedAt.Before(since) {
			all = append(all, a)
		}
	}
	return all, nil
}

func (w *world) journal() (*journal, error) {
	dir := w.path("journal")
	return &journal{dir: dir}, os.MkdirAll(dir, 0o700)
}

// actions returns what the journal has, newest first.
func (w *world) actions(t *testing.T) []certmedic.Action {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	all, err := j.Actions("", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// remediator returns one for the world. change may be nil.
func (w *world) remediator(j remediate.Journal, change func(*remediate.Options)) *remediate.Remediator {
	o := remediate.Options{
		Look: w.look, Hooks: w.hooks, Renewal: w.renewal, Journal: j, Frozen: func() bool { return false }, ClockDoubt: func() string { return "" },
		Changed: func(certmedic.Action) {}, Log: slog.New(slog.DiscardHandler),
		RunDir: w.path("run"), Environ: []string{"PATH=/usr/bin:/bin"}, MaxConcurrent: 2,
		CommandTimeout: time.Minute, Self: os.Args[0],
		Candidates: w.candidates, Place: w.place, Loans: loans{w}, RollbackWay: w.rollbackWay,
	}
	if change != nil {
		change(&o)
	}
	return remediate.New(o)
}

// running starts a remediator, which ends with the test at the latest.
func (w *world) running(t *testing.T, change func(*remediate.Options)) (r *remediate.Remediator, stop func()) {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	r = w.remediator(j, change)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the remediator ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return r, stop
}

func drift() []remediate.Want {
	return []remediate.Want{{Kind: certmedic.ActionRedeploy, Rule: "renewed-not-served", Why: "the old version is served"}}
}

// act asks by hand, without a daemon.
func (w *world) act(t *testing.T, q remediate.Request) certmedic.Action {
	t.Helper()
	j, err := w.journal()
	if err != nil {
		t.Fatal(err)
	}
	q.Certificate = shop
	if q.Kind == "" {
		q.Kind = certmedic.ActionRedeploy
	}
	a, err := w.remediator(j, nil).Act(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func wantOutcome(t *testing.T, a certmedic.Action, kind certmedic.OutcomeKind, parts ...string) {
	t.Helper()
	if a.Outcome.Kind != kind {
		t.Errorf("outcome %+v, want %s", a.Outcome, kind)
	}
	for _, part := range parts {
		if !strings.Contains(a.Outcome.Detail, part) {
			t.Errorf("detail %q does not say %q", a.Outcome.Detail, part)
		}
	}
}
