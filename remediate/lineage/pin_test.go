package lineage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic"
)

// TestAutorenew edits renewal configurations as people and certbot write them: one line changes,
// and comes back to the byte.
func TestAutorenew(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about     string
		conf, off string // off is empty where nothing is to be done
		broken    string
	}{
		{"certbot's own gets a line", "version = 5\n[renewalparams]\naccount = a\n", "version = 5\n[renewalparams]\nautorenew = False\naccount = a\n", ""},
		{"a line that says True says False", "[renewalparams]\na = b\nautorenew = True\nc = d\n", "[renewalparams]\na = b\nautorenew = False\nc = d\n", ""},
		{"its comment, blanks and quotes stay as they are", "[renewalparams]\n\t'autorenew'=\"True\"  # mine\n", "[renewalparams]\n\t'autorenew'=False  # mine\n", ""},
		{"what is off stays", "[renewalparams]\nautorenew = False\n", "", ""},
		{"what is off in another way stays", "[renewalparams]\nautorenew = \"no\"  # mine\n", "", ""},
		{"a comment says nothing", "[renewalparams]\n# autorenew = False\n", "[renewalparams]\nautorenew = False\n# autorenew = False\n", ""},
		{"the top says nothing", "autorenew = False\n[renewalparams]\n", "autorenew = False\n[renewalparams]\nautorenew = False\n", ""},
		{"another section says nothing", "[renewalparams]\na = b\n[acme_renewal_info]\nautorenew = False\n", "[renewalparams]\nautorenew = False\na = b\n[acme_renewal_info]\nautorenew = False\n", ""},
		{"a nested section says nothing", "[renewalparams]\n[[webroot_map]]\nautorenew = False\n", "[renewalparams]\nautorenew = False\n[[webroot_map]]\nautorenew = False\n", ""},
		{"a value of several lines says nothing", "[renewalparams]\nx = '''\nautorenew = False\n[y]\n'''\n", "[renewalparams]\nautorenew = False\nx = '''\nautorenew = False\n[y]\n'''\n", ""},
		{"a heading may have blanks and a comment", "[ renewalparams ] # here\nautorenew=1", "[ renewalparams ] # here\nautorenew=False", ""},
		{"a heading may end the file", "a = b\n[renewalparams]", "a = b\n[renewalparams]\nautorenew = False\n", ""},
		{"line ends and a byte order mark stay", "\ufeffversion = 5\r\n[renewalparams]\r\na = b\r\n", "\ufeffversion = 5\r\n[renewalparams]\r\nautorenew = False\r\na = b\r\n", ""},
		{"without the section certbot skips the lineage", "version = 5\n", "", "no section [renewalparams]"},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := newWorld(t)
			must(t, errors.Join(os.WriteFile(w.conf(), []byte(tt.conf), 0o640), os.Chmod(w.conf(), 0o640)))
			r := w.request(Pin)
			r.Version = ""
			_, err := w.run(t, r)
			if tt.broken != "" {
				if err == nil || !strings.Contains(err.Error(), tt.broken) {
					t.Errorf("got %v, want %q", err, tt.broken)
				}
				return
			}
			must(t, err)
			want := tt.off
			if want == "" {
				want = tt.conf
			}
			if got := read(t, w.conf()); got != want {
				t.Errorf("pinned it is %q, want %q", got, want)
			}
			if info, err := os.Stat(w.conf()); err != nil || info.Mode() != 0o640 {
				t.Errorf("its mode is %v: %v", info.Mode(), err)
			}
			w.do(t, Unpin)
			if got := read(t, w.conf()); got != tt.conf {
				t.Errorf("unpinned it is %q, was %q", got, tt.conf)
			}
		})
	}
}

// TestPinnedLinks shows that certbot leaves the links of a pin to an older version alone, which
// it leads to the newest whole one otherwise.
func TestPinnedLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.picture(t)
	w.do(t, Pin)
	w.certbot(t)
	w.serves(t, "pinned, and certbot ran", 1, w.version(1))
	if !strings.Contains(read(t, w.conf()), "autorenew = False\n") {
		t.Error("certbot goes on renewing")
	}
	if number, err := w.place().highest(); err != nil || number != 2 {
		t.Errorf("the next version gets number %d: %v", number+1, err)
	}
	w.do(t, Pin)
	w.do(t, Unpin)
	same(t, "unpinned", w.picture(t), before)
	if out := w.do(t, Unpin); !strings.Contains(out, "not pinned") {
		t.Errorf("unpinned again, it told %q", out)
	}
}

