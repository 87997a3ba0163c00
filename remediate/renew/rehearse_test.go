package renew_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/renew"
)

// lineage is a tree with one lineage and a certbot, both as far as a plan looks at them.
func lineage(t *testing.T) (way renew.Certbot, environ []string, program string) {
	t.Helper()
	dir := t.TempDir()
	program = filepath.Join(dir, "bin", "certbot")
	for path, mode := range map[string]os.FileMode{program: 0o755, filepath.Join(dir, "renewal", "shop.conf"): 0o644} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("version = 2.1.0\n[renewalparams]\nauthenticator = webroot\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	return renew.Certbot{Lineage: "shop", ConfigDir: dir}, []string{"PATH=" + filepath.Dir(program)}, program
}

func TestRehearsalIsPlanned(t *testing.T) {
	t.Parallel()
	hook := func(command, source string) deploy.Hook { return deploy.Hook{Command: command, Source: source} }
	around := renew.Around{
		Pre:    []deploy.Hook{hook("/etc/x/renewal-hooks/pre/stop", "renewal-hooks/pre/stop"), hook("stop", "cli.ini:3")},
		Post:   []deploy.Hook{hook("start", "renewal/shop.conf:9")},
		Deploy: []deploy.Hook{hook("reload", "renewal/shop.conf:10"), {Skipped: "x is not executable"}},
	}
	way, environ, program := lineage(t)
	way.Around, way.Args = around, []string{"--pre-hook", "mine", "-v"}
	plan, err := renew.Rehearse(renew.Way{Certbot: &way}, environ, false)
	if err != nil || len(plan.Commands) != 1 || len(plan.Files) != 0 || !slices.Equal(plan.Locks, []string{deploy.LockHooks}) {
		t.Fatalf("%+v, %v", plan, err)
	}
	argv := strings.Join(plan.Commands[0].Argv, " ")
	const last = " --pre-hook mine -v --dry-run --server https://acme-staging-v02.api.letsencrypt.org/directory --no-directory-hooks --pre-hook true --post-hook true"
	if !strings.HasSuffix(argv, last) || strings.Contains(argv, "--force-renewal") {
		t.Errorf("it runs\n%s\nwant at the end\n%s", argv, last)
	}
	want := []string{
		"pre hook /etc/x/renewal-hooks/pre/stop (renewal-hooks/pre/stop): left out of the rehearsal", "pre hook stop (cli.ini:3): left out of the rehearsal",
		"post hook start (renewal/shop.conf:9): left out of the rehearsal", "deploy hook reload (renewal/shop.conf:10): not run in a rehearsal of the renewal",
	}
	if !slices.Equal(plan.Notes, want) {
		t.Errorf("it notes\n%q, want\n%q", plan.Notes, want)
	}
	real, err := renew.Rehearse(renew.Way{Certbot: &way}, environ, true)
	if err != nil || strings.Contains(strings.Join(real.Commands[0].Argv, " "), "--no-directory-hooks") || real.Notes[0] != "pre hook /etc/x/renewal-hooks/pre/stop (renewal-hooks/pre/stop): run for real" {
		t.Errorf("with hooks: %+v, %v", real, err)
	}

	same := func(about string, equal bool) {
		t.Helper()
		again, err := renew.Rehearse(renew.Way{Certbot: &way}, environ, false)
		if err != nil || (again.Basis == plan.Basis) != equal {
			t.Errorf("%s: the basis is the same: %t, %v", about, again.Basis == plan.Basis, err)
		}
		plan = again
	}
	conf := filepath.Join(way.ConfigDir, "renewal", "shop.conf")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(conf, "version = 2.2.0\n[renewalparams]\nauthenticator = webroot\n[acme_renewal_info]\nari_retry_after = 2026-06-24T18:05:11\n")
	same("certbot keeps its own notes there", true)
	write(conf, "version = 2.2.0\n[renewalparams]\nauthenticator = standalone\n")
	same("its owner changed the configuration", false)
	write(program, "another version")
	same("certbot was upgraded", false)
	way.Around.Pre = nil
	same("a hook is gone", false)
}

func TestWhatCannotBeRehearsed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		about string
		way   renew.Certbot
		hooks bool
		says  string // empty: it can
	}{
		{"another CA whose staging is not known", renew.Certbot{Around: renew.Around{Directory: "https://ca.test/"}}, false, "https://ca.test/"},
		{"Let's Encrypt", renew.Certbot{Around: renew.Around{Directory: "https://acme-v02.api.letsencrypt.org/directory"}}, false, ""},
		{"live/ is behind", renew.Certbot{Around: renew.Around{Unlinked: "live/shop is behind"}}, false, "live/shop is behind"},
		{"deploy hooks would run", renew.Certbot{Args: []string{"--run-dep"}}, false, "deploy hooks"},
		{"a server of its own, in the way of another", renew.Certbot{Around: renew.Around{Authenticator: "standalone", Pre: []deploy.Hook{{Command: "stop"}}}}, false, "make room"},
		{"which is stopped for real", renew.Certbot{Around: renew.Around{Authenticator: "standalone", Pre: []deploy.Hook{{Command: "stop"}}}}, true, ""},
	} {
		way, environ, _ := lineage(t)
		way.Around, way.Args = tt.way.Around, tt.way.Args
		_, err := renew.Rehearse(renew.Way{Certbot: &way}, environ, tt.hooks)
		if tt.says == "" && err != nil || tt.says != "" && (!errors.Is(err, renew.ErrNoRehearsal) || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v, want %q", tt.about, err, tt.says)
		}
	}
	if _, err := renew.Rehearse(renew.Way{Command: []string{"renew"}}, nil, false); !errors.Is(err, renew.ErrNoRehearsal) {
		t.Errorf("a command: %v", err)
	}
	way, environ, program := lineage(t)
	if err := os.Chmod(program, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := renew.Rehearse(renew.Way{Certbot: &way}, environ, false); err == nil || errors.Is(err, renew.ErrNoRehearsal) {
		t.Errorf("a certbot that others may write: %v", err)
	}
}

