package bundletest_test

import (
	"testing"

	"github.com/certmedic/certmedic/internal/bundle/bundletest"
)

func TestMemory(t *testing.T) { bundletest.Test(t, &bundletest.Memory{}) }
