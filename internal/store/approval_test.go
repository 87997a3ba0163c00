package store

import (
	"reflect"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/approval"
	"github.com/certmedic/certmedic/remediate/deploy"
)

func TestApprovalsSurvive(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	a := approval.Approval{
		ID: "bodig-rusam", Certificate: "shop", Kind: certmedic.ActionRedeploy, Hash: "h", State: approval.Pending, Created: start, Expires: start.Add(time.Hour),
		Plan: deploy.Plan{Hash: "h", Files: []deploy.File{{SHA256: "aa"}}, Commands: []deploy.Command{{Argv: []string{"nginx", "-t"}}}},
	}
	gone := a
	gone.ID = "lusab-babad"
	approved := a
	approved.State, approved.By = approval.Approved, "ada"
	for _, write := range []func() error{
		func() error { return s.SaveApproval(a) },
		func() error { return s.SaveApproval(gone) },
		func() error { return s.SaveApproval(approved) },
		func() error { return s.DropApproval(gone.ID) },
		func() error { return s.DropApproval(gone.ID) },
		s.Close,
	} {
		if err := write(); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = OpenRead(dir, time.Second); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.Approvals()
	if err != nil || len(all) != 1 || !reflect.DeepEqual(all[0], approved) {
		t.Errorf("kept %+v, %v, want %+v", all, err, approved)
	}
}