func TestOwedHooks(t *testing.T) {
	t.Parallel()
	folder := func(kind string) []deploy.Hook {
		path := "/etc/x/renewal-hooks/" + kind + "/a"
		return []deploy.Hook{{Command: path, Path: path, Source: "renewal-hooks/" + kind + "/a"}, {Command: kind, Source: "renewal/shop.conf:3"}}
	}
	both := renew.Certbot{Around: renew.Around{Pre: folder("pre"), Post: folder("post")}}
	for _, tt := range []struct {
		about string
		way   renew.Certbot
		argv  string
		want  string
	}{
		{"all of them", both, "certbot renew", "/etc/x/renewal-hooks/post/a post"},
		{"without those of the folder", both, "certbot renew --no-directory-hooks", "post"},
		{"with another one that is given", both, "certbot renew --post-hook=other", "/etc/x/renewal-hooks/post/a other"},
		{"none where they were left out", both, "certbot renew --no-directory-hooks --pre-hook true --post-hook true", ""},
		{"none where nothing ran before", renew.Certbot{Around: renew.Around{Post: folder("post")}}, "certbot renew", ""},
		{"unless that was given", renew.Certbot{Around: renew.Around{Post: folder("post")}}, "certbot renew --pre-hook stop", "/etc/x/renewal-hooks/post/a post"},
	} {
		var got []string
		for _, h := range tt.way.Owed(strings.Fields(tt.argv)) {
			got = append(got, h.Command)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.about, got, tt.want)
		}
	}
}

func TestContents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(path("a"), []byte("a"), 0o600))
	must(os.WriteFile(path("b"), []byte("b"), 0o600))
	must(os.Symlink("a", path("link")))
	before, err := renew.Contents([]string{dir, path("missing")})
	must(err)
	again, err := renew.Contents([]string{dir, path("missing")})
	if changed := renew.Changed(before, again); err != nil || len(changed) > 0 || len(before) != 3 {
		t.Errorf("of %d files %q changed by themselves, %v", len(before), changed, err)
	}
	must(os.WriteFile(path("a"), []byte("c"), 0o600))
	must(os.Remove(path("b")))
	must(os.Remove(path("link")))
	must(os.Symlink("b", path("link")))
	must(os.WriteFile(path("new"), nil, 0o600))
	after, err := renew.Contents([]string{dir})
	must(err)
	if got, want := renew.Changed(before, after), []string{path("a"), path("b"), path("link"), path("new")}; !slices.Equal(got, want) {
		t.Errorf("changed are %q, want %q", got, want)
	}
}

func TestRehearsed(t *testing.T) {
	t.Parallel()
	ended := func(stdout string) []certmedic.Run {
		return []certmedic.Run{{Result: certmedic.RunExited, Stdout: stdout}}
	}
	if !renew.Rehearsed(ended("Congratulations, all simulated renewals succeeded:\n")) || !renew.Rehearsed(ended("")) || renew.Rehearsed(ended("No simulated renewals were attempted.\n")) {
		t.Error("what certbot says about a rehearsal is misread")
	}
}
