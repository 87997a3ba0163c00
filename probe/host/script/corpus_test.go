package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// installed are the programs of the host on which the hooks of the tests are read.
const installed = `apache2ctl apachectl basename bash cat chgrp chmod chown cp curl date dirname docker docker-compose doveadm ejabberdctl
	env haproxy hostname httpd install keytool kill kubectl logger mail mariadb mktemp mv nginx openssl pkill postfix postmap prosodyctl
	psql pvenode rm rsync scp service sleep socat ssh step sudo synow3tool systemctl tar tee touch ufw certbot nohup find sed grep timeout python3 which`

// host makes a tree with those programs, a shell that is dash, and units of its own.
func host(t testing.TB, units map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range strings.Fields(installed) {
		put(t, root+"/usr/bin/"+name, "#!/bin/sh\n", 0o755)
	}
	put(t, root+"/usr/sbin/nginx", "#!/bin/sh\n", 0o755)
	put(t, root+"/usr/sbin/haproxy", "#!/bin/sh\n", 0o755)
	put(t, root+"/bin/dash", "#!/bin/sh\n", 0o755)
	put(t, root+"/bin/bash", "#!/bin/sh\n", 0o755)
	if err := os.Symlink("dash", root+"/bin/sh"); err != nil {
		t.Fatal(err)
	}
	for name, text := range units {
		put(t, root+"/usr/lib/systemd/system/"+name, text, 0o644)
	}
	return root
}

func put(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// environment is that of a hook below a tree, by a systemd timer.
func environment(root, kind string) Environment {
	return Environment{Path: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", Kind: kind, Root: root}
}

// TestHealthyHooks reads hooks as people write them, which do what they should.
func TestHealthyHooks(t *testing.T) {
	files, err := filepath.Glob("testdata/healthy/*.sh")
	if err != nil || len(files) < 40 {
		t.Fatalf("there are %d healthy hooks, %v", len(files), err)
	}
	root := host(t, nil)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			put(t, root+"/hook", string(data), 0o755)
			kind := Deploy
			if _, rest, ok := strings.Cut(string(data), "# kind: "); ok {
				kind, _, _ = strings.Cut(rest, "\n")
			}
			e := environment(root, kind)
			e.Shared = !strings.Contains(string(data), "live/pve.") && !strings.Contains(string(data), "DOMAIN=db.") // those are of one lineage
			s := Read("/hook", e)
			for _, p := range s.Problems {
				t.Errorf("problem %s in line %d: %s", p.Kind, p.Line, p.Text)
			}
			for _, l := range s.Lints {
				t.Errorf("%s in line %d: %s\n%s", l.Code, l.Line, l.Text, l.Why)
			}
			if len(s.Programs) == 0 && !strings.Contains(string(data), "declare -A") { // whose keys the parser does not take
				t.Error("it calls no program")
			}
		})
	}
}
