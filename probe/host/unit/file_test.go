package unit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// write makes a file below a tree, or a link where the text begins with "-> ".
func write(t testing.TB, root, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
		t.Fatal(err)
	}
	to, link := strings.CutPrefix(text, "-> ")
	err := os.WriteFile(root+path, []byte(text), 0o644)
	if link {
		_ = os.Remove(root + path)
		err = os.Symlink(to, root+path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

const service = "[Unit]\nDescription=a\n[Service]\nExecStart=/bin/a\nUser=a\n"

func TestLoad(t *testing.T) {
	for _, row := range []struct {
		about  string
		files  map[string]string
		name   string
		path   string
		masked bool
		user   string
		starts string // ExecStart=, joined
	}{
		{"a unit of a package", map[string]string{"/usr/lib/systemd/system/a.service": service}, "a.service", "/usr/lib/systemd/system/a.service", false, "a", "/bin/a"},
		{"/etc counts before the package", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/etc/systemd/system/a.service": "[Service]\nExecStart=/bin/b\n",
		}, "a.service", "/etc/systemd/system/a.service", false, "", "/bin/b"},
		{"a link to /dev/null masks", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/etc/systemd/system/a.service": "-> /dev/null",
		}, "a.service", "/etc/systemd/system/a.service", true, "", ""},
		{"an empty file masks", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/run/systemd/system/a.service": "",
		}, "a.service", "/run/systemd/system/a.service", true, "", ""},
		{"a drop-in adds, and an empty value takes back", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/etc/systemd/system/a.service.d/x.conf": "[Service]\nExecStart=\nExecStart=/bin/c \\\n  --long\n# no\nUser=c\n",
		}, "a.service", "/usr/lib/systemd/system/a.service", false, "c", "/bin/c  --long"},
		{"of two drop-ins with one name that of /etc counts", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/etc/systemd/system/a.service.d/x.conf": "[Service]\nUser=etc\n", "/usr/lib/systemd/system/a.service.d/x.conf": "[Service]\nUser=lib\n",
		}, "a.service", "/usr/lib/systemd/system/a.service", false, "etc", "/bin/a"},
		{"drop-ins go by name, wherever they lie", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/etc/systemd/system/a.service.d/1.conf": "[Service]\nUser=etc\n", "/usr/lib/systemd/system/a.service.d/2.conf": "[Service]\nUser=lib\n",
		}, "a.service", "/usr/lib/systemd/system/a.service", false, "lib", "/bin/a"},
		{"a drop-in for all services", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/etc/systemd/system/service.d/x.conf": "[Service]\nUser=all\n",
		}, "a.service", "/usr/lib/systemd/system/a.service", false, "all", "/bin/a"},
		{"a drop-in for all that begin with a word", map[string]string{
			"/usr/lib/systemd/system/snap.x-y.service": service, "/etc/systemd/system/snap.x-.service.d/x.conf": "[Service]\nUser=prefix\n",
		}, "snap.x-y.service", "/usr/lib/systemd/system/snap.x-y.service", false, "prefix", "/bin/a"},
		{"a drop-in that is masked", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/usr/lib/systemd/system/a.service.d/x.conf": "[Service]\nUser=lib\n", "/etc/systemd/system/a.service.d/x.conf": "-> /dev/null",
		}, "a.service", "/usr/lib/systemd/system/a.service", false, "a", "/bin/a"},
		{"an instance of a template", map[string]string{"/usr/lib/systemd/system/a@.service": service}, "a@b.service", "/usr/lib/systemd/system/a@.service", false, "a", "/bin/a"},
		{"an alias has the drop-ins of what it leads to", map[string]string{
			"/usr/lib/systemd/system/a.service": service, "/etc/systemd/system/b.service": "-> /usr/lib/systemd/system/a.service", "/etc/systemd/system/a.service.d/x.conf": "[Service]\nUser=x\n",
		}, "b.service", "/etc/systemd/system/b.service", false, "x", "/bin/a"},
	} {
		root := t.TempDir()
		for path, text := range row.files {
			write(t, root, path, text)
		}
		f, err := Tree{Root: root}.Load(row.name)
		if err != nil {
			t.Errorf("%s: %v", row.about, err)
			continue
		}
		var starts []string
		for _, s := range f.All("Service", "ExecStart") {
			starts = append(starts, s.Value)
		}
		if f.Path != row.path || f.Masked != row.masked || f.Get("Service", "User") != row.user || strings.Join(starts, " ") != row.starts {
			t.Errorf("%s: %+v", row.about, f)
		}
	}
	if _, err := (Tree{Root: t.TempDir()}).Load("a.service"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a unit without a file gave %v", err)
	}
}

func TestStartersAndNames(t *testing.T) {
	root := t.TempDir()
	write(t, root, "/usr/lib/systemd/system/a.timer", "[Timer]\n")
	write(t, root, "/etc/systemd/system/b.timer", "[Timer]\n")
	write(t, root, "/etc/systemd/system/timers.target.wants/alias.timer", "-> /usr/lib/systemd/system/a.timer")
	write(t, root, "/lib", "-> usr/lib") // as merged systems have it: nothing is read twice
	tree := Tree{Root: root}
	if got := tree.Names("timer"); !reflect.DeepEqual(got, []string{"a.timer", "b.timer"}) {
		t.Errorf("the timers are %q", got)
	}
	if got := tree.Starters("a.timer"); !reflect.DeepEqual(got, []string{"/etc/systemd/system/timers.target.wants/alias.timer"}) {
		t.Errorf("a.timer is started by %q", got)
	}
	if got := tree.Starters("b.timer"); len(got) > 0 {
		t.Errorf("b.timer is started by %q", got)
	}
}

func TestLinesAreTold(t *testing.T) {
	got := parse("/a", []byte("# a\n[Service]\n\nExecStart=/bin/a \\\n; between\n  b\nUser = c \n[X\nno\n"))
	want := []Setting{{"Service", "ExecStart", "/bin/a  b", "/a", 4}, {"Service", "User", "c", "/a", 7}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func FuzzFile(f *testing.F) {
	for _, text := range []string{service, "[A]\nb=\\\n", "=\n[=]\n", "\\\n\\\n[a]\nb=c", "a=b\n[x]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := strings.Count(string(data), "\n") + 1
		for _, s := range parse("/a", data) {
			if s.Line < 1 || s.Line > lines {
				t.Errorf("%+v stands in line %d of %d", s, s.Line, lines)
			}
		}
	})
}
