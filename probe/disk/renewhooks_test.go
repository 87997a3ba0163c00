package disk_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/probe/disk/disktest"
)

func TestHooksAroundARenewal(t *testing.T) {
	for _, row := range []struct{ about, conf, ini, pre, post string }{
		{"none but those of the folder", "", "", "~/renewal-hooks/pre/a [~/renewal-hooks/pre/a] true renewal-hooks/pre/a", ""},
		{"of the configuration", "pre_hook = stop\npost_hook = /bin/start x\n", "", "~/renewal-hooks/pre/a [~/renewal-hooks/pre/a] true renewal-hooks/pre/a\nstop [] false renewal/shop.conf:11", "/bin/start x [/bin/start] false renewal/shop.conf:12"},
		{"cli.ini wins", "pre_hook = stop\n", "pre-hook = halt\npost-hook: go", "~/renewal-hooks/pre/a [~/renewal-hooks/pre/a] true renewal-hooks/pre/a\nhalt [] false cli.ini:1", "go [] false cli.ini:2"},
		{"and switches the folder off", "", "no-directory-hooks", "", ""},
		{"unset as certbot writes it", "pre_hook = None\n", "", "~/renewal-hooks/pre/a [~/renewal-hooks/pre/a] true renewal-hooks/pre/a", ""},
	} {
		t.Run(row.about, func(t *testing.T) {
			tree := disktest.New(t)
			tree.Issue("shop", names, disktest.Options{})
			pre := filepath.Join(tree.ConfigDir, "renewal-hooks", "pre")
			must(t, os.MkdirAll(pre, 0o755))
			must(t, os.WriteFile(filepath.Join(pre, "a"), []byte("#!/bin/sh\n"), 0o755))
			must(t, os.WriteFile(filepath.Join(pre, "b"), nil, 0o644))
			must(t, os.WriteFile(filepath.Join(tree.ConfigDir, "cli.ini"), []byte(row.ini), 0o644))
			conf := filepath.Join(tree.ConfigDir, "renewal", "shop.conf")
			text, err := os.ReadFile(conf)
			must(t, err)
			must(t, os.WriteFile(conf, []byte(strings.Replace(string(text), "[renewalparams]\n", "[renewalparams]\n"+row.conf, 1)), 0o644))
			hooks, findings := disk.PreHooks(tree.Source("shop"))
			if got := told(tree.ConfigDir, hooks); got != row.pre {
				t.Errorf("pre hooks\n%s\nwant\n%s", got, row.pre)
			}
			if row.ini != "no-directory-hooks" && (len(findings) != 1 || findings[0].Code != certmedic.FilePermissions) {
				t.Errorf("findings %s", details(findings))
			}
			hooks, _ = disk.PostHooks(tree.Source("shop"))
			if got := told(tree.ConfigDir, hooks); got != row.post {
				t.Errorf("post hooks\n%s\nwant\n%s", got, row.post)
			}
		})
	}
	if hooks, findings := disk.PreHooks(certmedic.Source{Kind: certmedic.SourceFiles}); hooks != nil || findings != nil {
		t.Error("files have hooks")
	}
}
