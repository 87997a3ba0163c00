package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestHostIsDiscovered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setting{})
	w.must("install " + w.tools + "/certmedic /usr/local/bin/ && mkdir /etc/certmedic")

	if r := w.certmedic("config", "init", "--output", configFile); r.Code != 0 {
		t.Fatalf("certmedic config init exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	written := string(w.ReadFile(configFile))
	for _, want := range []string{`lineage: "` + domain + `"`, `address: "127.0.0.1:443"`, `server_name: "` + domain + `"`} {
		if !strings.Contains(written, want) {
			t.Errorf("the configuration that was written has no %q:\n%s", want, written)
		}
	}
	if r := w.certmedic("config", "check"); r.Code != 0 {
		t.Errorf("certmedic config check exits %d for what config init wrote:\n%s%s\n%s", r.Code, r.Stdout, r.Stderr, written)
	}

	w.must("rm " + configFile + " && systemd-run --quiet --unit=certmedic certmedic serve")
	w.awaitReady()
	w.await("the host's certificate is watched without a configuration", patience, 100*time.Millisecond, func() bool {
		return w.view().Stage == certmedic.StageServed
	})
	if v := w.view(); v.Name != domain || v.Mode != certmedic.ModeObserve || len(v.Endpoints) != 1 || v.Endpoints[0].Address != "127.0.0.1:443" {
		t.Errorf("certmedic watches %s in mode %s at %+v", v.Name, v.Mode, v.Endpoints)
	}
	if r := w.certmedic("status"); r.Code != 0 {
		t.Errorf("certmedic status exits %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}
