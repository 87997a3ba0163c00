package page_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/page"
)

// uneven is a certificate of which one node is stale, and behind one address of which nodes alternate.
func uneven() watchdog.View {
	v := fine("shop/a")
	served := func(version certmedic.Fingerprint, count int) watchdog.ServedVersion {
		return watchdog.ServedVersion{Version: version, Since: now().Add(-time.Hour), Count: count}
	}
	v.Rows = []watchdog.MatrixRow{
		{
			Node: "web1", Endpoint: "shop.example.com:443", Address: "192.0.2.1:443", KeyType: "ecdsa", Verdict: watchdog.VerdictServed,
			Served: []watchdog.ServedVersion{served(newLeaf, 10)}, Samples: 10, Stored: newLeaf,
			Deployed: []watchdog.DeployedVersion{{Destination: "nginx", Known: true, Version: newLeaf, State: certmedic.NodeDone}},
		},
		{
			Node: "web2<script>", Endpoint: "shop.example.com:443", Address: "192.0.2.2:443", KeyType: "ecdsa", Verdict: watchdog.VerdictBehind, Detail: "the test said no",
			Served: []watchdog.ServedVersion{served(oldLeaf, 10)}, Samples: 10, Stored: newLeaf,
			Deployed: []watchdog.DeployedVersion{{Destination: "nginx", Known: true, Version: oldLeaf, State: certmedic.NodePutBack}},
		},
		{
			Endpoint: "shop.example.com:443", Address: "192.0.2.9:443", KeyType: "rsa", Verdict: watchdog.VerdictSplit, Of: "shop-rsa",
			Served: []watchdog.ServedVersion{served(newLeaf, 7), served(oldLeaf, 3)}, Samples: 10, Stored: newLeaf,
		},
	}
	v.Matrix = map[watchdog.Verdict]int{watchdog.VerdictServed: 1, watchdog.VerdictBehind: 1, watchdog.VerdictSplit: 1}
	return v
}

func TestThePageOfACertificateHasItsMatrix(t *testing.T) {
	got := render(t, page.Certificate{View: uneven()})
	said := text(got)
	for _, want := range []string{
		"web1 192.0.2.1:443 shop.example.com:443 ecdsa served 9f8e7d6c5b4a since 60 min ago , 10 of 10 9f8e7d6c5b4a nginx 9f8e7d6c5b4a done",
		"web2<script> 192.0.2.2:443", "behind the test said no", "nginx 0a1b2c3d4e5f put back", "rsa of shop-rsa split", "7 of 10", "3 of 10",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	if !strings.Contains(got, "&lt;script&gt;") {
		t.Error("the name of a node is not escaped")
	}
}

func TestThePageOfAllSumsMatricesUp(t *testing.T) {
	got := render(t, page.Fleet{Views: []watchdog.View{uneven(), fine("blog")}})
	if said := text(got); !strings.Contains(said, "1 served, 1 behind, 1 split") {
		t.Errorf("how the nodes of shop/a are is not said in %s", said)
	}
	if strings.Contains(got, `class="log nodes"`) {
		t.Error("the page of all has a matrix")
	}
}
