package deploy_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// TestStepsElsewhere holds that what is for other hosts is planned beside what is for this one, and that
// nothing of this host is taken for theirs.
func TestStepsElsewhere(t *testing.T) {
	v := newVersion(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil { // which this host must not deploy to
		t.Fatal(err)
	}
	to := filepath.Join(dir, "shop.pem")
	d := certmedic.Destination{
		Name: "web", Hosts: []string{"web1", "web2"}, Test: []string{"/nowhere/test"}, Reload: []string{"/nowhere/reload"}, Prepare: [][]string{{"make"}},
		Files: []certmedic.InstalledFile{{From: certmedic.PartFullchain, To: to}, {From: certmedic.PartPrivkey, To: to + ".key", Owner: "root:nobody-here", Mode: "0640"}},
	}
	p, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Files)+len(p.Commands)+len(p.Locks) > 0 || p.Empty() || len(p.Elsewhere) != 1 {
		t.Fatalf("the plan is %+v", p)
	}
	e := p.Elsewhere[0]
	var phases []deploy.Phase
	for _, c := range e.Commands {
		phases = append(phases, c.Phase)
	}
	if !slices.Equal(e.Hosts, d.Hosts) || !slices.Equal(phases, []deploy.Phase{deploy.PhasePrepare, deploy.PhaseTest, deploy.PhaseReload}) {
		t.Errorf("elsewhere is done %+v", e)
	}
	key, chain := e.Files[0], e.Files[1]
	if key.From != certmedic.PartPrivkey || key.Owner != "root:nobody-here" || chain.Mode != "" || chain.Owner != "" {
		t.Errorf("the files are %+v", e.Files)
	}
	if string(chain.Content()) != string(v.pair.FullchainPEM()) || chain.ContentSHA256() != chain.SHA256 || chain.Size != len(chain.Content()) {
		t.Error("the content is not that of the version")
	}
	if reload, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, true); err != nil || len(reload.Elsewhere[0].Files) != 0 || reload.Basis != p.Basis {
		t.Errorf("a reload is planned as %+v, %v", reload, err)
	}
	d.Hosts = append(d.Hosts, certmedic.LocalHost)
	if _, err := deploy.Steps([]certmedic.Destination{d}, v.Stored, nil, false); err == nil {
		t.Error("on this host, too, others may write where it would be installed, and nothing said so")
	}
}
