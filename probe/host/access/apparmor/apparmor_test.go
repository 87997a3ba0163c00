package apparmor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shipped is a folder as Debian has it, with what people add.
func shipped(t *testing.T, more map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"tunables/global": "#include <tunables/home>\ninclude <tunables/multiarch>\n",
		"tunables/home": "# where homes are\n@{HOMEDIRS}=/home/\ninclude if exists <tunables/home.d>\n" +
			"@{HOME}=@{HOMEDIRS}/*/ /root/\n",
		"tunables/home.d/site":          "@{HOMEDIRS}+=/srv/homes/ \"/my homes/\"\n",
		"tunables/multiarch":            "@{bin}=/{,usr/}{,s}bin\n@{etc_ro}=/etc/ /usr/etc/\n",
		"abstractions/ssl_certs":        "  abi <abi/4.0>,\n  /etc/ssl/{,**} r,\n  @{etc_ro}/ca-certificates/{,**} r,\n  include if exists <abstractions/ssl_certs.d>\n",
		"abstractions/ssl_certs.d/site": "/etc/letsencrypt/archive/*/{cert,chain,fullchain}[0-9]*.pem r,\n",
		"abstractions/base":             "/lib/** mr,\n/proc/@{pid}/fd/ r,\n",
		"usr.sbin.nginx": `abi <abi/3.0>,
include <tunables/global>

# vim:syntax=apparmor
profile nginx /usr/{,s}bin/nginx flags=(attach_disconnected, mediate_deleted) {
  include <abstractions/ssl_certs>
  capability net_bind_service,
  network inet stream,
  signal (send, receive) peer=nginx,
  unix (connect, send) type=stream peer=(addr="@/run/x,y"),

  /etc/nginx/** r,  # its own
  audit deny /etc/nginx/secret/** rwklx,
  owner /srv/own/* rw,
  "/srv/with blank/*.pem" r,
  r /srv/first/*,
  file r /srv/file/**,
  /srv/run/* rix -> nginx//helper,
  /srv/written/** w,
  /srv/one/? r,
  /srv/deep/**/key.pem r,
  /srv/esc\*aped r,
  @{HOME}/.certs/* r,
  allow @{bin}/openssl r,
  /run/nginx.pid rw,

  profile helper {
    /srv/helper/* r,
  }
  ^hat { /srv/hat r, }
  include if exists <local/usr.sbin.nginx>
}
`,
		"local/usr.sbin.nginx": "/srv/local/** r,\n",
		"usr.sbin.haproxy":     "/usr/sbin/haproxy {\n include <abstractions/nowhere>\n /etc/haproxy/** r,\n}\n",
		"odd":                  "profile odd {\n if defined $tls {\n  /etc/tls r,\n }\n priority=3 deny /etc/** r,\n}\n@{exe}=/usr/bin/var /opt/var\n@{exe} {\n /var/** r,\n}\n",
		"all":                  "profile all { file, deny /etc/shadow r, }\nprofile default flags=(default_allow) { deny /etc/shadow r, }\n",
		"broken":               "profile broken {\n @{NOTHING}/x r,\n /srv/[]x r,\n /srv/fine r,\n /srv/{a,b r,\n}\n",
		"~backup~":             "profile nginx { /** r, }",
	}
	for name, text := range more {
		files[name] = text
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReads(t *testing.T) {
	dir := shipped(t, nil)
	for _, r := range []struct {
		about, profile, path string
		want                 string // "may", "may not", and "?" where that is not sure
	}{
		{"a rule", "nginx", "/etc/nginx/tls/key.pem", "may"},
		{"** stands for something", "nginx", "/etc/nginx/", "may not"},
		{"a rule that denies", "nginx", "/etc/nginx/secret/key.pem", "may not"},
		{"an included file", "nginx", "/etc/ssl/private/key.pem", "may"},
		{"a folder that is included if it exists", "nginx", "/etc/letsencrypt/archive/shop/fullchain12.pem", "may"},
		{"what its pattern leaves out", "nginx", "/etc/letsencrypt/archive/shop/privkey12.pem", "may not"},
		{"a variable with two values", "nginx", "/usr/etc/ca-certificates/x.pem", "may"},
		{"a variable of variables", "nginx", "/home/ann/.certs/key.pem", "may"},
		{"another value of it", "nginx", "/root/.certs/key.pem", "may"},
		{"a value that was added", "nginx", "/srv/homes/ann/.certs/key.pem", "may"},
		{"a value in quotes", "nginx", "/my homes/ann/.certs/key.pem", "may"},
		{"* is one name", "nginx", "/home/ann/sub/.certs/key.pem", "may not"},
		{"empty alternatives", "nginx", "/sbin/openssl", "may"},
		{"a path in quotes", "nginx", "/srv/with blank/key.pem", "may"},
		{"permissions first", "nginx", "/srv/first/key.pem", "may"},
		{"the word file", "nginx", "/srv/file/a/b", "may"},
		{"another profile behind it", "nginx", "/srv/run/tool", "may"},
		{"only to be written", "nginx", "/srv/written/x", "may not"},
		{"one character", "nginx", "/srv/one/a", "may"},
		{"not two", "nginx", "/srv/one/ab", "may not"},
		{"folders between", "nginx", "/srv/deep/a/b/key.pem", "may"},
		{"an escaped star", "nginx", "/srv/esc*aped", "may"},
		{"which is no star", "nginx", "/srv/escXaped", "may not"},
		{"what a person added", "nginx", "/srv/local/key.pem", "may"},
		{"what only a child may", "nginx", "/srv/helper/key.pem", "may not"},
		{"the child", "nginx//helper", "/srv/helper/key.pem", "may"},
		{"a hat", "nginx//hat", "/srv/hat", "may"},
		{"what the parent may, the child may not", "nginx//helper", "/etc/nginx/tls/key.pem", "may not"},
		{"two at once, one of which does not allow it", "nginx//&nginx//helper", "/srv/helper/key.pem", "may not"},
		{"two at once that do", "nginx//&all", "/srv/local/key.pem", "may"},
		{"a profile named for its program", "/usr/sbin/haproxy", "/etc/haproxy/key.pem", "may ?"},
		{"an included file is missing", "/usr/sbin/haproxy", "/etc/ssl/key.pem", "may not ?"},
		{"conditions are not understood", "odd", "/etc/tls", "may not ?"},
		{"a profile named by a variable", "/opt/var", "/var/key.pem", "may"},
		{"all files", "all", "/anything", "may"},
		{"but one", "all", "/etc/shadow", "may not"},
		{"what is not said is allowed", "default", "/anything", "may"},
		{"but what is denied", "default", "/etc/shadow", "may not"},
		{"broken patterns", "broken", "/srv/x", "may not ?"},
		{"hide no others", "broken", "/srv/fine", "may ?"},
	} {
		verdict, err := Reads(dir, r.profile, r.path, false)
		got := map[bool]string{true: "may", false: "may not"}[verdict.Allowed] + map[bool]string{false: " ?"}[verdict.Sure]
		if err != nil || got != r.want || verdict.Allowed != (verdict.Why == "") {
			t.Errorf("%s: %s %s read %s: %+v, %v", r.about, r.profile, got, r.path, verdict, err)
		}
	}
}

func TestReadsOfOwners(t *testing.T) {
	dir := shipped(t, nil)
	for _, owner := range []bool{true, false} {
		if verdict, err := Reads(dir, "nginx", "/srv/own/key.pem", owner); err != nil || verdict.Allowed != owner {
			t.Errorf("owner %v: %+v, %v", owner, verdict, err)
		}
	}
}

func TestReadsSaysWhere(t *testing.T) {
	dir := shipped(t, nil)
	verdict, err := Reads(dir, "nginx", "/etc/nginx/secret/key.pem", false)
	if want := dir + `/usr.sbin.nginx:13 of the profile "nginx" denies to read it`; err != nil || verdict.Why != want {
		t.Errorf("got %q, want %q, %v", verdict.Why, want, err)
	}
	verdict, err = Reads(dir, "nginx", "/nowhere", false)
	if want := `the profile "nginx" (` + dir + `/usr.sbin.nginx:5) has no rule that allows to read it`; err != nil || verdict.Why != want {
		t.Errorf("got %q, want %q, %v", verdict.Why, want, err)
	}
	verdict, err = Reads(dir, "/usr/sbin/haproxy", "/nowhere", false)
	if err != nil || !strings.HasSuffix(verdict.Why, "as far as it is understood (not "+dir+"/usr.sbin.haproxy:2)") {
		t.Errorf("got %q, %v", verdict.Why, err)
	}
	if _, err := Reads(dir, "docker-default", "/etc/x", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a profile that is nowhere: %v", err)
	}
	if _, err := Reads("/nowhere", "nginx", "/etc/x", false); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is nowhere: %v", err)
	}
}

