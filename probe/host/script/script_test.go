package script

import (
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
)

func TestProblems(t *testing.T) {
	foreign := make([]byte, 64)
	copy(foreign, elf.ELFMAG)
	foreign[4], foreign[5], foreign[6] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	binary.LittleEndian.PutUint16(foreign[18:], uint16(elf.EM_MIPS))
	root := host(t, nil)
	put(t, root+"/plain", "#!/bin/sh\n", 0o644)
	for _, row := range []struct {
		about, text string
		mode        os.FileMode
		kind        string // empty: no problem
		line        int
		language    string
	}{
		{"a plain script", "#!/bin/sh\nsystemctl reload nginx\n", 0o755, "", 0, "sh"},
		{"nobody may execute it", "#!/bin/sh\nsystemctl reload nginx\n", 0o644, "not_executable", 0, "sh"},
		{"CR LF from the first line", "#!/bin/bash\r\nsystemctl reload nginx\r\n", 0o755, "crlf", 1, "bash"},
		{"CR LF behind a good first line", "#!/bin/bash\nsystemctl reload nginx\r\n", 0o755, "crlf", 2, "bash"},
		{"python does not mind CR LF behind its first line", "#!/usr/bin/python3\nprint(1)\r\n", 0o755, "", 0, "python"},
		{"a byte order mark", "\xef\xbb\xbf#!/bin/bash\nsystemctl reload nginx\n", 0o755, "exec_format", 1, "bash"},
		{"an interpreter that is not there", "#!/usr/local/bin/bash\nsystemctl reload nginx\n", 0o755, "no_interpreter", 1, "bash"},
		{"env finds an interpreter", "#!/usr/bin/env -S bash -e\nsystemctl reload nginx\n", 0o755, "", 0, "bash"},
		{"env does not find it", "#!/usr/bin/env node\nrun()\n", 0o755, "no_interpreter", 1, "node"},
		{"no first line is taken by sh", "systemctl reload nginx\n", 0o755, "", 0, "sh"},
		{"bash in a script for dash", "#!/bin/sh\na=(1 2)\n", 0o755, "syntax", 2, "sh"},
		{"bash where the script sees to it", "#!/bin/sh\n[ -n \"$BASH_VERSION\" ] && echo ${BASH_VERSION:0:1}\n", 0o755, "", 0, "sh"},
		{"python behind a few lines of shell", "#!/bin/sh\n'''exec' /usr/bin/python3 \"$0\" \"$@\"\n' '''\nimport(os, sys)\n", 0o755, "", 0, "sh"},
		{"[[ is a program for dash", "#!/bin/sh\n[[ a = b ]] || exit 1\n", 0o755, "missing_program", 2, "sh"},
		{"a quote that does not end", "#!/bin/bash\necho \"done\n", 0o755, "syntax", 2, "bash"},
		{"a program that is nowhere", "#!/bin/sh\nrestart-everything\n", 0o755, "missing_program", 2, "sh"},
		{"a program that is nowhere, and is looked for", "#!/bin/sh\nwhich rc-service && rc-service nginx reload\n", 0o755, "", 0, "sh"},
		{"a program of another system", "#!/bin/sh\nif [ -x /sbin/rc-service ]; then rc-service nginx reload; else systemctl reload nginx; fi\n", 0o755, "", 0, "sh"},
		{"a function is no program", "#!/bin/sh\ndeploy() { systemctl reload nginx; }\ndeploy\n", 0o755, "", 0, "sh"},
		{"what comes from a variable is not guessed", "#!/bin/sh\n$CMD reload\n", 0o755, "", 0, "sh"},
		{"what ssh runs is not looked for here", "#!/bin/sh\nssh -i k web2 rc-service nginx reload\n", 0o755, "", 0, "sh"},
		{"it calls a script that nobody may execute", "/plain\n", 0o755, "not_executable", 1, "sh"},
		{"it calls a script that is not there", "/opt/x/deploy.sh\n", 0o755, "missing_program", 1, "sh"},
		{"a comment that is not UTF-8", "#!/bin/sh\n# f\xfcr den Shop\nsystemctl reload nginx\n", 0o755, "", 0, "sh"},
		{"an empty file", "\n", 0o755, "exec_format", 0, ""},
		{"a program for another machine", string(foreign), 0o755, "exec_format", 0, "binary"},
		{"something else", "PK\x03\x04\x00\x00", 0o755, "exec_format", 0, ""},
	} {
		put(t, root+"/hook", row.text, row.mode)
		s := Read("/hook", environment(root, Deploy))
		switch {
		case row.kind == "" && len(s.Problems) > 0:
			t.Errorf("%s: %+v", row.about, s.Problems)
		case row.kind != "" && (len(s.Problems) != 1 || s.Problems[0].Kind != row.kind || s.Problems[0].Line != row.line || s.Problems[0].Text == ""):
			t.Errorf("%s: want %s in line %d, got %+v", row.about, row.kind, row.line, s.Problems)
		}
		if s.Language != row.language {
			t.Errorf("%s: its language is %q, want %q", row.about, s.Language, row.language)
		}
	}
}

