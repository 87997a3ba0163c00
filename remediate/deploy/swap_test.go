package deploy_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// swapped is a destination whose files lie below the link shop in a folder.
func swapped(dir string) certmedic.Destination {
	link := filepath.Join(dir, "shop")
	return certmedic.Destination{Name: "web", Swap: link, Files: []certmedic.InstalledFile{
		{From: certmedic.PartFullchain, To: filepath.Join(link, "fullchain.pem")},
		{From: certmedic.PartPrivkey, To: filepath.Join(link, "private", "key.pem")},
	}}
}

func planSwap(t *testing.T, v version, d certmedic.Destination) deploy.Plan {
	t.Helper()
	plan, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// names lists what is in a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func holds(t *testing.T, d certmedic.Destination, v version) bool {
	t.Helper()
	return read(t, d.Files[0].To) == string(v.pair.FullchainPEM()) && read(t, d.Files[1].To) == string(v.key)
}

func TestSwap(t *testing.T) {
	dir := t.TempDir()
	d := swapped(dir)
	versions := []version{newVersion(t), newVersion(t), newVersion(t), newVersion(t)}
	for i, v := range versions {
		in := install(t, planSwap(t, v, d))
		if !holds(t, d, v) || !deploy.Installed(in.Changes()) {
			t.Fatalf("version %d is not in place", i)
		}
		if err := deploy.Sweep(d.Swap); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := names(t, dir), []string{"shop", "shop.certmedic-3", "shop.certmedic-4"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	for path, want := range map[string]fs.FileMode{"shop/fullchain.pem": 0o644, "shop/private/key.pem": 0o600, "shop": 0o755, "shop/private": 0o755} {
		if got, _, _ := mode(t, filepath.Join(dir, path)); got != want {
			t.Errorf("%s has the mode %o, want %o", path, got, want)
		}
	}
}

// TestSwapKeepsModesAndOwners shows that a new folder and its files are like the old ones.
func TestSwapKeepsModesAndOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	d := swapped(dir)
	install(t, planSwap(t, newVersion(t), d))
	olds := []struct {
		path string
		uid  int
		perm fs.FileMode
	}{{d.Swap, 0, 0o750}, {filepath.Dir(d.Files[1].To), 0, 0o710}, {d.Files[1].To, 65534, 0o440}}
	for _, old := range olds {
		if err := errors.Join(os.Chown(old.path, old.uid, 1), os.Chmod(old.path, old.perm)); err != nil {
			t.Fatal(err)
		}
	}
	install(t, planSwap(t, newVersion(t), d))
	for _, old := range olds {
		if perm, uid, gid := mode(t, old.path); perm != old.perm || int(uid) != old.uid || gid != 1 {
			t.Errorf("%s has the mode %o and belongs to %d:%d", old.path, perm, uid, gid)
		}
	}
}

func TestSwapPutsBack(t *testing.T) {
	for _, row := range []struct {
		about string
		old   func(t *testing.T, dir string) version // makes what the link leads to
		left  []string
	}{
		{"there was nothing", func(*testing.T, string) version { return version{} }, nil},
		{"there was a folder of an earlier version", func(t *testing.T, dir string) version {
			v := newVersion(t)
			install(t, planSwap(t, v, swapped(dir)))
			return v
		}, []string{"shop", "shop.certmedic-1"}},
		{"there was a folder that people made", func(t *testing.T, dir string) version {
			v := newVersion(t)
			install(t, planSwap(t, v, swapped(dir)))
			if err := os.Rename(filepath.Join(dir, "shop.certmedic-1"), filepath.Join(dir, "mine")); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, "shop")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(dir, "mine"), filepath.Join(dir, "shop")); err != nil {
				t.Fatal(err)
			}
			return v
		}, []string{"mine", "shop"}},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := t.TempDir()
			d := swapped(dir)
			old := row.old(t, dir)
			before, _ := os.Readlink(d.Swap) // empty where there is none
			in := install(t, planSwap(t, newVersion(t), d))
			for range 2 { // doing it again does no harm
				if err := errors.Join(deploy.PutBack(in.Changes()), deploy.Sweep(d.Swap)); err != nil {
					t.Fatal(err)
				}
			}
			if deploy.Installed(in.Changes()) {
				t.Error("what was put back is seen as installed")
			}
			if after, _ := os.Readlink(d.Swap); after != before {
				t.Errorf("the link says %q, want %q", after, before)
			}
			if before != "" && !holds(t, d, old) {
				t.Error("the old version is not back")
			}
			if got := names(t, dir); !slices.Equal(got, row.left) {
				t.Errorf("there are %q, want %q", got, row.left)
			}
		})
	}
}