// Files that include themselves, variables that stand for themselves, blocks without end.
func TestReadsIsBounded(t *testing.T) {
	dir := shipped(t, map[string]string{
		"loop":         "include <loop>\n@{X}=@{X}@{X}a\nprofile loop {\n include <loop.d>\n @{X} r,\n /etc/x r,\n",
		"loop.d/again": "include <loop.d/again>\n" + strings.Repeat("{ x {\n", 1000),
	})
	if verdict, err := Reads(dir, "loop", "/etc/y", false); err != nil || verdict.Allowed || verdict.Sure {
		t.Errorf("got %+v, %v", verdict, err)
	}
}

func FuzzProfile(f *testing.F) {
	f.Add("profile x /usr/bin/x flags=(complain) {\n include <y>\n /etc/{a,b}/** r, deny owner /x rw,\n ^h { @{V}/x r, }\n}\n@{V}=/a /b\n", "/etc/a/b")
	f.Add("profile x { audit file r /[a-z]*?\\*, all, if $x { /y r, } }", "/q")
	f.Fuzz(func(t *testing.T, text, path string) {
		r := newReader("/nowhere")
		r.parse(r.top, "x", text, 0)
		for _, b := range r.top.children {
			b.variables = r.top.variables
			if verdict := b.judge(b.name, path, false); verdict.Allowed != (verdict.Why == "") {
				t.Errorf("%+v", verdict)
			}
		}
	})
}
