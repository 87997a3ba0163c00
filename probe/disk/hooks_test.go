package disk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

// told renders hooks for comparisons, with the tree's folder as ~.
func told(dir string, hooks []disk.Hook) string {
	var out []string
	for _, h := range hooks {
		out = append(out, fmt.Sprintf("%s [%s] %t %s", h.Command, h.Path, h.FromDir, h.Source))
	}
	return strings.ReplaceAll(strings.Join(out, "\n"), dir, "~")
}

func TestDeployHooksOfTheFolder(t *testing.T) {
	tree := disktest.New(t)
	tree.Issue("shop", names, disktest.Options{})
	for _, name := range []string{"b", "B", ".hidden", "a.rpmsave", "10-x", "9-y", "é", "backup~"} {
		tree.SetHook(name, "#!/bin/sh\n")
	}
	deploy := filepath.Join(tree.ConfigDir, "renewal-hooks/deploy")
	must(t, os.WriteFile(filepath.Join(deploy, "plain"), nil, 0o644))
	must(t, os.Mkdir(filepath.Join(deploy, "folder"), 0o755))
	must(t, os.Symlink("/bin/sh", filepath.Join(deploy, "link")))
	must(t, os.Symlink("gone", filepath.Join(deploy, "dangling")))
	hooks, findings := disk.DeployHooks(tree.Source("shop"))
	var want []string
	for _, name := range []string{".hidden", "10-x", "9-y", "B", "a.rpmsave", "b", "link", "é"} {
		want = append(want, fmt.Sprintf("~/renewal-hooks/deploy/%s [~/renewal-hooks/deploy/%s] true renewal-hooks/deploy/%s", name, name, name))
	}
	if got := told(tree.ConfigDir, hooks); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	got := strings.ReplaceAll(details(findings), deploy+"/", "")
	if got != "file_permissions: backup~: hook's name ends with ~: certbot skips it silently\n"+
		"file_permissions: dangling: hook cannot be read: certbot skips it silently\n"+
		"file_permissions: plain: hook not executable: certbot skips it silently" {
		t.Errorf("findings\n%s", got)
	}
}

func TestDeployHookThatIsACommand(t *testing.T) {
	for _, row := range []struct{ about, hook, ini, want string }{
		{"none at all", "", "", ""},
		{"a command of the configuration", "systemctl reload nginx", "", "systemctl reload nginx [] false renewal/shop.conf:18"},
		{"with an absolute path", "/usr/bin/x --all; echo, done", "", "/usr/bin/x --all; echo, done [/usr/bin/x] false renewal/shop.conf:18"},
		{"with a quoted path and both quotes", `"/a b/x" 'y'`, "", `"/a b/x" 'y' [/a b/x] false renewal/shop.conf:18`},
		{"with a path that the shell completes", "/opt/$X/y z", "", "/opt/$X/y z [] false renewal/shop.conf:18"},
		{"unset as certbot writes it", "None", "", ""},
		{"cli.ini wins", "old", "deploy-hook = /bin/new x\n", "/bin/new x [/bin/new] false cli.ini:1"},
	} {
		t.Run(row.about, func(t *testing.T) {
			tree := disktest.New(t)
			tree.Issue("shop", names, disktest.Options{RenewHook: row.hook})
			must(t, os.WriteFile(filepath.Join(tree.ConfigDir, "cli.ini"), []byte(row.ini), 0o644))
			hooks, findings := disk.DeployHooks(tree.Source("shop"))
			if got := told(tree.ConfigDir, hooks); got != row.want || len(findings) > 0 {
				t.Errorf("got %s, want %s, findings %s", got, row.want, details(findings))
			}
		})
	}
}

func TestDeployHooksTogether(t *testing.T) {
	tree := disktest.New(t)
	path := tree.SetHook("reload", "#!/bin/sh\n")
	tree.Issue("same", names, disktest.Options{RenewHook: path})
	tree.Issue("other", names, disktest.Options{RenewHook: path + " again"})
	if hooks, _ := disk.DeployHooks(tree.Source("same")); len(hooks) != 1 || !hooks[0].FromDir {
		t.Errorf("a hook that is also in the folder: %+v", hooks)
	}
	if hooks, _ := disk.DeployHooks(tree.Source("other")); len(hooks) != 2 || hooks[1].Path != path {
		t.Errorf("a command that only begins like one of the folder: %+v", hooks)
	}
	must(t, os.WriteFile(filepath.Join(tree.ConfigDir, "cli.ini"), []byte("no-directory-hooks\n"), 0o644))
	if hooks, _ := disk.DeployHooks(tree.Source("same")); len(hooks) != 1 || hooks[0].FromDir {
		t.Errorf("with the folder switched off: %+v", hooks)
	}
	if hooks, findings := disk.DeployHooks(certmedic.Source{Kind: certmedic.SourceFiles, Cert: "x"}); len(hooks)+len(findings) > 0 {
		t.Errorf("plain files have hooks: %+v", hooks)
	}
	_, findings := disk.DeployHooks(tree.Source("gone"))
	if !certmedic.HasFinding(findings, certmedic.LineageBroken) {
		t.Errorf("a configuration that is missing: %s", details(findings))
	}
}
