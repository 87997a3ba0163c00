package access

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// What is told has the path, the modes and who is kept out, and all that has to be mended.
func TestReadsSaysWhy(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	live, key := filepath.Join(dir, "live"), filepath.Join(dir, "live/key.pem")
	write(t, key, "")
	must(t, os.Chmod(live, 0o700))
	must(t, os.Chmod(key, 0o600))
	link := filepath.Join(dir, "link.pem")
	must(t, os.Symlink("live/../live/./key.pem", link))
	who := Identity{Name: "web", UID: 10001, GIDs: []int{20001}}
	denied, err := Reads(who, link)
	want := []Denial{
		{live, Mode, "drwx------ root:root: web (uid 10001) may not enter it", true},
		{key, Mode, "-rw------- root:root: web (uid 10001) may not read it", true},
	}
	if err != nil || !slices.Equal(denied, want) {
		t.Errorf("got %+v, %v", denied, err)
	}
	must(t, os.Chmod(live, 0o755))
	list := acl{{tagOwner, 6, 0}, {tagUser, 4, 10001}, {tagGroup, 0, 0}, {tagMask, 2, 0}, {tagOther, 4, 0}}
	if err := setACL(key, list); errors.Is(err, unix.ENOTSUP) {
		t.Skipf("the temporary folder has no access control lists: %v", err)
	}
	denied, err = Reads(who, link)
	want = []Denial{{key, ACL, "-rw--w-r-- root:root with the access control list user::rw-,user:10001:r--,group::---,mask::-w-,other::r--: web (uid 10001) may not read it", true}}
	if err != nil || !slices.Equal(denied, want) {
		t.Errorf("got %+v, %v", denied, err)
	}
	if denied, err := ReadsIn(dir, who, "/live/key.pem"); err != nil || len(denied) != 1 || denied[0].Path != "/live/key.pem" {
		t.Errorf("below another root: %+v, %v", denied, err)
	}
	if denied, err := ReadsIn("/proc/self/root", Identity{UID: 0}, key); err != nil || len(denied) != 0 {
		t.Errorf("below the root of a process: %+v, %v", denied, err)
	}
}

func TestReadsOfNoFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/file", "")
	must(t, os.Symlink("circle", dir+"/circle"))
	must(t, os.Symlink("nowhere", dir+"/dangling"))
	for path, want := range map[string]error{
		dir + "/nowhere": fs.ErrNotExist, dir + "/dangling": fs.ErrNotExist, dir + "/circle": syscall.ELOOP, dir + "/file/x": syscall.ENOTDIR,
	} {
		if denied, err := Reads(Identity{}, path); !errors.Is(err, want) || denied != nil {
			t.Errorf("%s: %v, %v", path, denied, err)
		}
	}
	if _, err := Reads(Identity{}, "relative"); err == nil || !strings.Contains(err.Error(), "not absolute") {
		t.Errorf("a relative path: %v", err)
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	write(t, dir+"/open", "")
	write(t, dir+"/closed", "")
	must(t, os.Chmod(dir+"/closed", 0o640))
	must(t, os.Symlink("open", dir+"/link"))
	must(t, os.Symlink("nowhere", dir+"/dangling"))
	write(t, dir+"/below/open", "")
	must(t, syscall.Chmod(dir+"/below", 0o2750))
	for name, want := range map[string]Facts{
		"open": {Mode: 0o644, OthersRead: true}, "closed": {Mode: 0o640}, "link": {Mode: 0o777, Link: "open", OthersRead: true},
		"dangling": {Mode: 0o777, Link: "nowhere"}, "below/open": {Mode: 0o644}, "below": {Mode: 0o2750},
	} {
		facts, err := Look(filepath.Join(dir, name))
		if err != nil || facts.Owner == "" || !strings.Contains(facts.Owner, ":") {
			t.Errorf("%s: %+v, %v", name, facts, err)
		}
		want.Path, want.Owner, want.Label = filepath.Join(dir, name), facts.Owner, facts.Label
		if facts != want {
			t.Errorf("%s: got %+v, want %+v", name, facts, want)
		}
	}
	if _, err := Look(dir + "/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no file: %v", err)
	}
	list := acl{{tagOwner, 6, 0}, {tagUser, 4, 33}, {tagGroup, 0, 0}, {tagMask, 4, 0}, {tagOther, 0, 0}}
	if err := setACL(dir+"/open", list); errors.Is(err, unix.ENOTSUP) {
		t.Skipf("the temporary folder has no access control lists: %v", err)
	}
	if facts, err := Look(dir + "/open"); err != nil || !facts.ACL || facts.OthersRead {
		t.Errorf("with a list: %+v, %v", facts, err)
	}
}

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	a := accounts{filepath.Join(dir, "passwd"), filepath.Join(dir, "group")}
	write(t, a.passwd, "root:x:0:0:root:/root:/bin/sh\n# comment\nwww-data:x:33:33::/var/www:/bin/sh\n12:x:1012:12::/:/bin/sh\nbroken:x:one:1::/:\n")
	write(t, a.group, "root:x:0:\nwww-data:x:33:\nssl-cert:x:104:postgres,www-data\nadm:x:4:www-data\nother:x:5:\nodd:x:x:www-data\n")
	for user, want := range map[string]Identity{
		"www-data": {Name: "www-data", UID: 33, GIDs: []int{33, 104, 4}}, "33": {Name: "www-data", UID: 33, GIDs: []int{33, 104, 4}},
		"4711": {UID: 4711}, "12": {Name: "12", UID: 1012, GIDs: []int{12}},
	} {
		if who, err := a.lookup(user); err != nil || who.Name != want.Name || who.UID != want.UID || !slices.Equal(who.GIDs, want.GIDs) {
			t.Errorf("%s is %+v, %v", user, who, err)
		}
	}
	for user, want := range map[string]string{"nginx": "has none of this name", "broken": "has no numbers", "-1": "has none"} {
		if who, err := a.lookup(user); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %+v, %v", user, who, err)
		}
	}
	if _, err := (accounts{"missing", "missing"}).lookup("root"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without databases: %v", err)
	}
	if who, err := Lookup("root"); err != nil || who.UID != 0 {
		t.Errorf("root is %+v, %v", who, err)
	}
}

func TestSplitLabel(t *testing.T) {
	for label, want := range map[string]struct {
		name string
		kind kind
	}{
		"": {}, "unconfined": {}, "/usr/sbin/nginx (complain)": {}, "nginx (mixed)": {},
		"/usr/sbin/nginx (enforce)":     {"/usr/sbin/nginx", ofAppArmor},
		"a profile (of mine) (enforce)": {"a profile (of mine)", ofAppArmor},
		"nginx":                         {"nginx", ofAppArmor},
		"system_u:system_r:httpd_t:s0":  {"httpd_t", ofSELinux},
		"unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023":   {"unconfined_t", ofSELinux},
		":lxd-web_<var-snap>:unconfined//&:root//nginx (enforce)": {":lxd-web_<var-snap>:unconfined//&:root//nginx", ofAppArmor},
	} {
		if name, kind := splitLabel(label); name != want.name || kind != want.kind {
			t.Errorf("%q is %q of %d", label, name, kind)
		}
	}
}

