package conf_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/certmedic/certmedic/probe/discover/conf"
)

func TestReadTakesRegularFilesOnly(t *testing.T) {
	dir := t.TempDir()
	pipe, large, text := filepath.Join(dir, "pipe"), filepath.Join(dir, "large"), filepath.Join(dir, "text")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte("words"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, 8<<20+1); err != nil {
		t.Fatal(err)
	}
	files := conf.OnDisk()
	if got, err := files.Read(text); err != nil || got != "words" {
		t.Errorf("a plain file: %q, %v", got, err)
	}
	for path, want := range map[string]string{
		pipe: "not a regular file", dir: "not a regular file", large: "larger than", filepath.Join(dir, "gone"): "no such file",
	} {
		if _, err := files.Read(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

func TestReadEnds(t *testing.T) {
	many := conf.InDump(map[string]string{"/a": "x"})
	for range 2000 {
		if _, err := many.Read("/a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := many.Read("/a"); err == nil || !strings.Contains(err.Error(), "more than 2000 files") {
		t.Errorf("one file too many: %v", err)
	}
	large := conf.InDump(map[string]string{"/a": strings.Repeat("x", 30<<20)})
	for range 2 {
		if _, err := large.Read("/a"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := large.Read("/a"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("too much text: %v", err)
	}
}

func TestADumpHoldsItsFilesOnly(t *testing.T) {
	files := conf.InDump(map[string]string{"/etc/x/../b.conf": "b", "/etc/a.conf": "a", "/etc/c.txt": "c"})
	got, err := files.Glob("/etc/*.conf")
	if want := []string{"/etc/a.conf", "/etc/b.conf"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("matches %q, %v", got, err)
	}
	if files.Exists("/etc/passwd") || files.IsDir("/etc") || !files.Exists("/etc/b.conf") {
		t.Error("the dump knows other files than its own")
	}
	if _, err := files.Glob("["); err == nil {
		t.Error("a broken pattern gave no error")
	}
}

func TestProblemsAreBounded(t *testing.T) {
	var problems conf.Problems
	if problems.Err() != nil {
		t.Error("there is an error without a mistake")
	}
	cause := errors.New("cause")
	problems.At("f", 3, "doing x: %w", cause)
	if err := problems.Err(); err.Error() != "f:3: doing x: cause" || !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	for i := range 150 {
		problems.At("g", i, "doing x: %w", cause)
		problems.At("g", i, "doing x: %w", cause)
	}
	lines := strings.Split(problems.Err().Error(), "\n")
	if len(lines) != 101 || lines[100] != "and 102 more mistakes" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}
