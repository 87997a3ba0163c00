package config_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/ownership"
)

// home returns a folder that only the user of the test may write, whatever the umask.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	chmod(t, dir, 0o755)
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
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

func TestLoadOfAMissingFile(t *testing.T) {
	t.Parallel()
	path := home(t) + "/missing.yml"
	_, _, err := config.Load(path)
	var problems *config.Errors
	if !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &problems) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("got %v, want an *Errors that is fs.ErrNotExist and names the file", err)
	}
}

func TestLoadRefusesAConfigurationThatOthersMayWrite(t *testing.T) {
	t.Parallel()
	path := write(t, home(t)+"/certmedic.yml", "discover: [{certbot: }]\n")
	if _, _, err := config.Load(path); err != nil {
		t.Fatal(err)
	}
	chmod(t, path, 0o666)
	_, _, err := config.Load(path)
	var open *ownership.Error
	if !errors.As(err, &open) || open.Path != path {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestLoadLooksAtTheFilesItNames(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		text string      // $F is the file
		mode fs.FileMode // of the file; 0 where there is none
		want string      // the beginning of the message behind the file's name; empty: accepted
		warn string
	}{
		{
			name: "headers for its owner alone",
			text: "alerting: {receivers: [{name: a, webhook: {url: http://x, headers_file: $F}}]}", mode: 0o600,
		},
		{
			name: "headers that others may read",
			text: "alerting: {receivers: [{name: a, webhook: {url: http://x, headers_file: $F}}]}", mode: 0o644,
			want: ":2:73: alerting.receivers[0].webhook.headers_file: ",
		},
		{
			name: "headers that are missing",
			text: "alerting: {receivers: [{name: a, webhook: {url: http://x, headers_file: $F}}]}",
			want: ":2:73: alerting.receivers[0].webhook.headers_file: ",
		},
		{
			name: "rules that others may read",
			text: "rules: {files: [$F]}", mode: 0o644,
		},
		{
			name: "rules that others may write",
			text: "rules: {files: [$F*]}", mode: 0o646, want: ":2:17: rules.files[0]: ",
		},
		{
			name: "rules that are missing",
			text: "rules: {files: [$F]}", want: ":2:17: rules.files[0]: ",
		},
		{
			name: "a pattern for rules that matches nothing",
			text: "rules: {files: [$F*]}", warn: ":2:17: rules.files[0]: no file matches ",
		},
		{
			name: "a program that others may write",
			text: "certificates: [{name: a, source: {files: {cert: /a}}, deploy: [{reload: [$F, now]}]}]", mode: 0o757,
			want: ":2:74: certificates[0].deploy[0].reload[0]: ",
		},
		{
			name: "a program that is missing may come later",
			text: "certificates: [{name: a, source: {files: {cert: /a}}, deploy: [{reload: [$F, now]}]}]",
			warn: ":2:65: certificates[0].deploy[0].reload: there is no program ",
		},
		{
			name: "a client's key that others may read",
			text: "modules: {a: {prober: http, http: {tls_config: {cert_file: $F, key_file: $F}}}}", mode: 0o644,
			want: ":2:", // the column depends on the path
		},
		{
			name: "roots that are missing",
			text: "probe: {roots: $F}", want: ":2:16: probe.roots: ",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := home(t)
			if tc.mode != 0 {
				chmod(t, write(t, dir+"/file", "x"), tc.mode)
			}
			text := "discover: [{certbot: }]\n" + strings.ReplaceAll(tc.text, "$F", dir+"/file")
			path := write(t, dir+"/certmedic.yml", text)
			_, warnings, err := config.Load(path)
			if got := fmt.Sprint(err); !strings.HasPrefix(got, path+tc.want) && tc.want != "" || tc.want == "" && err != nil {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if tc.warn != "" && (len(warnings) != 1 || !strings.HasPrefix(warnings[0].String(), path+tc.warn)) {
				t.Errorf("warnings %v, want %q", warnings, tc.warn)
			}
			if tc.warn == "" && len(warnings) != 0 {
				t.Errorf("warnings %v, want none", warnings)
			}
		})
	}
}

func TestLoadRefusesWhatIsNestedTooDeeply(t *testing.T) {
	file := home(t) + "/deep.yml"
	if err := os.WriteFile(file, []byte("watch: "+strings.Repeat("[", 200_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := config.Load(file); err == nil || !strings.Contains(err.Error(), "within each other") {
		t.Errorf("loaded: %v", err)
	}
}
