package store_test

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/internal/store"
)

func TestAcksSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(dir, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	for conversation, by := range map[string]string{"a": "ann", "b": "bob"} {
		if err := s.SaveAck(conversation, alerting.Ack{By: by, At: at, Why: "mine"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, conversation := range []string{"b", "never there"} {
		if err := s.ForgetAck(conversation); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = store.Open(dir, time.Second); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, err := s.Acks()
	if err != nil || len(all) != 1 || all["a"] != (alerting.Ack{By: "ann", At: at, Why: "mine"}) {
		t.Errorf("kept %v, %v", all, err)
	}
}
