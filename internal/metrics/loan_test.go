package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/remediate/rollback"
)

func TestTheDeadlineOfALoanIsTold(t *testing.T) {
	until := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	views := []watchdog.View{{Name: "blog"}, {Name: "shop", Loan: &rollback.Loan{Certificate: "shop", Until: until}}}
	var b strings.Builder
	if err := Certificates(&b, views, until); err != nil {
		t.Fatal(err)
	}
	const series = "certmedic_rollback_deadline_timestamp_seconds{"
	if got := b.String(); strings.Count(got, series) != 1 || !strings.Contains(got, series+`certificate="shop"} 1772366400`) && !strings.Contains(got, series+`certificate="shop"} 1.7723664e+09`) {
		t.Errorf("got\n%s", got)
	}
}
