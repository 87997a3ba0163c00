package alertingtest_test

import (
	"testing"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
)

func TestMemoryOutbox(t *testing.T) {
	alertingtest.TestOutbox(t, func() alerting.Outbox { return &alertingtest.MemoryOutbox{} })
}
