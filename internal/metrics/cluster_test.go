package metrics_test

import (
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/metrics"
)

func TestCluster(t *testing.T) {
	led, followed := healthy("led"), healthy("followed")
	led.Lead, followed.Lead = &certmedic.Lead{Member: "m1", Mine: true, Token: 3}, &certmedic.Lead{Member: "m2"}
	e := exporter(t, led, followed, healthy("alone"))
	e.Cluster(func() metrics.Cluster {
		return metrics.Cluster{Members: 2, Gone: []string{"m3"}, Lost: time.Now().Add(-time.Hour)}
	})
	families := parse(t, written(t, e, now))
	for _, row := range []struct {
		about, metric string
		labels        []string
		want          float64
	}{
		{"this member acts", "certmedic_leader", []string{"certificate=led"}, 1},
		{"another one does", "certmedic_leader", []string{"certificate=followed"}, 0},
		{"there is no other", "certmedic_leader", []string{"certificate=alone"}, 1},
		{"who is there", "certmedic_cluster_members", nil, 2},
		{"who is not any more", "certmedic_member_gone", []string{"member=m3"}, 1},
	} {
		if got, ok := find(families, row.metric, row.labels...); !ok || got != row.want {
			t.Errorf("%s: %v (there: %t), want %v", row.about, got, ok, row.want)
		}
	}
	if lost, ok := find(families, "certmedic_coordinator_lost_seconds"); !ok || lost < 3599 || lost > 3700 {
		t.Errorf("the coordinator is lost for %v s", lost)
	}
	alone := parse(t, everything(t))
	if lost, ok := find(alone, "certmedic_coordinator_lost_seconds"); !ok || lost != 0 {
		t.Errorf("on a single host the coordinator is lost for %v s (there: %t)", lost, ok)
	}
}
