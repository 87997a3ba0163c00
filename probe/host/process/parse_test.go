package process

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParseStat(t *testing.T) {
	tail := " 0 0 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 3133440 381"
	for about, r := range map[string]struct {
		text string
		want stat
	}{
		"a process":                           {"42 (nginx) S 7" + tail, stat{name: "nginx", parent: 7, start: 12345}},
		"a name with brackets and spaces":     {"42 (a) S 1 (b) R 7" + tail, stat{name: "a) S 1 (b", parent: 7, start: 12345}},
		"one that ended":                      {"42 (nginx) Z 7" + tail, stat{name: "nginx", parent: 7, start: 12345, ended: true}},
		"a thread of the kernel":              {"42 (kworker/0:1) I 2" + strings.Replace(tail, "4194560", "69238880", 1), stat{name: "kworker/0:1", parent: 2, start: 12345, kernel: true}},
		"a start that no duration could hold": {"42 (x) S 7" + strings.Replace(tail, "12345", "9223372036854775807", 1), stat{name: "x", parent: 7, start: maxTicks}},
	} {
		if got, err := parseStat(r.text); err != nil || got != r.want {
			t.Errorf("%s: %+v, %v", about, got, err)
		}
	}
	for about, text := range map[string]string{
		"nothing": "", "no name": "42 nginx S 7" + tail, "brackets the wrong way": "42 )nginx( S 7" + tail, "cut off": "42 (nginx) S 7 0 0",
		"a parent that is no number": "42 (nginx) S x" + tail,
	} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("%s: %+v and no error", about, got)
		}
	}
}

func TestParseStatus(t *testing.T) {
	text := "Name:\tnginx\nUid:\t0\t33\t33\t1033\nGid:\t0\t33\t33\t1034\nGroups:\t4 33 104 \nCapInh:\t0000000000000000\nCapEff:\t00000000a80425fb\n"
	uid, gids, capabilities := parseStatus(text)
	if uid != 1033 || !slices.Equal(gids, []int{1034, 4, 33, 104}) || capabilities != 0xa80425fb {
		t.Errorf("%d %v %x", uid, gids, capabilities)
	}
	if uid, gids, capabilities := parseStatus("Uid:\tx\n"); uid != -1 || gids != nil || capabilities != 0 {
		t.Errorf("of nothing: %d %v %x", uid, gids, capabilities)
	}
}