// TestFixesAreQuoted has what a fix runs where it is pasted, whatever a hook and its interpreter are
// called.
func TestFixesAreQuoted(t *testing.T) {
	const evil = "/h$(touch pwned); touch pwned #"
	root := host(t, nil)
	for _, row := range []struct {
		text string
		mode os.FileMode
	}{
		{"#!/bin/sh\n:\n", 0o644},
		{"#!/bin/sh\r\n:\r\n", 0o755},
		{"#!/usr/bin/env -S a;touch${IFS}pwned\n", 0o755},
		{"#!/opt/$(touch${IFS}pwned)\n", 0o755},
		{"#!/bin/sh\na=(1 2)\n", 0o755},
		{"#!/bin/bash\necho \"\n", 0o755},
		{"PK\x03\x04\x00\x00", 0o755},
	} {
		put(t, root+evil, row.text, row.mode)
		s := Read(evil, environment(root, Deploy))
		if len(s.Problems) == 0 || s.Problems[0].Fix == "" {
			t.Fatalf("%q: there is no fix: %+v", row.text, s.Problems)
		}
		file, err := syntax.NewParser().Parse(strings.NewReader(s.Problems[0].Fix), "")
		if err != nil {
			t.Fatalf("%q: %q: %v", row.text, s.Problems[0].Fix, err)
		}
		syntax.Walk(file, func(n syntax.Node) bool {
			if c, ok := n.(*syntax.CallExpr); ok && len(c.Args) > 0 && c.Args[0].Lit() == "touch" {
				t.Errorf("%q: the fix runs touch: %s", row.text, s.Problems[0].Fix)
			}
			return true
		})
	}
}

func TestOwnBinaryRuns(t *testing.T) {
	exe, err := os.Executable()
	if err != nil || runtime.GOOS != "linux" {
		t.Skip("the test's own program is not known")
	}
	if s := Read(exe, Environment{}); len(s.Problems) > 0 || s.Language != "binary" {
		t.Errorf("the program of this test cannot run, by %+v", s)
	}
}

func TestNamesThatCertbotSkips(t *testing.T) {
	root := host(t, nil)
	put(t, root+"/hook~", "#!/bin/sh\nsystemctl reload nginx\n", 0o755)
	if s := Read("/hook~", environment(root, Deploy)); len(s.Problems) != 1 || s.Problems[0].Kind != "name" {
		t.Errorf("a hook whose name ends with ~ has %+v", s.Problems)
	}
	if s := Read("/none", environment(root, Deploy)); len(s.Problems) != 1 || s.Problems[0].Kind != "unreadable" {
		t.Errorf("a hook that is not there has %+v", s.Problems)
	}
}

