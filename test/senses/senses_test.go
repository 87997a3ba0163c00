package senses_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/certmedic/certmedic/probe/host/schedule"
	"github.com/certmedic/certmedic/probe/host/unit"
)

// These are set where the test's own program is to look at the host that it runs on.
const (
	asks  = "CERTMEDIC_TEST_UNITS"
	looks = "CERTMEDIC_TEST_JOBS"
)

func TestMain(m *testing.M) {
	var found any
	var err error
	switch {
	case os.Getenv(asks) != "":
		found, err = unit.Ask(context.Background(), filepath.SplitList(os.Getenv(asks)))
	case os.Getenv(looks) != "":
		found, _ = schedule.Look(time.Now())
	default:
		os.Exit(m.Run())
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(found)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
