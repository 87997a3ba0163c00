package deploy_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/atomicfile"
	"github.com/certmedic/certmedic/internal/lab/mint"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/probe/inspect"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// version is a stored version with its parts in files of their own.
type version struct {
	certmedic.Stored
	pair mint.Pair
	key  []byte
	dir  string
}

func newVersion(t *testing.T) version {
	t.Helper()
	root := mint.Must(mint.NewCA("root"))
	issuing := mint.Must(root.Intermediate("issuing"))
	pair := mint.Must(issuing.Leaf(mint.Leaf{Names: []string{"shop.test", "www.shop.test"}}))
	v := version{pair: pair, key: mint.Must(pair.KeyPEM()), dir: t.TempDir()}
	v.Files = certmedic.StoredFiles{
		Cert: write(t, v.dir, "cert.pem", pair.CertPEM()), Chain: write(t, v.dir, "chain.pem", pair.ChainPEM()),
		Fullchain: write(t, v.dir, "fullchain.pem", pair.FullchainPEM()), Privkey: write(t, v.dir, "privkey.pem", v.key),
	}
	for _, cert := range pair.Chain {
		v.Chain = append(v.Chain, inspect.Facts(cert))
	}
	v.Names = []string{"shop.test", "www.shop.test"}
	return v
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func script(t *testing.T, text string) string {
	t.Helper()
	path := write(t, t.TempDir(), "hook.sh", []byte(text))
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHooksAreRunAsCertbotRunsThem(t *testing.T) {
	v := newVersion(t)
	path := script(t, "#!/bin/sh\n")
	environ := []string{"PATH=/bin", "LANG=C"}
	plan, err := deploy.Hooks(v.Stored, []deploy.Hook{{Command: path, Path: path}, {Command: "systemctl reload nginx && true"}}, environ)
	if err != nil {
		t.Fatal(err)
	}
	wantEnv := []string{"PATH=/bin", "LANG=C", "RENEWED_DOMAINS=shop.test www.shop.test", "RENEWED_LINEAGE=" + v.dir}
	if len(plan.Commands) != 2 || plan.Empty() {
		t.Fatalf("commands %+v", plan.Commands)
	}
	for i, command := range []string{path, "systemctl reload nginx && true"} {
		c := plan.Commands[i]
		if !slices.Equal(c.Argv, []string{"/bin/sh", "-c", command}) || c.Name != command || c.Phase != deploy.PhaseHook {
			t.Errorf("command %d is %+v", i, c)
		}
		if !slices.Equal(c.Env, wantEnv) || !slices.Equal(c.EnvDiff, wantEnv[2:]) {
			t.Errorf("its environment is %q, of which %q is added", c.Env, c.EnvDiff)
		}
	}
	if len(environ) != 2 || plan.Version != v.Chain[0].SHA256 || len(plan.Files) != 0 || len(plan.Locks) == 0 {
		t.Errorf("plan %+v", plan)
	}
}

func TestHooksThatOthersMayWriteAreRefused(t *testing.T) {
	v := newVersion(t)
	for _, mode := range []fs.FileMode{0o757, 0o777} {
		path := script(t, "#!/bin/sh\n")
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		plan, err := deploy.Hooks(v.Stored, []deploy.Hook{{Command: path, Path: path}}, nil)
		var open *ownership.Error
		if !errors.As(err, &open) || !plan.Empty() {
			t.Errorf("mode %o: error %v, plan %+v", mode, err, plan)
		}
	}
	folder := filepath.Dir(script(t, ""))
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "hook.sh")
	if _, err := deploy.Hooks(v.Stored, []deploy.Hook{{Command: path, Path: path}}, nil); err == nil {
		t.Error("a hook in a folder that others may write is taken")
	}
}

func TestSkippedHooksAreNotesAndDoNotRun(t *testing.T) {
	plan, err := deploy.Hooks(newVersion(t).Stored, []deploy.Hook{{Skipped: "x.sh: not executable"}}, nil)
	if err != nil || !plan.Empty() || !slices.Equal(plan.Notes, []string{"x.sh: not executable"}) {
		t.Errorf("plan %+v, error %v", plan, err)
	}
}

// TestBasis shows what makes a plan another cure: then attempts are counted anew.
func TestBasis(t *testing.T) {
	v := newVersion(t)
	path := script(t, "exit 1\n")
	hooks := []deploy.Hook{{Command: path, Path: path}}
	basis := func(h []deploy.Hook) string {
		t.Helper()
		p, err := deploy.Hooks(v.Stored, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		return p.Basis
	}
	first := basis(hooks)
	if first == "" || basis(hooks) != first {
		t.Fatal("the same hooks are another cure")
	}
	if basis(append(slices.Clone(hooks), deploy.Hook{Command: "true"})) == first {
		t.Error("another hook is the same cure")
	}
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	second := basis(hooks)
	if second == first {
		t.Error("a hook with another mode is the same cure")
	}
	if err := os.WriteFile(path, []byte("exit 0; :\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if basis(hooks) == second {
		t.Error("a hook with another content is the same cure")
	}
	later := time.Now().Add(time.Minute)
	third := basis(hooks)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if basis(hooks) == third {
		t.Error("a hook that was written again with the same length is the same cure")
	}
}

func TestBasisOfSteps(t *testing.T) {
	v := newVersion(t)
	basis := func(d certmedic.Destination) string {
		t.Helper()
		p, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return p.Basis
	}
	d := certmedic.Destination{Name: "web", Reload: []string{"true"}}
	first := basis(d)
	if basis(d) != first {
		t.Error("the same steps are another cure")
	}
	d.Reload = []string{"true", "again"}
	if basis(d) == first {
		t.Error("other steps are the same cure")
	}
}

func destination(dir string, parts ...certmedic.FilePart) certmedic.Destination {
	d := certmedic.Destination{Name: "web"}
	for _, part := range parts {
		d.Files = append(d.Files, certmedic.InstalledFile{From: part, To: filepath.Join(dir, string(part)+".pem")})
	}
	return d
}

func allParts() []certmedic.FilePart {
	return []certmedic.FilePart{certmedic.PartCert, certmedic.PartChain, certmedic.PartFullchain, certmedic.PartPrivkey}
}

// install carries out the files of a plan.
func install(t *testing.T, p deploy.Plan) *deploy.Installation {
	t.Helper()
	in, err := deploy.Stage(p, filepath.Join(t.TempDir(), "backup"))
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestStepsInstallEveryPart(t *testing.T) {
	tests := []struct {
		about string
		keep  func(*version) // what the source keeps as files
	}{
		{"the source keeps every part", func(*version) {}},
		{"the source keeps leaf and chain apart", func(v *version) { v.Files.Fullchain = "" }},
		{"the source keeps the full chain alone", func(v *version) {
			v.Files.Cert, v.Files.Chain = v.Files.Fullchain, ""
		}},
		{"the file of the leaf holds the chain, too", func(v *version) {
			v.Files.Cert, v.Files.Chain, v.Files.Fullchain = v.Files.Fullchain, "", ""
		}},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			v, dir := newVersion(t), t.TempDir()
			tt.keep(&v)
			plan, err := deploy.Steps([]certmedic.Destination{destination(dir, allParts()...)}, v.Stored, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			install(t, plan)
			for part, want := range map[certmedic.FilePart][]byte{
				certmedic.PartCert: v.pair.CertPEM(), certmedic.PartChain: v.pair.ChainPEM(),
				certmedic.PartFullchain: v.pair.FullchainPEM(), certmedic.PartPrivkey: v.key,
			} {
				if got := read(t, filepath.Join(dir, string(part)+".pem")); got != string(want) {
					t.Errorf("%s is\n%s\nwant\n%s", part, got, want)
				}
			}
		})
	}
}

func TestStepsRefuseWhatDoesNotFit(t *testing.T) {
	tests := []struct {
		about  string
		change func(t *testing.T, v *version)
		want   string
	}{
		{"the key belongs to another leaf", func(t *testing.T, v *version) { write(t, v.dir, "privkey.pem", newVersion(t).key) }, "pairing"},
		{"the key is no key", func(t *testing.T, v *version) { write(t, v.dir, "privkey.pem", []byte("nonsense")) }, "reading the key"},
		{"the source has no key", func(_ *testing.T, v *version) { v.Files.Privkey = "" }, "reading the key"},
		{"a part is gone", func(t *testing.T, v *version) {
			if err := os.Remove(v.Files.Fullchain); err != nil {
				t.Fatal(err)
			}
		}, "reading the chain"},
		{"a part is huge", func(t *testing.T, v *version) { write(t, v.dir, "fullchain.pem", make([]byte, 2<<20)) }, "larger than"},
		{"the version changed since it was judged", func(t *testing.T, v *version) {
			other := newVersion(t)
			v.Files = other.Files
		}, "another version"},
		{"an intermediate was swapped since it was judged", func(t *testing.T, v *version) {
			write(t, v.dir, "fullchain.pem", append(v.pair.CertPEM(), newVersion(t).pair.ChainPEM()...))
		}, "another version"},
		{"nothing was judged", func(_ *testing.T, v *version) { v.Chain = nil }, "another version"},
	}
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			v := newVersion(t)
			tt.change(t, &v)
			plan, err := deploy.Steps([]certmedic.Destination{destination(t.TempDir(), allParts()...)}, v.Stored, nil, false)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !plan.Empty() {
				t.Errorf("error %v, plan %+v; want an error with %q", err, plan, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Errorf("the error shows a key: %v", err)
			}
		})
	}
}

// TestKeyNeverLeavesACombinedFile shows that a source that keeps certificate and key in one
// file spreads the key to no other part.
func TestKeyNeverLeavesACombinedFile(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	write(t, v.dir, "combined.pem", append(append(v.pair.CertPEM(), v.key...), v.pair.ChainPEM()...))
	combined := filepath.Join(v.dir, "combined.pem")
	v.Files = certmedic.StoredFiles{Cert: combined, Privkey: combined}
	plan, err := deploy.Steps([]certmedic.Destination{destination(dir, allParts()...)}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	install(t, plan)
	for _, part := range []string{"cert.pem", "chain.pem", "fullchain.pem"} {
		if strings.Contains(read(t, filepath.Join(dir, part)), "PRIVATE KEY") {
			t.Errorf("%s holds the key", part)
		}
	}
	if got := read(t, filepath.Join(dir, "fullchain.pem")); got != string(v.pair.FullchainPEM()) {
		t.Errorf("the full chain is %q", got)
	}
	if got := read(t, filepath.Join(dir, "privkey.pem")); got != string(v.key) {
		t.Error("the key is not installed alone")
	}
}

// TestStepsRefuseWhatOthersMayWrite shows that programs and target folders are looked at
// when a plan is made, not only when the configuration is loaded.
func TestStepsRefuseWhatOthersMayWrite(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	program := filepath.Join(dir, "reload")
	write(t, dir, "reload", []byte("#!/bin/sh\n"))
	d := destination(dir, allParts()...)
	d.Reload = []string{program}
	for about, open := range map[string]string{"a program": program, "a target's folder": dir} {
		if err := os.Chmod(open, 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false); err == nil || !strings.Contains(err.Error(), "written by others") {
			t.Errorf("%s: %v", about, err)
		}
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(program, 0o777); err != nil {
		t.Fatal(err)
	}
	hook := deploy.Hook{Command: "sh -e " + program}
	if _, err := deploy.Hooks(v.Stored, []deploy.Hook{hook}, nil); err == nil {
		t.Error("a script that others may write is run by an interpreter")
	}
}

// TestStepsHoldOneVersion shows that what was planned is installed even if the source
// changes in between.
func TestStepsHoldOneVersion(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	plan, err := deploy.Steps([]certmedic.Destination{destination(dir, allParts()...)}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	other := newVersion(t)
	write(t, v.dir, "fullchain.pem", other.pair.FullchainPEM())
	install(t, plan)
	if got := read(t, filepath.Join(dir, "fullchain.pem")); got != string(v.pair.FullchainPEM()) {
		t.Error("another version was installed than the one that was planned")
	}
}

func TestStepsOrderAndShareCommands(t *testing.T) {
	v := newVersion(t)
	two := []certmedic.Destination{
		{Name: "a", Test: []string{"t", "a"}, Reload: []string{"r"}, Alive: []string{"alive"}},
		{Name: "b", Test: []string{"t", "b"}, Reload: []string{"r"}},
	}
	plan, err := deploy.Steps(two, v.Stored, []string{"X=1"}, true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range plan.Commands {
		names = append(names, c.Name)
	}
	if want := []string{"a: test", "b: test", "a: reload", "a: alive"}; !slices.Equal(names, want) {
		t.Errorf("commands %q, want %q: every test before any reload, a shared reload once", names, want)
	}
	if len(plan.Locks) != 1 || len(plan.Files) != 0 {
		t.Errorf("plan %+v", plan)
	}
}

// mode returns a file's permission bits with its owner.
func mode(t *testing.T, path string) (fs.FileMode, uint32, uint32) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return info.Mode().Perm(), stat.Uid, stat.Gid
}

func TestModes(t *testing.T) {
	tests := []struct {
		about string
		file  certmedic.InstalledFile
		old   fs.FileMode // 0: there is no file yet
		want  fs.FileMode
	}{
		{"a new chain may be read by all", certmedic.InstalledFile{From: certmedic.PartFullchain}, 0, 0o644},
		{"a new key only by its owner", certmedic.InstalledFile{From: certmedic.PartPrivkey}, 0, 0o600},
		{"a replaced file keeps its mode", certmedic.InstalledFile{From: certmedic.PartPrivkey}, 0o640, 0o640},
		{"the configured mode wins", certmedic.InstalledFile{From: certmedic.PartPrivkey, Mode: "0440"}, 0o600, 0o440},
		{"the configured mode wins for a new file", certmedic.InstalledFile{From: certmedic.PartCert, Mode: "600"}, 0, 0o600},
	}
	v := newVersion(t)
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			tt.file.To = filepath.Join(t.TempDir(), "target.pem")
			if tt.old != 0 {
				write(t, filepath.Dir(tt.file.To), "target.pem", []byte("old"))
				if err := os.Chmod(tt.file.To, tt.old); err != nil {
					t.Fatal(err)
				}
			}
			plan, err := deploy.Steps([]certmedic.Destination{{Name: "d", Files: []certmedic.InstalledFile{tt.file}}}, v.Stored, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			install(t, plan)
			if got, _, _ := mode(t, tt.file.To); got != tt.want {
				t.Errorf("mode %o, want %o", got, tt.want)
			}
		})
	}
}

func TestOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	v, dir := newVersion(t), t.TempDir()
	target := write(t, dir, "key.pem", []byte("old"))
	if err := os.Chown(target, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	d := certmedic.Destination{Name: "d", Files: []certmedic.InstalledFile{
		{From: certmedic.PartPrivkey, To: target},
		{From: certmedic.PartCert, To: filepath.Join(dir, "cert.pem"), Owner: "nobody:daemon"},
	}}
	plan, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	in := install(t, plan)
	for path, want := range map[string][2]uint32{target: {65534, 65534}, filepath.Join(dir, "cert.pem"): {65534, 1}} {
		if _, uid, gid := mode(t, path); uid != want[0] || gid != want[1] {
			t.Errorf("%s belongs to %d:%d, want %v", path, uid, gid, want)
		}
	}
	if err := deploy.PutBack(in.Changes()); err != nil {
		t.Fatal(err)
	}
	if perm, uid, gid := mode(t, target); perm != 0o600 || uid != 65534 || gid != 65534 || read(t, target) != "old" {
		t.Errorf("put back as %o %d:%d %q", perm, uid, gid, read(t, target))
	}
}

func TestPutBack(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	replaced := write(t, dir, "fullchain.pem", []byte("old"))
	if err := os.Chmod(replaced, 0o640); err != nil {
		t.Fatal(err)
	}
	plan, err := deploy.Steps([]certmedic.Destination{destination(dir, certmedic.PartFullchain, certmedic.PartPrivkey)}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	in := install(t, plan)
	if !deploy.Installed(in.Changes()) {
		t.Error("what was committed is not seen as installed")
	}
	for _, c := range in.Changes() {
		if c.Backup != "" {
			if perm, _, _ := mode(t, c.Backup); perm != 0o600 {
				t.Errorf("backup %q has mode %o", c.Backup, perm)
			}
		}
	}
	for range 2 { // doing it again does no harm
		if err := deploy.PutBack(in.Changes()); err != nil {
			t.Fatal(err)
		}
		if perm, _, _ := mode(t, replaced); perm != 0o640 || read(t, replaced) != "old" {
			t.Errorf("put back as %o %q", perm, read(t, replaced))
		}
		if _, err := os.Stat(filepath.Join(dir, "privkey.pem")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file that was not there before is still there: %v", err)
		}
	}
	if deploy.Installed(in.Changes()) {
		t.Error("what was put back is seen as installed")
	}
	wantNothingStaged(t, dir)
}

func TestPutBackGoesOnAfterAnError(t *testing.T) {
	dir := t.TempDir()
	backup := write(t, dir, "backup", []byte("tampered"))
	first := write(t, dir, "first", []byte("new"))
	second := write(t, dir, "second", []byte("new"))
	err := deploy.PutBack([]certmedic.Change{
		{Path: first, Backup: backup, Before: "somebody else's hash", Mode: 0o600, UID: -1, GID: -1},
		{Path: second, UID: -1, GID: -1},
	})
	if err == nil || !strings.Contains(err.Error(), first) {
		t.Errorf("error %v does not name %s", err, first)
	}
	if read(t, first) != "new" {
		t.Error("a backup that is not what was kept was put back")
	}
	if _, err := os.Stat(second); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the second file was not put back after the first failed")
	}
}

// TestLinks shows that a symbolic link at a target stays one.
func TestLinks(t *testing.T) {
	v, dir, elsewhere := newVersion(t), t.TempDir(), t.TempDir()
	link := filepath.Join(dir, "fullchain.pem")
	real := filepath.Join(elsewhere, "real.pem")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	plan, err := deploy.Steps([]certmedic.Destination{destination(dir, certmedic.PartFullchain)}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	in := install(t, plan)
	if read(t, real) != string(v.pair.FullchainPEM()) {
		t.Error("the link's target does not hold the version")
	}
	if err := deploy.PutBack(in.Changes()); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != real {
		t.Errorf("the link is gone: %q, %v", to, err)
	}
	if _, err := os.Stat(real); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the target that was not there before is still there: %v", err)
	}
	write(t, elsewhere, "real.pem", nil)
	if _, err := atomicfile.Stage(real, nil, 0o600, -1, -1); err != nil { // and be killed
		t.Fatal(err)
	}
	if err := deploy.Sweep(link); err != nil {
		t.Fatal(err)
	}
	wantNothingStaged(t, elsewhere)
}

func wantNothingStaged(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, ".certmedic-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}

func TestStageThatFailsLeavesNothing(t *testing.T) {
	tests := []struct {
		about string
		bad   certmedic.InstalledFile
	}{
		{"the second target's folder is missing", certmedic.InstalledFile{From: certmedic.PartCert, To: "/nonexistent/certmedic/cert.pem"}},
		{"the second target is a folder", certmedic.InstalledFile{From: certmedic.PartCert, To: "/"}},
		{"the second file's owner does not exist", certmedic.InstalledFile{From: certmedic.PartCert, Owner: "no-such-user:root"}},
		{"the second file's group does not exist", certmedic.InstalledFile{From: certmedic.PartCert, Owner: ":no-such-group"}},
		{"the second file's mode is no number", certmedic.InstalledFile{From: certmedic.PartCert, Mode: "rw-r--r--"}},
	}
	v := newVersion(t)
	for _, tt := range tests {
		t.Run(tt.about, func(t *testing.T) {
			dir := t.TempDir()
			old := write(t, dir, "fullchain.pem", []byte("old"))
			if tt.bad.To == "" {
				tt.bad.To = filepath.Join(dir, "bad.pem")
			}
			d := destination(dir, certmedic.PartFullchain)
			d.Files = append(d.Files, tt.bad)
			plan, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			_, err = deploy.Stage(plan, filepath.Join(t.TempDir(), "backup"))
			if err == nil || !strings.Contains(err.Error(), tt.bad.To) {
				t.Errorf("error %v does not name %q", err, tt.bad.To)
			}
			wantNothingStaged(t, dir)
			if read(t, old) != "old" {
				t.Error("staging changed a target")
			}
		})
	}
}

func TestStageChangesNothingYet(t *testing.T) {
	v, dir := newVersion(t), t.TempDir()
	old := write(t, dir, "fullchain.pem", []byte("old"))
	plan, err := deploy.Steps([]certmedic.Destination{destination(dir, certmedic.PartFullchain, certmedic.PartPrivkey)}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	in, err := deploy.Stage(plan, filepath.Join(t.TempDir(), "backup"))
	if err != nil {
		t.Fatal(err)
	}
	if read(t, old) != "old" {
		t.Error("a staged file is in place already")
	}
	if err := in.Abort(); err != nil {
		t.Fatal(err)
	}
	wantNothingStaged(t, dir)
	if got := read(t, old); got != "old" || bytes.Contains([]byte(got), v.key) {
		t.Error("abort changed a target")
	}
}

// TestCommitThatFails shows that a failure half way leaves nothing staged, and that
// PutBack makes everything old again.
func TestCommitThatFails(t *testing.T) {
	v, dir, gone := newVersion(t), t.TempDir(), filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(gone, 0o755); err != nil {
		t.Fatal(err)
	}
	old := write(t, dir, "fullchain.pem", []byte("old"))
	d := destination(dir, certmedic.PartFullchain)
	d.Files = append(d.Files, destination(gone, certmedic.PartPrivkey).Files...)
	d.Files = append(d.Files, destination(dir, certmedic.PartCert).Files...)
	plan, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	in, err := deploy.Stage(plan, filepath.Join(t.TempDir(), "backup"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("commit into a folder that is gone: %v", err)
	}
	wantNothingStaged(t, dir)
	if err := deploy.PutBack(in.Changes()); err != nil {
		t.Fatal(err)
	}
	if read(t, old) != "old" {
		t.Error("the first file is not old again")
	}
	if _, err := os.Stat(filepath.Join(dir, "cert.pem")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the third file is there: %v", err)
	}
}
