package main

import (
	"testing"

	"github.com/certmedic/certmedic/remediate/deploy"
)

// TestStepsOfPlansExist shows that the kinds of steps that deployments plan can be carried out.
func TestStepsOfPlansExist(t *testing.T) {
	for _, kind := range []string{deploy.StepHAProxy, deploy.StepSignal} {
		if step(kind) == nil {
			t.Errorf("there is no step %q", kind)
		}
	}
	if step("") != nil {
		t.Error("there is a step without a name")
	}
}