func TestReloads(t *testing.T) {
	root := host(t, map[string]string{
		"haproxy.service": "[Service]\nExecReload=/usr/sbin/haproxy -Ws -f /etc/haproxy/haproxy.cfg -c -q\nExecReload=/bin/kill -USR2 $MAINPID\n",
		"web.service":     "[Service]\nExecReload=/bin/kill -HUP $MAINPID\n",
	})
	for _, row := range []struct {
		command, service, verb, host string
		tested                       bool
	}{
		{"systemctl reload nginx", "nginx", "reload", "", true},
		{"systemctl reload haproxy.service", "haproxy", "reload", "", true},
		{"systemctl reload web", "web", "reload", "", false},
		{"/bin/systemctl --quiet try-reload-or-restart apache2", "apache2", "reload", "", true},
		{"systemctl kill -s HUP nginx", "nginx", "signal", "", false},
		{"sudo -n systemctl restart nginx", "nginx", "restart", "", false},
		{"service nginx reload", "nginx", "reload", "", true},
		{"rc-service nginx restart", "nginx", "restart", "", false},
		{"/etc/init.d/nginx reload", "nginx", "reload", "", true},
		{"/usr/sbin/nginx -s reload", "nginx", "reload", "", true},
		{"apachectl -k graceful", "apache2", "reload", "", true},
		{"kill -HUP $(cat /run/nginx.pid)", "nginx", "signal", "", false},
		{"kill -s USR2 `cat /run/haproxy.pid`", "haproxy", "signal", "", false},
		{"killall -1 vsftpd", "vsftpd", "signal", "", false},
		{"docker exec -it web nginx -s reload", "nginx", "reload", "web", true},
		{"docker compose -f /srv/c.yml exec -T web sh -c 'nginx -t && kill -HUP $(cat /run/nginx.pid)'", "nginx", "signal", "web", true},
		{"docker kill --signal=HUP proxy", "proxy", "signal", "", false},
		{"docker restart web", "web", "restart", "", false},
		{"supervisorctl restart nginx", "nginx", "restart", "", false},
		{"supervisorctl signal HUP nginx", "nginx", "signal", "", false},
		{"postfix reload", "postfix", "reload", "", true},
		{"doveadm reload", "dovecot", "reload", "", true},
		{"postmap -F hash:/etc/postfix/sni", "postfix", "map", "", true},
		{"ssh -p 2222 root@web2 'systemctl reload nginx'", "nginx", "reload", "root@web2", true},
		{"bash -c 'timeout 30 systemctl reload nginx'", "nginx", "reload", "", true},
		{"echo 'commit ssl cert /x.pem' | socat stdio /run/haproxy/admin.sock", "haproxy", "copy", "", true},
	} {
		s := Parse(row.command, environment(root, Deploy))
		if len(s.Reloads) != 1 {
			t.Errorf("%s: %+v", row.command, s.Reloads)
			continue
		}
		got := s.Reloads[0]
		want := Reload{Service: row.service, Verb: row.verb, Tested: row.tested, Host: row.host, Line: got.Line, Text: got.Text}
		if got != want || got.Line != 1 {
			t.Errorf("%s: %+v, want %+v", row.command, got, want)
		}
	}
	for _, command := range []string{"systemctl status nginx", "kill 1", "nginx -t", "docker ps", "echo systemctl reload nginx", "# systemctl reload nginx"} {
		if s := Parse(command, environment(root, Deploy)); len(s.Reloads) > 0 {
			t.Errorf("%s: %+v", command, s.Reloads)
		}
	}
}