func TestParseControlGroups(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 4)
	for about, r := range map[string]struct{ text, unit, userUnit, container string }{
		"version 2":                     {"0::/system.slice/nginx.service\n", "nginx.service", "", ""},
		"version 1":                     {"12:memory:/system.slice/other.service\n1:name=systemd:/system.slice/nginx.service\n", "nginx.service", "", ""},
		"both at once":                  {"9:name=systemd:/system.slice/nginx.service\n0::/\n", "nginx.service", "", ""},
		"an instance":                   {"0::/system.slice/system-openvpn.slice/openvpn@tun0.service\n", "openvpn@tun0.service", "", ""},
		"a group below the unit":        {"0::/system.slice/dbus.service/sub.scope/x\n", "dbus.service", "", ""},
		"an escaped name":               {"0::/system.slice/_cpu.service\n", "cpu.service", "", ""},
		"a log-in":                      {"0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope", "", ""},
		"a unit of a user":              {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/caddy.service\n", "user@1000.service", "caddy.service", ""},
		"a host that a test threw away": {"0::/certmedic-testhost-7/web/system.slice/nginx.service\n", "nginx.service", "", ""},
		"none":                          {"0::/\n", "", "", ""},
		"nothing":                       {"", "", "", ""},
		"not a control group":           {"x\n0:\n", "", "", ""},

		"docker":                            {"0::/system.slice/docker-" + id + ".scope\n", "docker-" + id + ".scope", "", id},
		"docker without systemd":            {"3:cpu,cpuacct:/docker/" + id + "\n1:name=systemd:/docker/" + id + "\n", "", "", id},
		"a systemd inside docker":           {"0::/docker/" + id + "/system.slice/nginx.service\n", "", "", id},
		"podman":                            {"0::/machine.slice/libpod-" + id + ".scope/container\n", "libpod-" + id + ".scope", "", id},
		"podman of a user":                  {"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id + ".scope\n", "user@1000.service", "libpod-" + id + ".scope", id},
		"what looks after podman's":         {"0::/machine.slice/libpod-conmon-" + id + ".scope\n", "libpod-conmon-" + id + ".scope", "", ""},
		"containerd of kubernetes":          {"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-" + id + ".scope\n", "cri-containerd-" + id + ".scope", "", id},
		"kubernetes without systemd":        {"0::/kubepods/burstable/pod6b5c3f1e-0000/" + id + "\n", "", "", id},
		"kubernetes in containerd's unit":   {"0::/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:" + id + "\n", "containerd.service", "", id},
		"CRI-O":                             {"0::/kubepods.slice/kubepods-pod1.slice/crio-" + id + ".scope/container\n", "crio-" + id + ".scope", "", id},
		"what looks after CRI-O's":          {"0::/kubepods.slice/crio-conmon-" + id + ".scope\n", "crio-conmon-" + id + ".scope", "", ""},
		"LXC":                               {"0::/lxc.payload.web/system.slice/nginx.service\n", "", "", "web"},
		"LXC of old":                        {"5:devices:/lxc/web\n1:name=systemd:/lxc/web/init.scope\n", "", "", "web"},
		"what looks after LXC's":            {"0::/lxc.monitor.web\n", "", "", ""},
		"a machine of systemd-nspawn":       {"0::/machine.slice/systemd-nspawn@my\\x2dweb.service/payload/system.slice/nginx.service\n", `systemd-nspawn@my\x2dweb.service`, "", "my-web"},
		"another one":                       {"0::/machine.slice/machine-my\\x2dweb.scope/payload/init.scope\n", `machine-my\x2dweb.scope`, "", "my-web"},
		"a virtual machine is no container": {"0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/emulator\n", `machine-qemu\x2d1\x2dweb.scope`, "", ""},
	} {
		if unit, userUnit, container := parseControlGroups(r.text); unit != r.unit || userUnit != r.userUnit || container != r.container {
			t.Errorf("%s: unit %q, of the user %q, container %q", about, unit, userUnit, container)
		}
	}
}

func TestParseLabel(t *testing.T) {
	for text, want := range map[string]string{
		"unconfined\n": "", "nginx (unconfined)\n": "", "": "", "/usr/sbin/nginx (enforce)\n": "/usr/sbin/nginx (enforce)",
		"docker-default (complain)\n": "docker-default (complain)", "system_u:system_r:httpd_t:s0\x00": "system_u:system_r:httpd_t:s0",
	} {
		if got := parseLabel(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

func TestParseMaps(t *testing.T) {
	text := `55d0c0a00000-55d0c0b00000 r-xp 00000000 fe:01 131 /usr/sbin/nginx (deleted)
55d0c0b00000-55d0c0c00000 r--p 00100000 fe:01 131 /usr/sbin/nginx (deleted)
00400000-00b12000 r--p 00000000 08:02 77                                 /opt/with blank/a\012b
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7f0000001000-7f0000002000 rw-p 00000000 00:00 0                          [heap]
7f0000002000-7f0000003000 rw-s 00000000 00:01 99                         anon_inode:[io_uring]
short
`
	var got []string
	for _, a := range parseMaps(text) {
		got = append(got, fmt.Sprintf("%s %q %d:%d %v", a.place, a.file.Path, a.file.Device, a.file.Inode, a.file.Deleted))
	}
	want := []string{
		`55d0c0a00000-55d0c0b00000 "/usr/sbin/nginx" 65025:131 true`,
		`400000-b12000 "/opt/with blank/a\nb" 2050:77 false`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestCovering(t *testing.T) {
	mounts := parseMounts(`27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 27 0:9 / /etc rw shared:1 - tmpfs none rw
31 30 254:0 /srv/certs/cert.pem//deleted /etc/nginx/cert.pem ro - ext4 /dev/vda rw
32 30 254:0 /my\040volumes/subpath/0 /etc/tls ro - ext4 /dev/vda rw
33 30 254:0 /my\040volumes/subpath/1 /etc/tls ro - ext4 /dev/vda rw
34 30 short
`)
	for path, want := range map[string]string{
		"/etc/nginx/cert.pem": "/etc/nginx/cert.pem of /srv/certs/cert.pem", "/etc/nginx/cert.pem2": "/etc of /",
		"/etc/tls/tls.crt": "/etc/tls of /my volumes/subpath/1", "/etcetera": "/ of /", "/": "/ of /",
	} {
		point, source := covering(mounts, path)
		if got := point + " of " + source; got != want {
			t.Errorf("%s lies in %s, want %s", path, got, want)
		}
	}
}

func TestLocalAddresses(t *testing.T) {
	trie := `Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 172.17.0.0/16 2 0 2
        |-- 172.17.0.0
           /16 link UNICAST
        |-- 172.17.0.2
           /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
Local:
        |-- 172.17.0.2
           /32 host LOCAL
`
	if got := localAddresses(trie); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("172.17.0.2")}) {
		t.Errorf("got %v", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("42 (nginx) S 7 0 0 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 3133440 381")
	f.Add("Uid:\t0\t0\t0\t0\nGroups:\t4 33\nCapEff:\tff\n")
	f.Add("0::/machine.slice/machine-my\\x2dweb.scope/payload/init.scope\n")
	f.Add("00400000-00b12000 r--p 00000000 08:02 77    /opt/a\\012b (deleted)\n")
	f.Add("31 30 254:0 /srv/cert.pem//deleted /etc/nginx\\040x/cert.pem ro - ext4 /dev/vda rw\n")
	f.Add("h\n 0: 0100007F:0019 00000000:0000 0A 0:0 0:0 0 0 0 12 1\n |-- 10.0.0.1\n /32 host LOCAL\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := parseStat(text); err == nil && s.start > maxTicks {
			t.Errorf("start %d", s.start)
		}
		parseStatus(text)
		if label := parseLabel(text); strings.HasSuffix(label, "\n") {
			t.Errorf("label %q", label)
		}
		localAddresses(text)
		if unit, userUnit, _ := parseControlGroups(text); unit == "" && userUnit != "" || strings.ContainsAny(unit+userUnit, "/\n") {
			t.Errorf("unit %q of the user %q", unit, userUnit)
		}
		for _, a := range parseMaps(text) {
			if !strings.HasPrefix(a.file.Path, "/") && a.file.Path != "" {
				t.Errorf("a mapped file is %q", a.file.Path)
			}
		}
		covering(parseMounts(text), "/etc/nginx/cert.pem")
		sockets, _ := parseSockets(strings.NewReader(text), "tcp", "0A")
		for _, s := range sockets {
			if !s.Address.IsValid() {
				t.Errorf("socket %+v", s)
			}
		}
	})
}
