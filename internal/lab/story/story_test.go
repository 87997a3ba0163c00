package story

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"golang.org/x/sys/unix"
)

func TestLinesHaveNoControlCharactersOfOthers(t *testing.T) {
	var out bytes.Buffer
	newTeller(&out, false).say(bad, "hook", "%s", "red \x1b[31m alert\nsecond line")
	if strings.ContainsRune(out.String(), '\x1b') || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("the line is %q", out.String())
	}
}

func TestOnlyOneStoryIsPlayedInAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	first, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openFolder(dir); err == nil || !strings.Contains(err.Error(), "another story") {
		t.Errorf("a second story in the folder: %v", err)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again, err := openFolder(dir)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	_ = again.close()
}

func TestFilesAreClosedToOthersWhateverTheUmask(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	f, err := openFolder(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := f.mkdir("state", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := f.write("certmedic.yml", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{".": 0o755, "state": 0o700, "certmedic.yml": 0o644, marker: 0o600} {
		info, err := os.Stat(f.at(name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v (%v)", name, info.Mode().Perm(), want, err)
		}
	}
}

func TestConfigurationIsYAMLWithAnyPath(t *testing.T) {
	text := configuration(scene{
		stateDir: `/tmp/a "quoted" folder/state`, configDir: "/tmp/c: d", rootFile: "/tmp/#root.pem",
		resolver: "127.0.0.1:53", endpoint: Name + ":8443", webhook: "http://127.0.0.1:1/alerts",
	})
	var got struct {
		StateDir string `yaml:"state_dir"`
		Probe    struct {
			Roots string `yaml:"roots"`
		} `yaml:"probe"`
	}
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if got.StateDir != `/tmp/a "quoted" folder/state` || got.Probe.Roots != "/tmp/#root.pem" {
		t.Errorf("read back: %+v", got)
	}
}

func TestServedIsReadFromMetrics(t *testing.T) {
	for page, want := range map[string]bool{
		`certmedic_served_matches_stored{certificate="shop",endpoint="e"} 1`:  true,
		`certmedic_served_matches_stored{certificate="shop",endpoint="e"} 0`:  false,
		`certmedic_served_matches_stored{certificate="other",endpoint="e"} 1`: false,
		`# HELP certmedic_served_matches_stored`:                              false,
	} {
		if got := served([]byte(page)); got != want {
			t.Errorf("%s: %t", page, got)
		}
	}
}