// TestAPinInPlaceOfAnother kills a pin that takes the place of another one after each of its steps,
// and what takes it back, too. Then the one before stands, to the byte; and without a name both
// are taken back.
func TestAPinInPlaceOfAnother(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about         string
		first, second int // the versions
		between       func(t *testing.T, w *world)
		unpinned      int // where the links lead in the end
	}{
		{"to a newer version", 1, 2, nil, 3},
		{"to an older version", 2, 1, nil, 3},
		{"to the same version, after certbot renewed by force", 2, 2, func(t *testing.T, w *world) { w.save(t, w.renewed(t)) }, 4},
		{"after its owner switched renewals on", 1, 2, func(t *testing.T, w *world) {
			must(t, os.WriteFile(w.conf(), []byte("[renewalparams]\nautorenew = True\n"), 0o644))
		}, 3},
	} {
		t.Run(tt.about, func(t *testing.T) {
			t.Parallel()
			begin := func() (w *world, second Request, before map[string]string) {
				w = newWorld(t)
				w.save(t, w.renewed(t))
				first := w.request(Pin)
				first.Version, first.Name = w.version(tt.first), "first"
				_, err := w.run(t, first)
				must(t, err)
				if tt.between != nil {
					tt.between(t, w)
				}
				second = w.request(Pin)
				second.Version, second.Name = w.version(tt.second), "second"
				return w, second, w.picture(t)
			}
			for step, more := 0, true; more; step++ {
				when := fmt.Sprintf("killed after step %d", step)
				w, second, before := begin()
				more = step == 0 || killed(t, second, step)
				w.sound(t, when)
				back := second
				back.Do = Unpin
				for n := 1; killed(t, back, n); n++ {
					w.sound(t, when+", and taken back")
				}
				same(t, when+", and taken back", w.picture(t), before)
				w.do(t, Unpin)
				w.serves(t, when+", and taken back, and unpinned", tt.unpinned, w.version(tt.unpinned))

				w, second, _ = begin()
				if step > 0 {
					killed(t, second, step)
				}
				_, err := w.run(t, second)
				must(t, err)
				w.certbot(t)
				w.serves(t, when+", and again, and certbot ran", tt.second, w.version(tt.second))
				w.do(t, Unpin)
				w.serves(t, when+", and unpinned", tt.unpinned, w.version(tt.unpinned))
				for path := range w.picture(t) {
					if strings.HasSuffix(path, asideEnding) {
						t.Errorf("%s, and unpinned: %q is left", when, path)
					}
				}
				if conf := read(t, w.conf()); strings.Contains(conf, "False") {
					t.Errorf("%s, and unpinned: certbot does not renew", when)
				}
			}
		})
	}
}

// TestOthersWentOn changes what was pinned before it is unpinned: what others made of it stays.
func TestOthersWentOn(t *testing.T) {
	t.Parallel()
	t.Run("certbot renewed by force", func(t *testing.T) {
		w := newWorld(t)
		w.do(t, Pin)
		next := w.save(t, w.renewed(t))
		if out := w.do(t, Unpin); !strings.Contains(out, "the links stay") || !strings.Contains(out, "renews the lineage") {
			t.Errorf("it told %q", out)
		}
		w.serves(t, "unpinned", next, w.version(3))
		if _, err := os.Stat(w.file(certmedic.PartChain, 2)); err != nil {
			t.Errorf("what was put aside is not back: %v", err)
		}
		if strings.Contains(read(t, w.conf()), "autorenew") {
			t.Error("certbot is still kept from renewing")
		}
	})
	t.Run("certbot wrote its configuration anew", func(t *testing.T) {
		w := newWorld(t)
		w.do(t, Pin)
		must(t, os.WriteFile(w.conf(), []byte("version = 6\n[renewalparams]\nautorenew = False\nnew = 1\n"), 0o644))
		w.do(t, Unpin)
		if got := read(t, w.conf()); got != "version = 6\n[renewalparams]\nnew = 1\n" {
			t.Errorf("it is %q", got)
		}
	})
	t.Run("its owner switched it on", func(t *testing.T) {
		w := newWorld(t)
		w.do(t, Pin)
		must(t, os.WriteFile(w.conf(), []byte("[renewalparams]\nautorenew = True\n"), 0o644))
		if out := w.do(t, Unpin); !strings.Contains(out, "somebody else") {
			t.Errorf("it told %q", out)
		}
		if got := read(t, w.conf()); got != "[renewalparams]\nautorenew = True\n" {
			t.Errorf("it is %q", got)
		}
	})
	t.Run("somebody put back what was put aside", func(t *testing.T) {
		w := newWorld(t)
		w.do(t, Pin)
		must(t, os.WriteFile(w.file(certmedic.PartChain, 2), []byte("theirs"), 0o644))
		if out := w.do(t, Unpin); !strings.Contains(out, "stays aside") {
			t.Errorf("it told %q", out)
		}
		if got := read(t, w.file(certmedic.PartChain, 2)); got != "theirs" {
			t.Errorf("it was replaced by %q", got)
		}
	})
	t.Run("the version that the links led to is gone", func(t *testing.T) {
		w := newWorld(t)
		w.do(t, Pin)
		must(t, os.Remove(w.file(certmedic.PartCert, 2)))
		if out := w.do(t, Unpin); !strings.Contains(out, "the links stay") {
			t.Errorf("it told %q", out)
		}
		w.serves(t, "unpinned", 1, w.version(1))
	})
}

