package lineage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/lab/mint"
)

func TestAppendAndRetract(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.picture(t)
	if out := w.do(t, Append); !strings.Contains(out, "number 3") {
		t.Errorf("it told %q", out)
	}
	w.serves(t, "appended", 3, w.version(1))
	if got, want := read(t, w.file("cert", 3)), read(t, w.file("cert", 1)); got != want {
		t.Errorf("the leaf is written as %q, certbot wrote %q", got, want)
	}
	w.certbot(t)
	w.serves(t, "certbot ran", 3, w.version(1))
	appendedOnce := w.picture(t)
	w.do(t, Append)
	same(t, "appended again", w.picture(t), appendedOnce)
	w.do(t, Retract)
	same(t, "retracted", w.picture(t), before)
	if out := w.do(t, Retract); !strings.Contains(out, "nothing") {
		t.Errorf("retracted again, it told %q", out)
	}
	same(t, "retracted again", w.picture(t), before)
}

// TestKilledAtEachStep kills the process right after each of its steps. Certbot stumbles over
// nothing then, the same request finishes what was begun, and its counterpart takes it back.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		do, back Do
		number   int // that the links lead to, of the first version
	}{{Append, Retract, 3}, {Pin, Unpin, 1}} {
		t.Run(string(tt.do), func(t *testing.T) {
			t.Parallel()
			for step := 1; ; step++ {
				w := newWorld(t)
				before := w.picture(t)
				if !killed(t, w.request(tt.do), step) {
					if step < 6 {
						t.Errorf("it had %d steps only", step-1)
					}
					break
				}
				when := fmt.Sprintf("killed after step %d of %s", step, tt.do)
				w.sound(t, when)
				w.do(t, tt.do)
				w.serves(t, when+", and again", tt.number, w.version(1))
				for back := 1; ; back++ {
					when := fmt.Sprintf("%s, and killed after step %d of %s", when, back, tt.back)
					if !killed(t, w.request(tt.back), back) {
						same(t, when, w.picture(t), before)
						break
					}
					w.sound(t, when)
					if step > 1 {
						w.do(t, tt.back) // the rest of the steps back is seen with the first step
						same(t, when+", and again", w.picture(t), before)
						break
					}
				}
				w = newWorld(t)
				before = w.picture(t)
				killed(t, w.request(tt.do), step)
				w.do(t, tt.back)
				same(t, when+", and taken back", w.picture(t), before)
			}
		})
	}
}

// TestCertbotGoesOn has certbot run after a kill at each step: whatever it finds it makes whole,
// and what was begun is finished on top of it or not at all.
func TestCertbotGoesOn(t *testing.T) {
	t.Parallel()
	for step := 1; ; step++ {
		w := newWorld(t)
		if !killed(t, w.request(Append), step) {
			break
		}
		when := fmt.Sprintf("certbot ran after step %d", step)
		w.certbot(t)
		w.sound(t, when)
		w.do(t, Append)
		w.serves(t, when+", and again", 3, w.version(1))
	}
}

func TestCertbotWasFaster(t *testing.T) {
	t.Parallel()
	for step := 1; ; step++ {
		w := newWorld(t)
		more := killed(t, w.request(Append), step)
		next := w.save(t, w.renewed(t))
		now := w.picture(t)
		for _, do := range []Do{Append, Retract} {
			if _, err := w.run(t, w.request(do)); !errors.Is(err, ErrOvertaken) {
				t.Errorf("step %d: %s after a renewal: %v", step, do, err)
			}
			same(t, fmt.Sprintf("step %d: %s after a renewal", step, do), w.picture(t), now)
		}
		w.serves(t, "renewed", next, w.version(len(w.versions)))
		if !more {
			break
		}
	}
}

// renewed returns another version by another CA, which says nothing here.
func (w *world) renewed(t *testing.T) mint.Pair {
	t.Helper()
	return mint.Must(mint.Must(mint.Must(mint.NewCA("Root")).Intermediate("Issuing")).Leaf(mint.Leaf{Names: []string{shop}}))
}

