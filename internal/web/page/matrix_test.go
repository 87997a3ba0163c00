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
	got := render(t, page.Data{Views: []watchdog.View{uneven()}, Alone: true})
	said := text(got)
	for _, want := range []string{
		"web1 192.0.2.1:443 shop.example.com:443 ecdsa served 9f8e7d6c5b4a since 60 min ago , 10 of 10 9f8e7d6c5b4a nginx 9f8e7d6c5b4a done",
		"web2<script> 192.0.2.2:443", "behind the test said no", "nginx 0a1b2c3d4e5f put back", "rsa of shop-rsa split", "7 of 10", "3 of 10",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	for _, want := range []string{`href="/certificates/shop%2Fa?still"`, `href="/"`, "&lt;script&gt;"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestThePageOfAllSumsMatricesUp(t *testing.T) {
	got := render(t, page.Data{Views: []watchdog.View{uneven(), fine("blog")}})
	if !strings.Contains(got, `<a href="/certificates/shop%2Fa">1 served, 1 behind, 1 split</a>`) {
		t.Errorf("nothing leads to the page of shop/a in %s", got)
	}
	if strings.Contains(got, `class="matrix"`) || strings.Contains(got, "/certificates/blog") {
		t.Error("the page of all has a matrix, or leads to one that is not there")
	}
}
