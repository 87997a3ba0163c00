package e2e_test

import (
	"bytes"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/probe/host/access"
	"github.com/certmedic/certmedic/probe/host/process"
)

// What the senses tell of a real nginx, which for the machine is one in a container: it has
// other namespaces and another root.
func TestWhatRunsAndWhoMayRead(t *testing.T) {
	w := newWorld(t, setting{})
	var nginx []process.Process
	w.await("nginx has forked its workers", patience, 50*time.Millisecond, func() bool { nginx = w.nginx(); return len(nginx) > 1 })
	master := nginx[0]
	if master.UID != 0 || master.Unit != "nginx.service" || filepath.Base(master.Exe) != "nginx" || master.ExeDeleted || len(nginx) < 2 {
		t.Fatalf("at port 443 listen %+v", nginx)
	}
	for _, worker := range nginx[1:] {
		if worker.Parent != master.PID || worker.UID != 33 || worker.Mounts != master.Mounts {
			t.Errorf("a worker is %+v", worker)
		}
	}

	file, err := process.Seen("/proc", master.PID, live+"/fullchain.pem")
	if want := strings.Replace(live, "/live/", "/archive/", 1) + "/fullchain1.pem"; err != nil || file.Path != want || !bytes.Equal(file.Content, w.ReadFile(want)) {
		t.Errorf("it sees %q, not %q, %v", file.Path, want, err)
	}
	for who, want := range map[*process.Process]int{&master: 0, &nginx[1]: 2} { // live and archive are root's alone
		identity := access.Identity{Name: who.Name, UID: who.UID, GIDs: who.GIDs, Label: who.Label, Capabilities: &who.Capabilities}
		denied, err := access.ReadsIn(who.Root, identity, live+"/fullchain.pem")
		if err != nil || len(denied) != want {
			t.Errorf("uid %d is kept out by %+v, %v", who.UID, denied, err)
		}
	}

	w.must("rm /var/log/nginx/access.log; touch /etc/nginx/renewed")
	renewed, err := process.Seen("/proc", master.PID, "/etc/nginx/renewed")
	if err != nil {
		t.Fatal(err)
	}
	if worker := w.nginx()[1]; !worker.Start.Before(renewed.ModTime) {
		t.Errorf("a worker of %v is not older than a file of %v", worker.Start, renewed.ModTime)
	}
	if !w.removedLogIsOpen(master.PID) {
		t.Error("the log that was removed is not among the open files")
	}
	w.must("systemctl reload nginx")
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		now := w.nginx()
		if now[0].PID == master.PID && len(now) > 1 && now[1].Start.After(renewed.ModTime) && !w.removedLogIsOpen(master.PID) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after a reload listen %+v", now)
		}
	}
}

// nginx returns the processes that listen at the host's port 443, the oldest first.
func (w *world) nginx() []process.Process {
	w.t.Helper()
	table, err := process.Look("/proc")
	if err != nil {
		w.t.Fatal(err)
	}
	init, _ := table.Process(w.PID())
	return table.ListeningIn(init.Net, "tcp", netip.MustParseAddrPort(w.IP()+":443"))
}

func (w *world) removedLogIsOpen(pid int) bool {
	w.t.Helper()
	files, err := process.Open("/proc", pid)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		if f.Path == "/var/log/nginx/access.log" && f.Deleted {
			return true
		}
	}
	return false
}
