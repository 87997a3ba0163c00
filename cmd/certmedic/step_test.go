package main

import (
	"errors"
	"fmt"
	"testing"

	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/lineage"
)

// TestStepsOfPlansExist shows that the kinds of steps that deployments plan can be carried out.
func TestStepsOfPlansExist(t *testing.T) {
	for _, kind := range []string{deploy.StepHAProxy, deploy.StepSignal, deploy.StepACM, deploy.StepAPI, deploy.StepProgram} {
		if step(&environment{}, kind) == nil {
			t.Errorf("there is no step %q", kind)
		}
	}
	if step(&environment{}, "") != nil {
		t.Error("there is a step without a name")
	}
}

// TestAStepSaysThatCertbotIsAtWork shows that who runs the step of a lineage can tell that from a
// failure.
func TestAStepSaysThatCertbotIsAtWork(t *testing.T) {
	held := stepFailed(fmt.Errorf("locking the lineage: %w", lineage.ErrHeld))
	for err, want := range map[error]int{held: lineage.ExitHeld, stepFailed(errors.New("no")): exitFailed} {
		var exit *exitError
		if !errors.As(err, &exit) || exit.code != want {
			t.Errorf("%v ends with %+v, want code %d", err, exit, want)
		}
	}
}