func TestSELinux(t *testing.T) {
	way := func(folder, file string) []node {
		return []node{
			{path: "/root", kind: fs.ModeDir, want: maySearch, label: "system_u:object_r:" + folder + ":s0"},
			{path: "/root/link", kind: fs.ModeSymlink, label: "system_u:object_r:admin_home_t:s0"},
			{path: "/root/key.pem", want: mayRead, label: "system_u:object_r:" + file + ":s0"},
		}
	}
	for _, r := range []struct {
		about, enforce, domain, folder, file, boolean string
		want                                          string
	}{
		{"certificates", "1", "httpd_t", "etc_t", "cert_t", "", ""},
		{"the service's own", "1", "httpd_t", "etc_t", "httpd_config_t", "", ""},
		{"moved from root's home", "1", "httpd_t", "etc_t", "admin_home_t", "", "/root/key.pem sure"},
		{"in root's home", "1", "haproxy_t", "admin_home_t", "admin_home_t", "", "/root sure, /root/key.pem sure"},
		{"not enforced", "0", "httpd_t", "etc_t", "admin_home_t", "", ""},
		{"whether it is enforced is not known", "", "httpd_t", "etc_t", "tmp_t", "", "/root/key.pem"},
		{"a domain that is not known", "1", "mine_t", "etc_t", "default_t", "", "/root/key.pem"},
		{"a domain that may everything", "1", "unconfined_service_t", "etc_t", "default_t", "", ""},
		{"a type that is not known", "1", "httpd_t", "etc_t", "mine_t", "", ""},
		{"in a folder of temporary files", "1", "httpd_t", "tmp_t", "cert_t", "", ""},
		{"in a home", "1", "httpd_t", "user_home_dir_t", "user_home_t", "", "/root sure, /root/key.pem sure"},
		{"in a home that was opened", "1", "httpd_t", "user_home_dir_t", "user_home_t", "httpd_read_user_content", ""},
	} {
		dir := t.TempDir()
		if r.enforce != "" {
			write(t, dir+"/enforce", r.enforce)
		}
		if r.boolean != "" {
			write(t, filepath.Join(dir, "booleans", r.boolean), "1 1")
		}
		var got []string
		for _, d := range (host{selinux: dir}).bySELinux(r.domain, way(r.folder, r.file)) {
			sure := map[bool]string{true: " sure"}[d.Sure]
			if got = append(got, d.Path+sure); d.By != SELinux || !strings.Contains(d.Why, r.domain) {
				t.Errorf("%s: %+v", r.about, d)
			}
		}
		if strings.Join(got, ", ") != r.want {
			t.Errorf("%s: got %q, want %q", r.about, got, r.want)
		}
	}
}

// The label of a file and the profile of a process decide together with its modes.
func TestPoliciesOfAFile(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	key := filepath.Join(dir, "key.pem")
	write(t, key, "")
	h := host{selinux: dir, profiles: filepath.Join(dir, "profiles")}
	write(t, filepath.Join(dir, "profiles", "nginx"), "profile nginx {\n /etc/** r,\n}\n")
	for about, r := range map[string]struct {
		label string
		want  string
	}{
		"a profile without a rule":         {"nginx (enforce)", `the profile "nginx" (` + dir + `/profiles/nginx:1) has no rule that allows to read it`},
		"a profile that is only watched":   {"nginx (complain)", ""},
		"a profile that is nowhere":        {"docker-default (enforce)", ""},
		"a label of SELinux on no SELinux": {"system_u:system_r:httpd_t:s0", ""},
	} {
		denied, err := h.reads("/", Identity{UID: os.Getuid(), Label: r.label}, key)
		if err != nil || len(denied) != min(len(r.want), 1) || len(denied) == 1 && (denied[0] != Denial{key, AppArmor, r.want, true}) {
			t.Errorf("%s: %+v, %v", about, denied, err)
		}
	}
	if err := unix.Setxattr(key, "security.selinux", []byte("system_u:object_r:admin_home_t:s0\x00"), 0); err != nil {
		t.Skipf("labels of SELinux cannot be written here: %v", err)
	}
	write(t, dir+"/enforce", "1")
	denied, err := h.reads("/", Identity{UID: os.Getuid(), Label: "system_u:system_r:httpd_t:s0"}, key)
	if err != nil || len(denied) != 1 || denied[0].By != SELinux || !denied[0].Sure {
		t.Errorf("with a label: %+v, %v", denied, err)
	}
	if facts, err := Look(key); err != nil || facts.Label != "system_u:object_r:admin_home_t:s0" {
		t.Errorf("its facts are %+v, %v", facts, err)
	}
}

func FuzzACL(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"), 33, 33)
	f.Add([]byte("\x02\x00\x00\x00"), 0, 0)
	f.Fuzz(func(t *testing.T, data []byte, uid, gid int) {
		list, err := parseACL(data)
		if err != nil && list != nil {
			t.Errorf("%v with an error", list)
		}
		list.text(names{})
		n := node{uid: 1, gid: 2, acl: list, want: mayRead}
		if list.allows(Identity{UID: uid, GIDs: []int{gid}}, n) && !slices.ContainsFunc(list, func(e entry) bool { return e.perm&mayRead != 0 }) {
			t.Errorf("%v allows uid %d", list, uid)
		}
	})
}
