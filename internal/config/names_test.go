package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/config"
)

// Names become those of folders in the state and of pages: what means another folder is none.
func TestNamesThatMeanFolders(t *testing.T) {
	for _, name := range []string{".", ".."} {
		text := fmt.Sprintf("certificates:\n  - {name: %q, source: {files: {cert: /a.pem}}}\n", name)
		if _, _, err := config.Parse("names.yml", []byte(text)); err == nil || !strings.Contains(err.Error(), "is no name") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
