package ownership_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/ownership"
)

const stranger = 54321

// home returns a folder that only the user of the test may write, whatever the umask.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	chmod(t, dir, 0o755)
	return dir
}

func write(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
	return path
}

func mkdir(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, mode)
	return path
}

func link(t *testing.T, target, path string) string {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func lchown(t *testing.T, path string, uid, gid int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	if err := os.Lchown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		make    func(t *testing.T, dir string) string // returns the path to check
		at      string                                // the component that is blamed, below dir
		problem string                                // empty: accepted
		fix     string
	}{
		{
			name: "a private file in a private folder is accepted",
			make: func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o644) },
		},
		{
			name: "a file that others may write is refused",
			make: func(t *testing.T, dir string) string { return write(t, dir+"/f", 0o646) },
			at:   "/f", problem: "may be written by others (mode 0646", fix: "chmod go-w ",
		},
		{
			name: "a folder that others may write is refused even if the file is private",
			make: func(t *testing.T, dir string) string { return write(t, mkdir(t, dir+"/d", 0o777)+"/f", 0o600) },
			at:   "/d", problem: "may be written by others (mode 0777", fix: "chmod go-w ",
		},
		{
			name: "a grandparent counts as a parent does",
			make: func(t *testing.T, dir string) string {
				inner := mkdir(t, mkdir(t, dir+"/d", 0o700)+"/e", 0o700)
				path := write(t, inner+"/f", 0o600)
				chmod(t, dir+"/d", 0o707)
				return path
			},
			at: "/d", problem: "may be written by others", fix: "chmod go-w ",
		},
		{
			name: "a file that a group other than root's may write is refused",
			make: func(t *testing.T, dir string) string {
				path := write(t, dir+"/f", 0o664)
				lchown(t, path, 0, stranger)
				return path
			},
			at: "/f", problem: "may be written by its group (mode 0664, owner root:54321)", fix: "chmod g-w ",
		},
		{
			name: "root's group may write",
			make: func(t *testing.T, dir string) string {
				path := write(t, dir+"/f", 0o664)
				lchown(t, path, 0, 0)
				return path
			},
		},
		{
			name: "a file of another user is refused",
			make: func(t *testing.T, dir string) string {
				path := write(t, dir+"/f", 0o600)
				lchown(t, path, stranger, 0)
				return path
			},
			at: "/f", problem: "belongs to another user (mode 0600, owner 54321:root)", fix: "chown -h 0 ",
		},
		{
			name: "a folder of another user is refused",
			make: func(t *testing.T, dir string) string {
				path := write(t, mkdir(t, dir+"/d", 0o755)+"/f", 0o600)
				lchown(t, dir+"/d", stranger, 0)
				return path
			},
			at: "/d", problem: "belongs to another user", fix: "chown -h 0 ",
		},
		{
			name: "a sticky folder of root is accepted as a parent",
			make: func(t *testing.T, dir string) string {
				path := write(t, mkdir(t, dir+"/d", 0o777|fs.ModeSticky)+"/f", 0o600)
				lchown(t, dir+"/d", 0, 0)
				return path
			},
		},
		{
			name: "a sticky folder of another user is refused",
			make: func(t *testing.T, dir string) string {
				path := write(t, mkdir(t, dir+"/d", 0o777|fs.ModeSticky)+"/f", 0o600)
				lchown(t, dir+"/d", stranger, 0)
				return path
			},
			at: "/d", problem: "belongs to another user", fix: "chown -h 0 ",
		},
		{
			name: "a link to a good file is accepted",
			make: func(t *testing.T, dir string) string {
				write(t, dir+"/f", 0o600)
				return link(t, "f", dir+"/l")
			},
		},
		{
			name: "the folder of a link's target counts",
			make: func(t *testing.T, dir string) string {
				path := write(t, mkdir(t, dir+"/open", 0o777)+"/f", 0o600)
				return link(t, path, dir+"/l")
			},
			at: "/open", problem: "may be written by others", fix: "chmod go-w ",
		},
		{
			name: "the folder that holds a link counts",
			make: func(t *testing.T, dir string) string {
				path := write(t, dir+"/f", 0o600)
				return link(t, path, mkdir(t, dir+"/open", 0o777)+"/l")
			},
			at: "/open", problem: "may be written by others", fix: "chmod go-w ",
		},
		{
			name: "a link of another user is refused",
			make: func(t *testing.T, dir string) string {
				write(t, dir+"/f", 0o600)
				path := link(t, "f", dir+"/l")
				lchown(t, path, stranger, 0)
				return path
			},
			at: "/l", problem: "belongs to another user", fix: "chown -h 0 ",
		},
		{
			name: "two dots after a linked folder mean the parent of its target",
			make: func(t *testing.T, dir string) string {
				mkdir(t, mkdir(t, dir+"/open", 0o777)+"/inner", 0o700)
				write(t, dir+"/open/f", 0o600)
				write(t, dir+"/f", 0o600)
				return link(t, "open/inner", dir+"/l") + "/../f"
			},
			at: "/open", problem: "may be written by others", fix: "chmod go-w ",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := home(t)
			err := ownership.Check(tc.make(t, dir))
			if tc.problem == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var problem *ownership.Error
			if !errors.As(err, &problem) {
				t.Fatalf("got %v, want an *ownership.Error", err)
			}
			if problem.Path != dir+tc.at || !strings.HasPrefix(problem.Problem, tc.problem) {
				t.Errorf("blamed %q: %q, want %q: %q", problem.Path, problem.Problem, dir+tc.at, tc.problem)
			}
			if problem.Fix != tc.fix+dir+tc.at {
				t.Errorf("fix %q, want %q", problem.Fix, tc.fix+dir+tc.at)
			}
			if !strings.Contains(err.Error(), problem.Path) || !strings.Contains(err.Error(), problem.Fix) {
				t.Errorf("the message names neither place nor fix: %v", err)
			}
		})
	}
}

func TestCheckOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := home(t)
	link(t, "gone", dir+"/dangling")
	for name, path := range map[string]string{
		"a missing file":   dir + "/missing",
		"a dangling link":  dir + "/dangling",
		"a missing folder": dir + "/no/such",
	} {
		if err := ownership.Check(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want fs.ErrNotExist", name, err)
		}
	}
	if err := ownership.Check(""); err == nil {
		t.Error("an empty path is accepted")
	}
}

func TestCheckEndsOnALoopOfLinks(t *testing.T) {
	t.Parallel()
	dir := home(t)
	link(t, "b", dir+"/a")
	link(t, "a", dir+"/b")
	if err := ownership.Check(dir + "/a"); err == nil || !strings.Contains(err.Error(), "symbolic links") {
		t.Errorf("got %v, want an error about symbolic links", err)
	}
}

func TestCheckOfARelativePath(t *testing.T) {
	dir := home(t)
	write(t, filepath.Join(dir, "f"), 0o666)
	t.Chdir(dir)
	var problem *ownership.Error
	if err := ownership.Check("f"); !errors.As(err, &problem) || problem.Path != filepath.Join(dir, "f") {
		t.Errorf("got %v, want the file blamed by its full path", err)
	}
}

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		mode fs.FileMode
		want string
	}{
		{"a secret for its owner alone is accepted", 0o600, ""},
		{"its group may read it", 0o640, ""},
		{"others may not read it", 0o604, "may be read by others"},
		{"a secret that others may write is refused as any file is", 0o602, "may be written by others"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := ownership.CheckSecret(write(t, home(t)+"/secret", tc.mode))
			if tc.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
