package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/certmedic/certmedic"
)

func TestAKeyIsNotReadByAllBecauseOfWhatWasThere(t *testing.T) {
	for _, tt := range []struct {
		about string
		from  certmedic.FilePart
		was   os.FileMode
		mode  string
		want  string
	}{
		{"a chain stays as it is", certmedic.PartFullchain, 0o644, "", "0644"},
		{"a key in place of a chain", certmedic.PartCombined, 0o644, "", "0640"},
		{"a key that its group may read", certmedic.PartPrivkey, 0o640, "", "0640"},
		{"a keystore", certmedic.PartPKCS12, 0o604, "", "0600"},
		{"as its owner says", certmedic.PartCombined, 0o644, "0604", "0604"},
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, tt.was); err != nil {
			t.Fatal(err)
		}
		if mode, _ := becomes(certmedic.InstalledFile{From: tt.from, To: path, Mode: tt.mode}); mode != tt.want {
			t.Errorf("%s: %s becomes %s, want %s", tt.about, tt.was, mode, tt.want)
		}
	}
}
