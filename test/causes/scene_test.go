package causes_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/certmedic/certmedic"
)

// numbered is how many causes docs/causes.md numbers.
const numbered = 36

// scene is a file of scenes/.
type scene struct {
	name     string
	Causes   []int    `yaml:"causes"` // numbers of docs/causes.md; none where the host is healthy, or the cause has no number
	About    string   `yaml:"about"`
	Steps    string   `yaml:"steps"` // for /bin/sh -e on a healthy host, with the functions of stage.sh
	Diagnose []answer `yaml:"diagnose"`
}

// answer is what a diagnosis has to say.
type answer struct {
	Of    string            `yaml:"of"`   // CERT or TARGET; empty: the certificate that every host has
	With  string            `yaml:"with"` // what runs certmedic, such as a command that puts it into a namespace
	Flags string            `yaml:"flags"`
	Cause certmedic.Cause   `yaml:"cause"`
	Stage string            `yaml:"stage"` // more than one where chance decides which of two processes answers
	Shows []string          `yaml:"shows"` // in its evidence, as source and line
	Fix   string            `yaml:"fix"`   // a part of it
	Never []certmedic.Cause `yaml:"never"` // not even as a further suspect
	After string            `yaml:"after"` // further steps, before this question
}

// scenes reads all of them.
func scenes(t *testing.T) []scene {
	t.Helper()
	files, err := filepath.Glob("scenes/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scenes: %v", err)
	}
	var all []scene
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := scene{name: strings.TrimSuffix(filepath.Base(file), ".yml")}
		if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, s)
	}
	return all
}

func TestEverySceneIsWhole(t *testing.T) {
	for _, s := range scenes(t) {
		if s.About == "" || len(s.Diagnose) == 0 {
			t.Errorf("%s says nothing about itself, or asks nothing", s.name)
		}
		for _, n := range s.Causes {
			if n < 1 || n > numbered || !strings.HasPrefix(s.name, fmt.Sprintf("%02d", s.Causes[0])) {
				t.Errorf("%s is about cause %d", s.name, n)
			}
		}
		for _, a := range s.Diagnose {
			for _, cause := range append(slices.Clone(a.Never), a.Cause) {
				if !slices.Contains(certmedic.Causes(), cause) {
					t.Errorf("%s: there is no cause %q", s.name, cause)
				}
			}
			if healthy := strings.HasPrefix(s.name, "healthy-"); healthy && a.Cause != certmedic.CauseNone {
				t.Errorf("%s: a healthy host is not to have the cause %s", s.name, a.Cause)
			}
		}
	}
}

// TestEveryCauseIsStaged counts the causes that are named, and checks that docs/causes.md says
// which scenes stage them.
func TestEveryCauseIsStaged(t *testing.T) {
	page, err := os.ReadFile("../../docs/causes.md")
	if err != nil {
		t.Fatal(err)
	}
	staged, unknown := map[int][]string{}, map[int]bool{}
	for _, s := range scenes(t) {
		for _, n := range s.Causes {
			staged[n] = append(staged[n], "`"+s.name+"`")
			unknown[n] = unknown[n] || s.Diagnose[len(s.Diagnose)-1].Cause == certmedic.CauseUnknown
		}
	}
	named := 0
	for n := 1; n <= numbered; n++ {
		if len(staged[n]) > 0 && !unknown[n] {
			named++
		}
		if len(staged[n]) == 0 {
			t.Errorf("no scene stages cause %d", n)
		}
		if row := rowOf(string(page), n); !strings.HasSuffix(row, "| "+strings.Join(staged[n], ", ")+" |") {
			t.Errorf("docs/causes.md: the row of cause %d does not end with %q", n, strings.Join(staged[n], ", "))
		}
	}
	if named < 34 {
		t.Errorf("%d of %d causes are named, want at least 34", named, numbered)
	}
}

func rowOf(page string, n int) string {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, fmt.Sprintf("| %d |", n)) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
