package gauges

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"github.com/certmedic/certmedic"
)

func TestSeriesExistWhateverIsWrong(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := New(registry)
	now := time.Unix(2000, 0)
	expired := certmedic.AddressObservation{
		Address:  "192.0.2.1:443",
		Chain:    []certmedic.CertFacts{{NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1000, 0)}},
		Findings: []certmedic.Finding{certmedic.NewFinding(certmedic.Expired, "expired")},
	}
	silent := certmedic.AddressObservation{
		Address:  "192.0.2.2:443",
		Findings: []certmedic.Finding{certmedic.NewFinding(certmedic.Timeout, "no answer")},
	}
	split := []certmedic.Finding{certmedic.NewFinding(certmedic.SplitServing, "two versions")}
	g.Add("shop\xff.test:443", []certmedic.AddressObservation{expired, silent}, split, now)
	g.Add("shop\xff.test:443", []certmedic.AddressObservation{expired}, split, now) // the same target twice

	text := gather(t, registry)
	for _, want := range []string{
		`certmedic_probe_success{address="192.0.2.1:443",certificate="",endpoint="shop�.test:443"} 0`,
		`certmedic_served_not_after_timestamp_seconds{address="192.0.2.1:443",certificate="",endpoint="shop�.test:443"} 1000`,
		`certmedic_served_not_before_timestamp_seconds{address="192.0.2.1:443",certificate="",endpoint="shop�.test:443"} 0`,
		`certmedic_served_lifetime_remaining_ratio{address="192.0.2.1:443",certificate="",endpoint="shop�.test:443"} -1`,
		`certmedic_finding{address="192.0.2.1:443",certificate="",code="expired",endpoint="shop�.test:443"} 1`,
		`certmedic_finding{address="192.0.2.2:443",certificate="",code="timeout",endpoint="shop�.test:443"} 1`,
		`certmedic_finding{address="192.0.2.2:443",certificate="",code="split_serving",endpoint="shop�.test:443"} 1`,
		`certmedic_probe_success{address="192.0.2.2:443",certificate="",endpoint="shop�.test:443"} 0`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `not_after_timestamp_seconds{address="192.0.2.2:443"`) {
		t.Error("an address that presented nothing has dates")
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
}

func gather(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(&b, family); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