func TestPinToNothing(t *testing.T) {
	t.Parallel()
	for about, spoil := range map[string]func(w *world, r *Request) error{
		"no such version":    func(_ *world, r *Request) error { r.Version = "ff"; return nil },
		"its key is gone":    func(w *world, _ *Request) error { return os.Remove(w.file("privkey", 1)) },
		"its key is another": func(w *world, _ *Request) error { return os.WriteFile(w.file("privkey", 1), []byte("x"), 0o600) },
	} {
		w := newWorld(t)
		r := w.request(Pin)
		must(t, spoil(w, &r))
		before := w.picture(t)
		if _, err := w.run(t, r); err == nil || !strings.Contains(err.Error(), "no whole version") {
			t.Errorf("%s: %v", about, err)
		}
		same(t, about, w.picture(t), before)
	}
}

// TestFullDisk leaves room for ever more of what is written, on a file system of its own: what
// could not be finished is finished once there is room, or taken back while there is none.
func TestFullDisk(t *testing.T) {
	dir := mounted(t)
	failed := 0
	for pages := 0; ; pages++ {
		w := worldIn(t, filepath.Join(dir, strings.Repeat("x", pages+1)))
		w.work = t.TempDir() // the step's memory is elsewhere, in the state folder
		before := w.picture(t)
		room := fill(t, dir, pages)
		_, err := w.run(t, w.request(Append))
		if err == nil {
			w.serves(t, "with room", 3, w.version(1))
			break
		}
		failed++
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("with %d pages of room: %v", pages, err)
		}
		w.sound(t, "on a full disk")
		if pages%2 == 0 {
			must(t, os.Remove(room))
			w.do(t, Append)
			w.serves(t, "with room again", 3, w.version(1))
		}
		w.do(t, Retract)
		same(t, "retracted", w.picture(t), before)
		must(t, os.RemoveAll(filepath.Dir(w.ConfigDir)))
		_ = os.Remove(room) // where it was not removed yet
	}
	if failed < 3 {
		t.Errorf("it failed %d times only", failed)
	}
}

func TestReadOnlyTree(t *testing.T) {
	dir := mounted(t)
	w := worldIn(t, filepath.Join(dir, "x"))
	w.work = t.TempDir()
	before := w.picture(t)
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, do := range []Do{Append, Pin} {
		if _, err := w.run(t, w.request(do)); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", do, err)
		}
	}
	same(t, "on a read-only tree", w.picture(t), before)
}

// mounted mounts a small file system, which takes root.
func mounted(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=512k,mode=0755"); err != nil {
		t.Skipf("mounting a file system of its own: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// fill takes all room but that of so many pages, and returns the file that does.
func fill(t *testing.T, dir string, pages int) string {
	t.Helper()
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	must(t, err)
	page, size := make([]byte, os.Getpagesize()), int64(0)
	for err == nil {
		var n int
		n, err = f.Write(page)
		size += int64(n)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	must(t, errors.Join(f.Truncate(max(0, size-int64(pages*os.Getpagesize()))), f.Close()))
	return path
}