// TestAsCertbotWrites holds modes, groups and numbers to what certbot's save_successor gives.
func TestAsCertbotWrites(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		change func(t *testing.T, w *world)
		number int
		modes  map[certmedic.FilePart]os.FileMode
	}{
		{"a key is its owner's alone, the rest is for all", nil, 3, map[certmedic.FilePart]os.FileMode{"privkey": 0o600, "cert": 0o644, "chain": 0o644, "fullchain": 0o644}},
		{"what the key's group may do is kept, others may read it at most", func(t *testing.T, w *world) {
			must(t, os.Chmod(w.file("privkey", 2), 0o647))
		}, 3, map[certmedic.FilePart]os.FileMode{"privkey": 0o644}},
		{"a certificate that was closed stays closed", func(t *testing.T, w *world) {
			must(t, os.Chmod(w.file("fullchain", 2), 0o640))
		}, 3, map[certmedic.FilePart]os.FileMode{"fullchain": 0o640, "cert": 0o644}},
		{"a key that is used again is a link in the archive, whose target tells", func(t *testing.T, w *world) {
			must(t, os.Remove(w.file("privkey", 2)))
			must(t, os.Symlink("privkey1.pem", w.file("privkey", 2)))
			must(t, os.Chmod(w.file("privkey", 1), 0o640))
		}, 3, map[certmedic.FilePart]os.FileMode{"privkey": 0o640}},
		{"after a crash of certbot's the highest number of any part tells", func(t *testing.T, w *world) {
			must(t, os.WriteFile(w.file("privkey", 7), []byte("x"), 0o600))
			must(t, os.WriteFile(w.file("cert", 4), nil, 0o644))
		}, 8, nil},
		{"links at different numbers are led together", func(t *testing.T, w *world) {
			must(t, os.Remove(w.place().link("chain")))
			must(t, os.Symlink("../../archive/"+shop+"/chain1.pem", w.place().link("chain")))
		}, 3, nil},
		{"what is no version is passed over", func(t *testing.T, w *world) {
			for _, name := range []string{"cert99.pem.bak", "cert-8.pem", "privkey.pem", "other9.pem", "cert1234567890.pem"} {
				must(t, os.WriteFile(filepath.Join(w.Archive(shop), name), nil, 0o644))
			}
		}, 3, nil},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := newWorld(t)
			if tt.change != nil {
				tt.change(t, w)
			}
			before := w.picture(t)
			w.do(t, Append)
			w.serves(t, tt.about, tt.number, w.version(1))
			for part, want := range tt.modes {
				info, err := os.Lstat(w.file(part, tt.number))
				must(t, err)
				if info.Mode() != want {
					t.Errorf("%s has mode %v, want %v", part, info.Mode(), want)
				}
			}
			w.do(t, Retract)
			same(t, "retracted", w.picture(t), before)
		})
	}
}

