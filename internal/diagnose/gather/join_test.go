package gather

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/probe/host/acmelog"
	"github.com/certmedic/certmedic/probe/host/process"
	"github.com/certmedic/certmedic/probe/host/service"
)

func TestAConfigurationOfWhatDoesNotRunSaysNothing(t *testing.T) {
	const at = "127.0.0.1:443"
	for _, row := range []struct {
		about   string
		found   []process.Process
		remains int
	}{
		{"nginx answers", []process.Process{{Name: "nginx"}}, 1},
		{"another server does", []process.Process{{Name: "gate"}}, 0},
		{"nginx does, behind docker's proxy", []process.Process{{Name: "docker-proxy"}, {Name: "nginx"}}, 1},
		{"systemd listens in its place", []process.Process{{Name: "systemd"}}, 1},
		{"nobody can be seen", nil, 1},
	} {
		l := &look{}
		l.c.Answering = []diagnose.Answering{{Address: at, Kind: service.Nginx}}
		l.c.Used = []diagnose.Used{{Path: "/etc/ssl/a.pem", Address: at, By: "nginx"}, {Path: "/etc/ssl/b.pem", By: "destination web"}}
		l.silent(at, row.found)
		if len(l.c.Answering) != row.remains || len(l.c.Used) != row.remains+1 {
			t.Errorf("%s: %+v, %+v", row.about, l.c.Answering, l.c.Used)
		}
	}
}

func TestFilesOnACommandLineAreUsed(t *testing.T) {
	h := newHouse(t)
	live := filepath.Dir(h.tree.Live("shop", "cert"))
	for _, row := range []struct {
		about string
		p     process.Process
		uses  int
	}{
		{"the folder", process.Process{Name: "gate", Argv: []string{"gate", live + "/"}}, 1},
		{"a file, behind an option", process.Process{Name: "gate", Argv: []string{"gate", "--cert=" + live + "/fullchain.pem", "--key=" + live + "/privkey.pem"}}, 1},
		{"another folder", process.Process{Name: "gate", Argv: []string{"gate", "/etc/ssl"}}, 0},
		{"nginx, whose configuration says more", process.Process{Name: "nginx", Argv: []string{"nginx", live}}, 0},
	} {
		l := &look{question: h.question(1), proc: "/proc"}
		l.source()
		l.named(diagnose.Spot{Address: "127.0.0.1:443"}, row.p)
		if len(l.c.Used) != row.uses {
			t.Errorf("%s: %+v", row.about, l.c.Used)
		}
		for _, u := range l.c.Used {
			if u.Lead != diagnose.LeadOwn || u.By != "gate" || u.Path != h.tree.Live("shop", "fullchain") {
				t.Errorf("%s: %+v", row.about, u)
			}
		}
	}
}

func TestLogsOfOtherClients(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"acme/shop.test_ecc/shop.test.conf", "acme/acme.sh.log", "lego/certificates/shop.test.json", "lego/lego.log",
		"quiet/shop.test/shop.test.conf",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		cert   string
		client acmelog.Client
		log    string
	}{
		{"acme/shop.test_ecc/fullchain.cer", acmelog.ACMESh, "acme/acme.sh.log"},
		{"lego/certificates/shop.test.crt", acmelog.Lego, "lego/lego.log"},
		{"quiet/shop.test/fullchain.cer", "", ""}, // it does not log
		{"lego/certificates/other.test.crt", "", ""},
	} {
		o, name := clientLog(certmedic.Source{Kind: certmedic.SourceFiles, Cert: filepath.Join(dir, row.cert)})
		if o.Client != row.client || row.log != "" && (o.Path != filepath.Join(dir, row.log) || name != "shop.test") || (name != "") != (row.log != "") {
			t.Errorf("%s: %+v, %q", row.cert, o, name)
		}
	}
}

func TestHooksThatAreSwitchedOff(t *testing.T) {
	h := newHouse(t)
	path := h.tree.SetHook("10-web", "#!/bin/sh\nsystemctl reload nginx\n")
	h.write(filepath.Join(h.tree.ConfigDir, "cli.ini"), "no-directory-hooks = true\n")
	r := diagnose.Decide(Gather(t.Context(), Means{}, h.question(1)))
	if r.Cause != certmedic.CauseHookSkipped || r.Evidence[0].Source != path {
		t.Errorf("%s: %+v, %s", r.Cause, r.Evidence, r.Fix)
	}
}
