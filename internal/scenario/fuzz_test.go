package scenario_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/scenario"
)

// FuzzParse wants files that are read, or refused with a place.
func FuzzParse(f *testing.F) {
	for _, glob := range []string{"testdata/*.test.yml", "../../rules/ruleset/scenarios/*.test.yml"} {
		names, err := filepath.Glob(glob)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			seed, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := scenario.Parse("f.yml", data); err != nil && !strings.HasPrefix(err.Error(), "f.yml:") {
			t.Errorf("no place: %v", err)
		}
	})
}
