package pages_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/alertingtest"
	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/coordtest"
	"github.com/certmedic/certmedic/internal/coord/pages"
)

func books(t *testing.T) (a, b pages.Book) {
	t.Helper()
	var m coordtest.Memory
	return pages.Book{Records: m.Open(t, "a", time.Minute)}, pages.Book{Records: m.Open(t, "b", time.Minute)}
}

func told(n, size int) alerting.Page {
	p := alerting.Page{Certificate: "shop", Key: "certmedic/shop/20260101"}
	d := alerting.Delivery{Receiver: "ops", Conversation: alerting.SharedConversation("shop")}
	for i := range n {
		severity := certmedic.SeverityWarning
		if i == n/2 {
			severity = certmedic.SeverityCritical
		}
		in := alertingtest.Incident(fmt.Sprintf("rule-%d/shop", i), "rule", severity)
		in.Evidence = []certmedic.Evidence{{Source: "hook", Line: strings.Repeat("e", size)}}
		in.Summary = strings.Repeat("s", size)
		d.Told = append(d.Told, alerting.Event{Kind: alerting.KindFiring, Severity: severity, Incident: in, Member: "a"})
	}
	p.Lines = map[string]alerting.Line{"ops": {Delivery: d, Sending: &alerting.Sending{Member: "a", Events: d.Told}}}
	return p
}

func TestWhoWritesLastIsTold(t *testing.T) {
	a, b := books(t)
	for _, name := range []string{"shop", "*.example.com", "#shop", strings.Repeat("x", coord.MaxName), "größe\n"} {
		p, err := a.Page(t.Context(), name)
		if err != nil || p.Certificate != name || len(p.Lines) > 0 {
			t.Fatalf("there is %+v, %v", p, err)
		}
		p.Lines = told(1, 10).Lines
		first, err := a.Write(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Write(t.Context(), p); !errors.Is(err, alerting.ErrOvertaken) {
			t.Errorf("upon an earlier page of %q: %v", name, err)
		}
		read, err := b.Page(t.Context(), name)
		if err != nil || read.Certificate != name || read.Revision != first.Revision || len(read.Lines["ops"].Told) != 1 || read.Lines["ops"].Sending.Member != "a" {
			t.Errorf("b reads %+v, %v", read, err)
		}
		if _, err := b.Write(t.Context(), read); err != nil {
			t.Errorf("upon the present page: %v", err)
		}
	}
	all, err := a.Pages(t.Context())
	if err != nil || len(all) != 5 {
		t.Errorf("there are %d pages, %v", len(all), err)
	}
}

func TestAPageThatIsTooLongKeepsTheWorst(t *testing.T) {
	for _, row := range []struct {
		about     string
		n, size   int
		incidents int
		evidence  bool
	}{
		{"a usual page is kept as it is", 20, 100, 20, true},
		{"evidence goes first", 100, 900, 100, false},
		{"then what is said", 80, 5000, 80, false},
		{"then the least bad", 2000, 5000, 100, false},
	} {
		a, _ := books(t)
		if _, err := a.Write(t.Context(), told(row.n, row.size)); err != nil {
			t.Errorf("%s: %v", row.about, err)
			continue
		}
		p, err := a.Page(t.Context(), "shop")
		if err != nil {
			t.Fatal(err)
		}
		line := p.Lines["ops"]
		worst := 0
		for _, e := range line.Told {
			if e.Severity == certmedic.SeverityCritical {
				worst++
			}
		}
		if len(line.Told) != row.incidents || worst != 1 || (len(line.Told[0].Incident.Evidence) > 0) != row.evidence {
			t.Errorf("%s: %d incidents, %d of them critical, evidence %v", row.about, len(line.Told), worst, line.Told[0].Incident.Evidence != nil)
		}
	}
}

func TestWhatCannotBeReadIsWrittenAnew(t *testing.T) {
	var m coordtest.Memory
	records := m.Open(t, "a", time.Minute)
	if _, err := records.Put(t.Context(), "deliveries/shop", 0, 0, []byte("{")); err != nil {
		t.Fatal(err)
	}
	b := pages.Book{Records: records}
	p, err := b.Page(t.Context(), "shop")
	if err != nil || p.Certificate != "shop" {
		t.Fatalf("there is %+v, %v", p, err)
	}
	if _, err := b.Write(t.Context(), p); err != nil {
		t.Error(err)
	}
	if all, err := b.Pages(t.Context()); err != nil || len(all) != 1 || all[0].Certificate != "shop" {
		t.Errorf("there are %+v, %v", all, err)
	}
}
