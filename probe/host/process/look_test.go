package process_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/probe/host/process"
)

// The tables are those of a little-endian host, as every one is on which this runs today.
const header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"

func row(address, state string, inode int) string {
	return fmt.Sprintf("   0: %s 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 %d 1 0000000000000000 100 0 0 10 0\n", address, state, inode)
}

// corpus writes files and links of a folder like /proc. A text that begins with "-> " is a link.
func corpus(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// stat renders /proc/PID/stat of a process that was started so many ticks after the host.
func stat(pid int, name string, parent, start int) string {
	return fmt.Sprintf("%d (%s) S %d 0 0 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %d 3133440 381\n", pid, name, parent, start)
}

func status(uid int) string {
	return fmt.Sprintf("Uid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\nGid:\t%[1]d\t%[1]d\t%[1]d\t%[1]d\nGroups:\t4\nCapEff:\t0000000000000003\n", uid)
}

// host is a corpus with nginx on the host, a container that has an nginx too, behind a proxy,
// and what is no process of anybody.
func host(t *testing.T) string {
	id := strings.Repeat("ab", 32)
	return corpus(t, map[string]string{
		"stat":         "cpu  1 2 3\nbtime 1700000000\n",
		"self/ns/net":  "-> net:[100]",
		"self/ns/user": "-> user:[200]",
		"uptime":       "1 1\n",
		"net/tcp": header + row("00000000:01BB", "0A", 11) + row("0100007F:01BB", "0A", 12) + row("0100007F:01BB", "01", 13) +
			row("00000000:1F90", "0A", 40),
		"net/tcp6": header + row("00000000000000000000000000000000:0050", "0A", 14),
		"net/udp":  header + row("00000000:01BB", "07", 15) + row("0100007F:0035", "01", 16),

		"1/stat": stat(1, "systemd", 0, 10), "1/status": status(0), "1/fd/0": "-> /dev/null", "1/root": "-> /",

		"20/stat": stat(20, "nginx", 1, 500), "20/status": status(0), "20/cmdline": "nginx: master process /usr/sbin/nginx\x00",
		"20/exe": "-> /usr/sbin/nginx (deleted)", "20/root": "-> /", "20/ns/mnt": "-> mnt:[300]", "20/ns/net": "-> net:[100]",
		"20/ns/user": "-> user:[200]", "20/cgroup": "0::/system.slice/nginx.service\n", "20/attr/current": "/usr/sbin/nginx (enforce)\n",
		"20/fd/6": "-> socket:[11]", "20/fd/7": "-> socket:[14]", "20/fd/8": "-> socket:[15]", "20/fd/9": "-> pipe:[11]",

		"21/stat": stat(21, "nginx", 20, 700), "21/status": status(33), "21/ns/net": "-> net:[100]", "21/fd/6": "-> socket:[11]",
		"22/stat": stat(22, "nginx", 20, 600), "22/status": status(33), "22/ns/net": "-> net:[100]", "22/fd/6": "-> socket:[11]",
		"23/stat": stat(23, "haproxy", 1, 900), "23/status": status(99), "23/fd/3": "-> socket:[12]",

		"30/stat": stat(30, "nginx", 1, 800), "30/status": status(100), "30/ns/net": "-> net:[101]", "30/ns/user": "-> user:[201]",
		"30/uid_map": "         0     100000      65536\n", "30/gid_map": "0 200000 1000\n2000 300000 1\n",
		"30/cgroup": "0::/system.slice/docker-" + id + ".scope\n", "30/fd/6": "-> socket:[31]",
		"30/net/tcp": header + row("00000000:20FB", "0A", 31), "30/net/udp": header, "30/net/fib_trie": "|-- 172.17.0.2\n /32 host LOCAL\n",

		"40/stat": stat(40, "docker-proxy", 1, 810), "40/status": status(0), "40/ns/net": "-> net:[100]", "40/fd/4": "-> socket:[40]",
		"40/cmdline": "/usr/bin/docker-proxy\x00-proto\x00tcp\x00-host-ip\x000.0.0.0\x00-host-port\x008080\x00-container-ip\x00172.17.0.2\x00-container-port\x008443\x00",

		"50/stat": strings.Replace(stat(50, "ended", 20, 1), ") S", ") Z", 1), "50/status": status(0),
		"51/stat": strings.Replace(stat(51, "kworker", 2, 1), "4194560", "2097216", 1), "51/status": status(0),
		"52/stat": "gone", "sys/kernel": "",
	})
}

func pids(processes []process.Process) string {
	var out []string
	for _, p := range processes {
		out = append(out, fmt.Sprint(p.PID))
	}
	return strings.Join(out, " ")
}

func TestLook(t *testing.T) {
	dir := host(t)
	table, err := process.Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := pids(table.Processes); got != "1 20 21 22 23 30 40" {
		t.Errorf("processes %s", got)
	}
	got, _ := table.Process(20)
	want := process.Process{
		PID: 20, Parent: 1, Name: "nginx", Exe: "/usr/sbin/nginx", ExeDeleted: true, Argv: []string{"nginx: master process /usr/sbin/nginx"},
		Start: time.Unix(1700000005, 0).UTC(), UID: 0, GIDs: []int{0, 4}, Capabilities: 3, Root: filepath.Join(dir, "20", "root"),
		Mounts: 300, Net: 100, Unit: "nginx.service", Label: "/usr/sbin/nginx (enforce)",
	}
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if p, _ := table.Process(30); fmt.Sprint(p.UserIDs, p.GroupIDs) != "[[100000 65536]] [[200000 1000] [300000 1]]" || p.Container != strings.Repeat("ab", 32) {
		t.Errorf("the container's process is %+v", p)
	}
	if _, ok := table.Process(50); ok || table.Hidden != 0 {
		t.Errorf("a process that ended is there, or %d are hidden", table.Hidden)
	}
	if got := pids(table.Children(1)); got != "20 22 21 30 40 23" {
		t.Errorf("children of 1 are %s", got)
	}
	if got := pids(table.Children(23)); got != "" {
		t.Errorf("children of 23 are %s", got)
	}
}

func TestListening(t *testing.T) {
	table, err := process.Look(host(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct{ about, network, address, want string }{
		{"a socket at the address goes first", "tcp", "127.0.0.1:443", "23"},
		{"else one at all addresses, master and workers", "tcp", "10.0.0.7:443", "20 22 21"},
		{"as IPv6 writes an address of IPv4", "tcp", "[::ffff:10.0.0.7]:443", "20 22 21"},
		{"none of IPv4 answers for IPv6", "tcp", "[2001:db8::1]:443", ""},
		{"all addresses of IPv6", "tcp", "[2001:db8::1]:80", "20"},
		{"which answers for IPv4, too", "tcp", "10.0.0.7:80", "20"},
		{"QUIC", "udp", "10.0.0.7:443", "20"},
		{"connected UDP is no service", "udp", "127.0.0.1:53", ""},
		{"nobody", "tcp", "10.0.0.7:444", ""},
		{"what a container listens on is not the host's", "tcp", "10.0.0.7:8443", ""},
	} {
		if got := pids(table.Listening(r.network, netip.MustParseAddrPort(r.address))); got != r.want {
			t.Errorf("%s: %s at %s are %q, want %q", r.about, r.network, r.address, got, r.want)
		}
	}
	if got := pids(table.ListeningIn(101, "tcp", netip.MustParseAddrPort("172.17.0.2:8443"))); got != "30" {
		t.Errorf("inside the container %q listen", got)
	}
	proxies := table.Listening("tcp", netip.MustParseAddrPort("10.0.0.7:8080"))
	if len(proxies) != 1 || pids(table.Behind(proxies[0])) != "30" {
		t.Errorf("behind %+v is not the container's process", proxies)
	}
	if nginx, _ := table.Process(20); len(table.Behind(nginx)) != 0 {
		t.Error("something is behind what is no proxy")
	}
}

func TestLookSaysWhatItCannotRead(t *testing.T) {
	one := map[string]string{"stat": "btime 1700000000\n", "net/tcp": header, "net/udp": header, "7/stat": stat(7, "x", 1, 1), "7/status": status(0)}
	for about, r := range map[string]struct {
		name, text string
		want       string
	}{
		"no time of the start": {"stat", "cpu 1\n", "does not say"},
		"a time that is none":  {"stat", "btime x\n", "reading when this host was started"},
		"a broken table":       {"net/udp", header + row("0100007F0:0019", "07", 1), `udp:2: "0100007F0:0019" is not an address`},
	} {
		files := map[string]string{}
		for name, text := range one {
			files[name] = text
		}
		files[r.name] = r.text
		table, err := process.Look(corpus(t, files))
		if err == nil || !strings.Contains(err.Error(), r.want) || pids(table.Processes) != "7" {
			t.Errorf("%s: processes %s, error %v", about, pids(table.Processes), err)
		}
	}
	if _, err := process.Look(t.TempDir()); err == nil || !strings.Contains(err.Error(), "shows none") {
		t.Errorf("of a folder that is empty: %v", err)
	}
	if _, err := process.Look("/nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no folder: %v", err)
	}
}

func TestOpenOfFiles(t *testing.T) {
	dir := corpus(t, map[string]string{"cert.pem": "a certificate", "7/maps": "", "7/fd/1": "-> /dev/null", "7/fd/2": "-> socket:[1]"})
	for _, name := range []string{"3", "4"} {
		if err := os.Symlink(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "7", "fd", name)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := process.Open(dir, 7)
	if err != nil || len(files) != 1 || files[0].Path != filepath.Join(dir, "cert.pem") || files[0].Deleted || files[0].Inode == 0 || files[0].Mount != "" {
		t.Errorf("%+v, %v", files, err)
	}
	if _, err := process.Open(dir, 8); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of a process that is gone: %v", err)
	}
	if got := slices.ContainsFunc(files, func(f process.File) bool { return f.Content != nil }); got {
		t.Error("the content of an open file was read")
	}
}
