package remote_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/remote"
	"github.com/certmedic/certmedic/remediate/remote/session"
	"github.com/certmedic/certmedic/remediate/remote/sshfake"
)

// world is a host with a service that loads a certificate and a key: what it has loaded is in a file.
type world struct {
	t      *testing.T
	server *sshfake.Server
	dir    string // of the service
	state  string
	swap   bool
}

// newWorld makes a host on which version "old" is installed and loaded.
func newWorld(t *testing.T, swap bool) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, server: sshfake.Start(t), dir: dir, state: filepath.Join(t.TempDir(), "state"), swap: swap}
	if swap {
		w.do(os.Mkdir(filepath.Join(dir, "tls.1"), 0o755))
		w.do(os.Symlink("tls.1", filepath.Join(dir, "tls")))
	} else {
		w.do(os.Mkdir(filepath.Join(dir, "tls"), 0o755))
	}
	w.write("cert.pem", "cert old", 0o644)
	w.write("key.pem", "key old", 0o640)
	w.do(os.WriteFile(filepath.Join(dir, "loaded"), []byte("cert old key old"), 0o644))
	return w
}

func (w *world) do(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, "tls", name) }

func (w *world) write(name, text string, mode fs.FileMode) {
	w.t.Helper()
	w.do(os.WriteFile(w.path(name), []byte(text), mode))
	w.do(os.Chmod(w.path(name), mode))
}

// read returns what a file holds; empty where there is none.
func (w *world) read(name string) string {
	data, err := os.ReadFile(w.path(name))
	if err != nil && !os.IsNotExist(err) {
		w.t.Fatal(err)
	}
	return string(data)
}

func (w *world) loaded() string {
	data, err := os.ReadFile(filepath.Join(w.dir, "loaded"))
	w.do(err)
	return string(data)
}

// order returns the order for a version. The service takes no version that has "bad" in its name.
func (w *world) order(version string, token uint64) remote.Order {
	sh := func(script string) []string { return []string{"sh", "-c", "cd " + w.dir + " && " + script} }
	o := remote.Order{
		Certificate: "shop", Version: certmedic.Fingerprint(version), Token: token, Folder: w.state, FileTimeout: 20 * time.Second,
		Destination: certmedic.Destination{
			Name: "web", Test: sh("! grep -q bad tls/cert.pem"), Reload: sh(`! grep -q heavy tls/cert.pem && echo "$(cat tls/cert.pem) $(cat tls/key.pem)" >loaded`),
			Alive: sh("test -s loaded"),
		},
		Files: []remote.File{
			{InstalledFile: certmedic.InstalledFile{From: certmedic.PartFullchain, To: w.path("cert.pem")}, Data: []byte("cert " + version)},
			{InstalledFile: certmedic.InstalledFile{From: certmedic.PartPrivkey, To: w.path("key.pem")}, Data: []byte("key " + version)},
		},
	}
	if w.swap {
		o.Destination.Swap = filepath.Join(w.dir, "tls")
	}
	return o
}

func (w *world) dial() *session.Session {
	w.t.Helper()
	s, err := session.Dial(w.t.Context(), w.server.Host(), session.Limits{})
	w.do(err)
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) deploy(o remote.Order) *remote.Deployment {
	w.t.Helper()
	return remote.Deploy(w.t.Context(), w.dial(), o)
}

// install deploys a version and keeps it.
func (w *world) install(version string, token uint64) {
	w.t.Helper()
	d := w.deploy(w.order(version, token))
	if err := d.Keep(w.t.Context()); err != nil || d.Outcome.Reason != remote.ReasonInstalled {
		w.t.Errorf("installing %s has the outcome %+v, kept with %v; notes %q", version, d.Outcome, err, d.Notes)
	}
}

// whole proves that every file is one that was written whole.
func (w *world) whole(versions ...string) {
	w.t.Helper()
	for _, name := range []string{"cert", "key"} {
		got := w.read(name + ".pem")
		known := false
		for _, v := range versions {
			known = known || got == name+" "+v
		}
		if !known {
			w.t.Errorf("%s holds %q, of %v", name, got, versions)
		}
	}
}

// holds proves that the service's files and what it has loaded are of one version, and that nothing
// else is left on the host.
func (w *world) holds(version string) {
	w.t.Helper()
	w.whole(version)
	if got := strings.TrimSpace(w.loaded()); got != "cert "+version+" key "+version {
		w.t.Errorf("the service has loaded %q, not %q", got, version)
	}
	w.clean()
}

// clean proves that no deployment left anything on the host but its token.
func (w *world) clean() {
	w.t.Helper()
	w.do(filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), ".certmedic-remote") {
			w.t.Errorf("%s was left", path)
		}
		return err
	}))
	w.do(filepath.WalkDir(w.state, func(path string, e fs.DirEntry, err error) error {
		below, _ := filepath.Rel(w.state, path)
		if err == nil && (strings.Count(below, "/") > 1 || !e.IsDir() && !strings.HasPrefix(e.Name(), "token-")) {
			w.t.Errorf("%s was left", below)
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
}

// tokens returns the tokens that the host knows.
func (w *world) tokens() string {
	w.t.Helper()
	names, err := filepath.Glob(filepath.Join(w.state, "*", "token-*"))
	w.do(err)
	var all []string
	for _, name := range names {
		all = append(all, strings.TrimLeft(strings.TrimPrefix(filepath.Base(name), "token-"), "0"))
	}
	return fmt.Sprint(all)
}

// mode returns the permission bits of a file.
func (w *world) mode(name string) fs.FileMode {
	w.t.Helper()
	info, err := os.Stat(w.path(name))
	w.do(err)
	return info.Mode().Perm()
}