// TestSwapAfterALeftover shows that a folder which a killed process left does not push out the
// one that the link leads to, to which it may have to be led back.
func TestSwapAfterALeftover(t *testing.T) {
	dir := t.TempDir()
	d := swapped(dir)
	old := newVersion(t)
	install(t, planSwap(t, old, d))
	for _, name := range []string{"shop.certmedic-2", "shop.certmedic-03", "shop.certmedic-x", "other.certmedic-9"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	in := install(t, planSwap(t, newVersion(t), d))
	if err := errors.Join(deploy.Sweep(d.Swap), deploy.PutBack(in.Changes())); err != nil {
		t.Fatal(err)
	}
	if !holds(t, d, old) {
		t.Error("the old version is not back")
	}
	if err := deploy.Tidy(in.Changes()); err != nil {
		t.Fatal(err)
	}
	if got, want := names(t, dir), []string{"other.certmedic-9", "shop", "shop.certmedic-03", "shop.certmedic-1", "shop.certmedic-x"}; !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q: what has another name is not ours", got, want)
	}
}

func TestSwapRefusals(t *testing.T) {
	for _, row := range []struct {
		about, want string
		make        func(t *testing.T, d certmedic.Destination)
	}{
		{"a folder is where the link shall be", "make it a link, once, by: mv", func(t *testing.T, d certmedic.Destination) {
			if err := os.Mkdir(d.Swap, 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file is where the link shall be", "not a directory", func(t *testing.T, d certmedic.Destination) {
			write(t, filepath.Dir(d.Swap), "shop", nil)
		}},
		{"the link leads nowhere", "does not lead to a folder", func(t *testing.T, d certmedic.Destination) {
			if err := os.Symlink("gone", d.Swap); err != nil {
				t.Fatal(err)
			}
		}},
		{"the folder holds what would be lost", `holds "dhparam.pem"`, func(t *testing.T, d certmedic.Destination) {
			install(t, planSwap(t, newVersion(t), d))
			write(t, d.Swap, "dhparam.pem", nil)
		}},
		{"the folder of the link is missing", "no such file", func(t *testing.T, d certmedic.Destination) {
			if err := os.Remove(filepath.Dir(d.Swap)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(row.about, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ssl")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			d := swapped(dir)
			row.make(t, d)
			before, _ := os.ReadDir(dir) // it may be missing
			plan, err := deploy.Steps([]certmedic.Destination{d}, newVersion(t).Stored, nil, false)
			if err == nil {
				_, err = deploy.Stage(plan, filepath.Join(t.TempDir(), "backup"))
			}
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), d.Swap) {
				t.Errorf("error %v, want one with %q", err, row.want)
			}
			if after, _ := os.ReadDir(dir); len(after) != len(before) {
				t.Errorf("there are %v, before there were %v", after, before)
			}
		})
	}
}

// TestSwapThatFailsLeavesNothing has another destination fail after the folder was staged.
func TestSwapThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	d := swapped(dir)
	v := newVersion(t)
	install(t, planSwap(t, v, d))
	before := names(t, dir)
	second := swapped(filepath.Join(dir, "missing"))
	plan, err := deploy.Steps([]certmedic.Destination{d, second}, newVersion(t).Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deploy.Stage(plan, filepath.Join(t.TempDir(), "backup")); err == nil {
		t.Fatal("a destination in a folder that is missing was staged")
	}
	if got := names(t, dir); !slices.Equal(got, before) || !holds(t, d, v) {
		t.Errorf("there are %q, want %q", got, before)
	}
}