func TestCopies(t *testing.T) {
	for _, row := range []struct {
		command, verb string
		from          []string
		to            string
	}{
		{"cp -p $RENEWED_LINEAGE/cert.pem \"$RENEWED_LINEAGE\"/privkey.pem /etc/x", "cp", []string{"$RENEWED_LINEAGE/cert.pem", "$RENEWED_LINEAGE/privkey.pem"}, "/etc/x"},
		{"install -m 600 -o a -t /etc/x /etc/letsencrypt/live/a/privkey.pem", "install", []string{"/etc/letsencrypt/live/a/privkey.pem"}, "/etc/x"},
		{"D=/etc/x; cat a.pem b.pem > $D/c.pem", "cat", []string{"a.pem", "b.pem"}, "/etc/x/c.pem"},
		{"rsync -aL -e 'ssh -p 22' $RENEWED_LINEAGE/ h:/x/", "rsync", []string{"$RENEWED_LINEAGE/"}, "h:/x/"},
		{"scp -P 22 c.pem h:/x/", "scp", []string{"c.pem"}, "h:/x/"},
		{"openssl pkcs12 -export -in c.pem -inkey k.pem -out k.p12", "openssl pkcs12", []string{"c.pem", "k.pem"}, "k.p12"},
		{"keytool -importkeystore -srckeystore k.p12 -destkeystore k.jks", "keytool", []string{"k.p12"}, "k.jks"},
		{"postmap -F hash:/etc/postfix/sni", "postmap", []string{"hash:/etc/postfix/sni"}, "hash:/etc/postfix/sni"},
		{"cp /etc/hosts /srv/hosts", "", nil, ""},
	} {
		s := Parse(row.command, Environment{})
		if row.verb == "" {
			if len(s.Copies) > 0 {
				t.Errorf("%s: %+v", row.command, s.Copies)
			}
			continue
		}
		if len(s.Copies) != 1 || s.Copies[0].Verb != row.verb || !reflect.DeepEqual(s.Copies[0].From, row.from) || s.Copies[0].To != row.to {
			t.Errorf("%s: %+v", row.command, s.Copies)
		}
	}
}

func TestCommandsHaveTheirGuards(t *testing.T) {
	s := Parse(`test -x /usr/bin/certbot -a \! -d /run/systemd/system && perl -e 'sleep int(rand(43200))' && certbot -q renew >/dev/null`, Environment{})
	last := s.Commands[len(s.Commands)-1]
	if strings.Join(last.Argv, " ") != "certbot -q renew" || !strings.Contains(last.Guard, "/run/systemd/system") || !last.Quiet {
		t.Errorf("the last command is %+v", last)
	}
}

func TestHugeInputIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("(", 20_000), strings.Repeat("a=$a$a\n", 3000), "a=1\n" + strings.Repeat("b=$a$b\n", 3000), strings.Repeat("if ", 20_000), strings.Repeat("sh -c '", 1000)} {
		Parse(text, Environment{})
	}
	root := host(t, nil)
	put(t, root+"/hook", "#!/bin/sh\n"+strings.Repeat("true\n", maxScript), 0o755)
	if s := Read("/hook", environment(root, Deploy)); len(s.Problems) > 0 || len(s.Commands) > 0 {
		t.Errorf("a file that is too large to be parsed has %+v", s.Problems)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/healthy/*.sh")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	for _, text := range []string{"\x7fELF", "#!", "#!/bin/sh -", "a() { a; }; a", "kill -", "sudo -u", "docker exec", "ssh -o", "cp -t", "${a:-$(b)}", "chmod 644", "case $a in b) c;; esac", "tar -", "a=$a b=$b c", "s6-svc", "kill -HUP", "env -S"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []string{Deploy, Pre, Post, Job} {
			e := Environment{Path: "/nowhere", Kind: kind, Shared: true, User: "a", Root: "/nowhere"}
			for _, l := range Parse(text, e).Lints {
				if l.Why == "" || l.Fix == "" || Codes()[l.Code] == "" {
					t.Errorf("a lint without a reason: %+v", l)
				}
			}
			s := Script{Path: "/hook"}
			s.judge([]byte(text), e)
		}
	})
}
