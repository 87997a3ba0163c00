package causes_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
)

// TestScenes plays each scene on a host of its own, and asks certmedic there what is wrong.
func TestScenes(t *testing.T) {
	tr := gather(t)
	for _, s := range scenes(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			h := tr.play(t)
			h.sh(s.Steps)
			for _, want := range s.Diagnose {
				h.sh(want.After)
				h.ask(want)
			}
		})
	}
}

// ask has certmedic diagnose, and compares.
func (h *host) ask(want answer) {
	h.t.Helper()
	of := want.Of
	if of == "" {
		of = domain
	}
	r, err := h.Run(h.t.Context(), "/bin/sh", "-c", want.With+" certmedic diagnose "+of+" --json "+want.Flags)
	var got diagnose.Result
	if err == nil {
		err = json.Unmarshal([]byte(r.Stdout), &got)
	}
	if err != nil {
		h.t.Fatalf("diagnosing %s: %v (exit code %d)\n%s%s", of, err, r.Code, r.Stdout, r.Stderr)
	}
	if got.Cause != want.Cause || !slices.Contains(strings.Fields(want.Stage), string(got.Stage)) || r.Code != exitCode(want.Cause) {
		h.t.Errorf("%s is %s, after %s (exit code %d), want %s, after %s:\n%s", of, got.Cause, got.Stage, r.Code, want.Cause, want.Stage, r.Stdout)
	}
	var shown strings.Builder
	for _, e := range got.Evidence {
		shown.WriteString(e.Source + " " + e.Line + "\n")
	}
	for _, text := range want.Shows {
		if !strings.Contains(shown.String(), text) {
			h.t.Errorf("%s: the evidence does not show %q:\n%s", of, text, shown.String())
		}
	}
	if !strings.Contains(got.Fix, want.Fix) {
		h.t.Errorf("%s: the fix is\n%s\nwithout %q", of, got.Fix, want.Fix)
	}
	for _, also := range got.Also {
		for _, never := range want.Never {
			if also.Cause == never {
				h.t.Errorf("%s: %s is suspected too", of, never)
			}
		}
	}
}

func exitCode(cause certmedic.Cause) int {
	switch cause {
	case certmedic.CauseNone:
		return 0
	case certmedic.CauseUnknown, certmedic.CauseDeploying:
		return 3
	default:
		return 2
	}
}
