package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
)

func TestHosts(t *testing.T) {
	t.Parallel()
	c, warnings, err := config.Parse("x", []byte(`
hosts:
  - {name: bastion, address: "203.0.113.1:2222", user: hop, key_files: [/k]}
  - {name: inner, address: "[2001:db8::2]:22", jump: [bastion]}
  - {name: web1, address: 192.0.2.1, jump: [inner], sudo: true, sftp_server: /usr/lib/sftp-server}
  - {name: web2, address: web2.example.com, serves: [192.0.2.2, "2001:db8::3"]}
certificates:
  - name: shop
    source: {files: {cert: /stored, key: /k}}
    deploy:
      - {name: here, service: nginx}
      - name: there
        on: [web1, local, web2, deploy@web3.example.com:2022]
        rollout: {canary: 2, wave: 10%, parallel: 3, tolerate: 5%}
        files: [{from: fullchain, to: /etc/ssl/shop.pem}]
  - {name: alone, source: {files: {cert: /stored2, key: /k}}, deploy: [{reload: [x]}]}
`))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	all := config.Certificates(c)
	nodes := []certmedic.Node{
		{Name: "local"},
		{Name: "web1", Addresses: []string{"192.0.2.1"}},
		{Name: "web2", Addresses: []string{"192.0.2.2", "2001:db8::3"}},
		{Name: "deploy@web3.example.com:2022", Addresses: []string{"web3.example.com"}},
	}
	if !reflect.DeepEqual(all[0].Nodes, nodes) || all[1].Nodes != nil || all[1].Destinations[0].Hosts != nil {
		t.Errorf("the nodes are %+v and %+v", all[0].Nodes, all[1].Nodes)
	}
	if d := all[0].Destinations[1]; fmt.Sprint(d.Hosts) != "[web1 local web2 deploy@web3.example.com:2022]" || d.Rollout != (certmedic.Rollout{Canaries: 2, Wave: 10, Parallel: 3, Tolerated: 5}) {
		t.Errorf("the destination is on %v, rolled out %+v", d.Hosts, d.Rollout)
	}
	written, ok := c.Host("deploy@web3.example.com:2022")
	if address, port := written.Split(); !ok || written.User != "deploy" || address != "web3.example.com" || port != 2022 {
		t.Errorf("written out it is %+v", written)
	}
	web1, _ := c.Host("web1")
	way, err := c.Way(web1)
	if err != nil || len(way) != 2 || way[0].Name != "bastion" || way[1].Name != "inner" || web1.User != "root" {
		t.Errorf("the way is %+v, %v", way, err)
	}
}