// TestRefused holds that nothing is written where what was asked for is not right.
func TestRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about  string
		change func(t *testing.T, w *world, r *Request)
		says   string
	}{
		{"nothing that is known is asked for", func(_ *testing.T, _ *world, r *Request) { r.Do = "enlarge" }, `it asks for "enlarge"`},
		{"the lineage's name is a path", func(_ *testing.T, _ *world, r *Request) { r.Place.Lineage = "../x" }, "not the name of a lineage"},
		{"the configuration is another one's", func(_ *testing.T, w *world, r *Request) {
			r.Place.Conf = filepath.Join(w.ConfigDir, "renewal", "blog.conf")
		}, "its configuration is said to be"},
		{"the archive is not there", func(_ *testing.T, _ *world, r *Request) { r.Place.Archive += "2" }, "no such file"},
		{"the archive is a file", func(_ *testing.T, _ *world, r *Request) { r.Place.Archive = r.Place.Conf }, "not a folder"},
		{"the links' folder is the archive", func(_ *testing.T, _ *world, r *Request) { r.Place.Live = r.Place.Archive }, "both"},
		{"the links lead to another archive", func(t *testing.T, w *world, r *Request) {
			r.Place.Archive = filepath.Join(w.ConfigDir, "archive", "blog")
			must(t, os.Mkdir(r.Place.Archive, 0o755))
		}, "leads to"},
		{"a regular file stands in a link's place", func(t *testing.T, w *world, _ *Request) {
			must(t, os.Remove(w.place().link("cert")))
			must(t, os.WriteFile(w.place().link("cert"), nil, 0o644))
		}, "reading the links"},
		{"others may write the archive", func(t *testing.T, w *world, _ *Request) { must(t, os.Chmod(w.Archive(shop), 0o777)) }, "may be written by others"},
		{"others may write the parts", func(t *testing.T, w *world, _ *Request) { must(t, os.Chmod(w.file("cert", 1), 0o666)) }, "may be written by others"},
		{"the files hold another version", func(_ *testing.T, w *world, r *Request) { r.Version = w.version(2) }, "the files hold version"},
		{"the key is another one's", func(_ *testing.T, w *world, r *Request) { r.Files.Privkey = w.file("privkey", 2) }, "pairing"},
		{"there is no key", func(_ *testing.T, w *world, r *Request) { r.Files.Privkey = w.file("cert", 1) }, "holds no private key"},
		{"there is no chain", func(_ *testing.T, w *world, r *Request) { r.Files.Fullchain = w.file("cert", 1) }, "no chain"},
		{"the parts are named by no path", func(_ *testing.T, _ *world, r *Request) { r.Files.Cert = "cert.pem" }, "not an absolute path"},
		{"the memory is of another version", func(t *testing.T, w *world, r *Request) {
			must(t, os.MkdirAll(r.Work, 0o700))
			must(t, os.WriteFile(filepath.Join(r.Work, appendFile), []byte(`{"version":"ff","number":3}`), 0o600))
		}, "remembers another version"},
		{"the memory is torn", func(t *testing.T, w *world, r *Request) {
			must(t, os.MkdirAll(r.Work, 0o700))
			must(t, os.WriteFile(filepath.Join(r.Work, appendFile), []byte(`{"ver`), 0o600))
		}, "what was remembered"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := newWorld(t)
			r := w.request(Append)
			tt.change(t, w, &r)
			before := w.picture(t)
			_, err := w.run(t, r)
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "PRIVATE KEY-") {
				t.Errorf("got %v, want %q", err, tt.says)
			}
			same(t, tt.about, w.picture(t), before)
		})
	}
	if err := Run(t.Context(), []byte(`{"do":"append","more":1}`), os.Stdout); err == nil {
		t.Error("a request with an unknown key was carried out")
	}
}

func TestCertbotHoldsALock(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"logs", "config", "work"} {
		w := newWorld(t)
		path := filepath.Join(filepath.Dir(w.ConfigDir), dir, lockName)
		pid := locked(t, path)
		before := w.picture(t)
		_, err := w.run(t, w.request(Append))
		if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), fmt.Sprintf("%q is held by process %d", path, pid)) {
			t.Errorf("%s: %v", dir, err)
		}
		same(t, "held in "+dir, w.picture(t), before)
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the lock that certbot holds was removed: %v", err)
		}
	}
}

func TestFoldersThatCertbotNeverMade(t *testing.T) {
	w := newWorld(t)
	must(t, errors.Join(os.RemoveAll(w.LogsDir), os.RemoveAll(w.WorkDir)))
	w.do(t, Append)
	w.serves(t, "without them", 3, w.version(1))
	if _, err := os.Stat(w.LogsDir); err == nil {
		t.Error("the folder was made")
	}
}

// TestLeftByTheKilled shows that a lock's file alone is no lock, and that what was staged goes.
func TestLeftByTheKilled(t *testing.T) {
	w := newWorld(t)
	for _, dir := range []string{w.Archive(shop), w.Live(shop), filepath.Dir(w.conf())} {
		must(t, os.WriteFile(filepath.Join(dir, ".certmedic-123"), []byte("half"), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(w.ConfigDir, lockName), nil, 0o600))
	w.do(t, Append)
	w.serves(t, "with a stale lock", 3, w.version(1))
	for path := range w.picture(t) {
		if strings.HasPrefix(filepath.Base(path), ".certmedic-") {
			t.Errorf("%q is left", path)
		}
	}
}

func TestALineageThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.do(t, Append)
	w.do(t, Pin)
	must(t, errors.Join(os.RemoveAll(w.Live(shop)), os.RemoveAll(w.Archive(shop)), os.Remove(w.conf())))
	for _, do := range []Do{Retract, Unpin} {
		if out := w.do(t, do); !strings.Contains(out, "is gone") {
			t.Errorf("%s told %q", do, out)
		}
	}
	if _, err := w.run(t, w.request(Append)); err == nil {
		t.Error("a version was added to what is gone")
	}
}
