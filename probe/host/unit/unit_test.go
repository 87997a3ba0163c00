package unit_test

import (
	"errors"
	"os"
	"testing"

	"github.com/certmedic/certmedic/probe/host/unit"
)

func TestAskWhereSystemdIsNot(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		t.Skip("systemd is at work here")
	}
	if _, err := unit.Ask(t.Context(), []string{"a.service"}); !errors.Is(err, unit.ErrNone) {
		t.Errorf("got %v", err)
	}
}
