package metrics_test

import (
	"testing"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
)

func TestMatrix(t *testing.T) {
	row := func(node, address string, v watchdog.Verdict, deployed certmedic.Fingerprint) watchdog.MatrixRow {
		return watchdog.MatrixRow{
			Node: node, Address: address, KeyType: "ecdsa", Verdict: v, Stored: "aa",
			Deployed: []watchdog.DeployedVersion{{Destination: "web", Known: deployed != "", Version: deployed}},
		}
	}
	fleet, alone := healthy("shop"), healthy("blog")
	fleet.Certs.Nodes = []certmedic.Node{{Name: "web1"}, {Name: "web2"}, {Name: "web3"}}
	fleet.Labels = map[string]string{"node": "not this", "team": "payments"}
	foreign := row("web1", "192.0.2.1:443", watchdog.VerdictStale, "")
	foreign.Foreign, foreign.KeyType = true, "rsa"
	fleet.Rows = []watchdog.MatrixRow{
		row("web1", "192.0.2.1:443", watchdog.VerdictServed, "aa"), row("web1", "192.0.2.1:443", watchdog.VerdictStale, "aa"), foreign,
		row("web2", "192.0.2.2:443", watchdog.VerdictServed, "bb"), row("web2", "192.0.2.2:443", watchdog.VerdictServed, "bb"),
		row("web3", "", watchdog.VerdictUnknown, ""), row("", "192.0.2.9:443", watchdog.VerdictUnknown, ""), row("", "192.0.2.8:443", watchdog.VerdictSplit, ""),
	}
	alone.Rows = []watchdog.MatrixRow{row("", "192.0.2.5:443", watchdog.VerdictServed, "aa")}
	families := parse(t, certificates(t, fleet, alone))
	for _, tt := range []struct {
		about, metric string
		labels        []string
		want          float64 // -1: it is not there
	}{
		{"an address that serves it for one endpoint and not for another", "certmedic_node_serves", []string{"node=web1", "address=192.0.2.1:443", "key_type=ecdsa", "team=payments"}, 0},
		{"one that serves it", "certmedic_node_serves", []string{"node=web2", "address=192.0.2.2:443"}, 1},
		{"one that serves it now and then", "certmedic_node_serves", []string{"node=", "address=192.0.2.8:443"}, 0},
		{"one of which nothing is known", "certmedic_node_serves", []string{"address=192.0.2.9:443"}, -1},
		{"a type of key of somebody else", "certmedic_node_serves", []string{"key_type=rsa"}, -1},
		{"a node that has it", "certmedic_node_deployed", []string{"destination=web", "node=web1"}, 1},
		{"a node that has another version", "certmedic_node_deployed", []string{"destination=web", "node=web2"}, 0},
		{"a node of which nothing is known", "certmedic_node_deployed", []string{"node=web3"}, -1},
		{"where there is only this host it is installed here, whoever serves it", "certmedic_node_deployed", []string{"certificate=blog", "node=local"}, 1},
	} {
		got, ok := find(families, tt.metric, tt.labels...)
		if ok != (tt.want >= 0) || ok && got != tt.want {
			t.Errorf("%s: %s%v is %v (there: %t), want %v", tt.about, tt.metric, tt.labels, got, ok, tt.want)
		}
	}
}