func TestHostsRefused(t *testing.T) {
	t.Parallel()
	host := func(more string) string { return "hosts: [{name: web1, address: 192.0.2.1" + more + "}]" }
	on := func(more string) string {
		return host("") + "\ncertificates:\n  - {name: shop, source: {files: {cert: /stored, key: /k}}, deploy: [{" + more + "}]}"
	}
	for _, row := range []struct{ about, text, want string }{
		{"a name twice", "hosts: [{name: a, address: h}, {name: a, address: h}]", `hosts[1].name: the name "a" is taken by hosts[0].name in line 1`},
		{"this host", "hosts: [{name: local, address: 127.0.0.1}]", `hosts[0].name: "local" is this host itself`},
		{"no address", "hosts: [{name: a}]", "hosts[0].address: is missing"},
		{"a port that is none", `hosts: [{name: a, address: "h:0"}]`, `"h:0" is not host or host:port`},
		{"a user in the address", `hosts: [{name: a, address: "u@h"}]`, `"u@h" is not host or host:port`},
		{"a relative key", host(", key_files: [id]"), `hosts[0].key_files[0]: "id" is not an absolute path`},
		{"a relative known_hosts", host(", known_hosts: [k]"), `hosts[0].known_hosts[0]: "k" is not an absolute path`},
		{"an sftp server without sudo", host(", sftp_server: /s"), "hosts[0].sftp_server: is for sudo"},
		{"an address that is none", host(", serves: [web1]"), `hosts[0].serves[0]: "web1" is no IP address`},
		{"a jump host that is not there", host(", jump: [b]"), `hosts[0].jump[0]: there is no host "b" under hosts`},
		{"a way in a circle", "hosts: [{name: a, address: h, jump: [b]}, {name: b, address: h, jump: [a]}]", `the way to "a" leads by way of itself: a, b, a`},
		{"a way by itself", host(", jump: [web1]"), `leads by way of itself: web1, web1`},
		{"a name that is not listed", on("on: [web2], service: nginx"), `certificates[0].deploy[0].on[0]: there is no host "web2" under hosts, did you mean "web1"?`},
		{"what is no address", on(`on: ["root@:22"], service: nginx`), `"root@:22" is not [user@]host[:port]`},
		{"a host twice", on("on: [web1, web1], service: nginx"), `"web1" is there twice`},
		{"no host at all", on("on: [], service: nginx"), "needs at least one host"},
		{"HAProxy's socket elsewhere", on(`on: [web1], haproxy: {socket: /s, certificate: /c.pem}, files: [{from: combined, to: /c.pem}]`), "haproxy: HAProxy's runtime socket is for this host only"},
		{"a signal elsewhere", on(`on: [web1, local], signal: {pid_file: /p}`), "signal: signals are for this host only"},
		{"a roll-out to this host", on("rollout: {canary: 1}, service: nginx"), "rollout: is for destinations on other hosts"},
		{"no canary", on("on: [web1], rollout: {canary: 0}, service: nginx"), "rollout.canary: must be between 1 and 1000, not 0"},
		{"a wave of nobody", on("on: [web1], rollout: {wave: 0%}, service: nginx"), `rollout.wave: "0%" is no whole number of percent from 1%`},
		{"a share that is none", on("on: [web1], rollout: {tolerate: some}, service: nginx"), `rollout.tolerate: "some" is no whole number of percent`},
		{"a path that is not clean", on(`on: [web1], files: [{from: fullchain, to: /a/../b}]`), `"/a/../b" is no clean path of a file`},
		{"a file of two destinations on one host", on(`on: [web1], files: [{from: fullchain, to: /b}]}, {on: [web1], files: [{from: cert, to: /b}]`), `"web1:/b" is written by`},
		{"a host by two names", on(`on: [web1, "root@192.0.2.1:22"], service: nginx`), `"web1" and "root@192.0.2.1:22" are one host`},
		{"a host by two names, in two destinations", on(`on: [h.example.com], service: nginx}, {on: [root@H.example.com], reload: [x]`), `"h.example.com" and "root@H.example.com" are one host`},
		{"a file of two certificates on one host", on(`on: [web1], files: [{from: fullchain, to: /b}]`) + "\n  - {name: two, source: {files: {cert: /s2, key: /k2}}, deploy: [{on: [root@192.0.2.1], files: [{from: fullchain, to: /b}]}]}", `"web1:/b" is written by`},
	} {
		_, _, err := config.Parse("x", []byte(row.text))
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %s", row.about, err, row.want)
		}
	}
	_, _, err := config.Parse("x", []byte(on(`on: [web1], files: [{from: fullchain, to: /b}]}, {files: [{from: fullchain, to: /b}]`)))
	if err != nil {
		t.Errorf("the same path on two hosts is refused: %v", err)
	}
}

// TestHostFiles holds that keys that others may read, and known_hosts that they may write, are refused.
func TestHostFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, row := range []struct{ about, setting, want string }{
		{"all in order", "key_files: [" + file("key", 0o600) + "], known_hosts: [" + file("known", 0o644) + "]", ""},
		{"a key for all", "key_files: [" + file("open", 0o644) + "]", "hosts[0].key_files[0]"},
		{"a key that is not there", "key_files: [" + dir + "/none]", "hosts[0].key_files[0]"},
		{"known_hosts for all to write", "known_hosts: [" + file("loose", 0o666) + "]", "hosts[0].known_hosts[0]"},
		{"a passphrase for all", "passphrase_file: " + file("pass", 0o644), "hosts[0].passphrase_file"},
	} {
		path := filepath.Join(dir, "certmedic.yml")
		text := "hosts: [{name: web1, address: 192.0.2.1, " + row.setting + "}]\nwatch: [{address: \"192.0.2.1:443\"}]\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := config.Load(path)
		if got := fmt.Sprint(err); row.want == "" && err != nil || row.want != "" && !strings.Contains(got, row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
	}
}
