package awscfg_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/awscfg"
)

func write(t *testing.T, text string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

const two = "[default]\naws_access_key_id = first\naws_secret_access_key = s3cr3t\n[other]\naws_access_key_id = second\naws_secret_access_key = s3cr3t\n[empty]\nregion = x\n"

// TestCredentials shows that a file that is named is the only place that they come from.
func TestCredentials(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "environment")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
	t.Setenv("AWS_PROFILE", "nobody")
	for _, row := range []struct {
		about string
		o     awscfg.Options
		want  string // the key's ID, or a part of the error
	}{
		{"the usual profile", awscfg.Options{CredentialsFile: write(t, two, 0o600)}, "first"},
		{"another profile", awscfg.Options{CredentialsFile: write(t, two, 0o600), Profile: "other"}, "second"},
		{"a profile without keys", awscfg.Options{CredentialsFile: write(t, two, 0o600), Profile: "empty"}, "under [empty]"},
		{"a profile that is not there", awscfg.Options{CredentialsFile: write(t, two, 0o600), Profile: "none"}, "under [none]"},
		{"a file that others may read", awscfg.Options{CredentialsFile: write(t, two, 0o644)}, "may be read by others"},
		{"roots that are none", awscfg.Options{CAFile: write(t, "x", 0o600)}, "no certificate"},
	} {
		row.o.Region = "eu-central-1"
		settings, err := awscfg.Load(t.Context(), row.o)
		got := ""
		if err == nil {
			c, errCredentials := settings.Credentials.Retrieve(t.Context())
			got, err = c.AccessKeyID, errCredentials
		}
		switch {
		case err == nil && (got != row.want || settings.Region != "eu-central-1"):
			t.Errorf("%s: %q, want %q", row.about, got, row.want)
		case err != nil && (!strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "s3cr3t")):
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "environment")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	settings, err := awscfg.Load(t.Context(), awscfg.Options{Region: "eu-central-1"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := settings.Credentials.Retrieve(t.Context()); err != nil || c.AccessKeyID != "environment" {
		t.Errorf("%q, %v", c.AccessKeyID, err)
	}
}
