package page_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/watchdog"
	"github.com/certmedic/certmedic/internal/web/page"
)

// town is a fleet of many certificates, of which every tenth is stuck.
func town(n int) []watchdog.View {
	views := make([]watchdog.View, 0, n)
	for i := range n {
		name := fmt.Sprintf("shop-%05d.example.com", i)
		v := fine(name)
		if i%10 == 0 {
			v = stuck(name)
		}
		v.Labels = map[string]string{"team": []string{"payments", "search", "mail"}[i%3], "tier": fmt.Sprint(i % 50)}
		views = append(views, v)
	}
	return views
}

func fleet(views []watchdog.View, query string) page.Fleet {
	q, _ := url.ParseQuery(query)
	return page.Fleet{Views: views, Filter: page.ParseFilter(q)}
}

func TestTheFleetIsNarrowed(t *testing.T) {
	a, b, c := fine("a.example.com"), stuck("b.example.com"), fine("c.example.com")
	a.Labels, c.Labels = map[string]string{"team": "mail"}, map[string]string{"team": "payments", "site": "x:y"}
	c.Mode = certmedic.ModeObserve
	views := []watchdog.View{a, b, c}
	for _, row := range []struct {
		about, query string
		want         string // the names that are shown, by their first letter
	}{
		{"everything, the worst first", "", "bac"},
		{"by a part of the name, in any case", "q=B.EXAMPLE", "b"},
		{"by a part of an address", "q=192.0.2", "bac"},
		{"by the beginning of a version that is served", "q=0a1b2c", "b"},
		{"by a label", "label=team:payments", "bc"},
		{"by two labels", "label=team:payments&label=site:x:y", "c"},
		{"by a label, whatever it says", "label=site", "c"},
		{"by a state", "status=warning", "b"},
		{"by one of two states", "status=warning&status=ok", "bac"},
		{"by a mode", "mode=observe", "c"},
		{"by all of it", "q=example&label=team:payments&mode=auto&status=warning", "b"},
		{"by what is not there", "q=nothing", ""},
		{"by a state that is none", "status=purple", ""},
		{"a page that is not there is empty", "page=9", ""},
		{"a number that is none is the first page", "page=-3", "bac"},
	} {
		html := render(t, fleet(views, row.query))
		_, list, _ := strings.Cut(html, `id="found"`)
		got := ""
		for _, part := range strings.Split(list, `<th scope="row"><a href="/certificates/`)[1:] {
			got += part[:1]
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.about, got, row.want)
		}
	}
}

func TestFacetsAreLinksThatCanBeTakenBack(t *testing.T) {
	views := []watchdog.View{fine("a"), stuck("b")}
	got := render(t, fleet(views, "status=warning&q=x+y"))
	for _, want := range []string{`href="/?q=x&#43;y"`, `value="x y"`, `show all`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s", want)
		}
	}
	if got := render(t, fleet(views, "")); !strings.Contains(got, `href="/?label=team%3Apayments"`) {
		t.Error("labels are not offered")
	}
}

func TestManyCertificatesArePaged(t *testing.T) {
	views := town(250)
	first, second := render(t, fleet(views, "")), render(t, fleet(views, "page=2"))
	says(t, text(first), []string{"1 to 100 of 250", "further"}, []string{"earlier"})
	says(t, text(second), []string{"101 to 200 of 250", "earlier", "further"}, []string{"At risk"})
	says(t, text(render(t, fleet(views, "page=3"))), []string{"201 to 250 of 250", "earlier"}, []string{"further"})
	if !strings.Contains(first, `href="/?page=2"`) || !strings.Contains(second, `href="/"`) {
		t.Error("pages do not lead to each other")
	}
}

func zipped(t testing.TB, s string) int {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.Len()
}

// TestTenThousand wants the first page of ten thousand certificates to be small, be they fine or not.
func TestTenThousand(t *testing.T) {
	worst := town(10_000)
	for i := range worst {
		worst[i] = stuck(worst[i].Name)
	}
	for about, views := range map[string][]watchdog.View{"a tenth is stuck": town(10_000), "all are stuck": worst} {
		got := render(t, fleet(views, ""))
		size := zipped(t, got)
		t.Logf("%s: %d bytes, %d packed", about, len(got), size)
		if size > 300_000-120_000 { // the scripts and the style sheet come to less than 120 KB unpacked
			t.Errorf("%s: %d bytes packed, %d unpacked", about, size, len(got))
		}
		if len(got) > 300_000 {
			t.Errorf("%s: %d bytes unpacked", about, len(got))
		}
	}
}

// BenchmarkFleet measures the first page with ten thousand certificates, from their picture to HTML. Of
// the 150 ms that the whole answer may take, the picture itself takes some 30.
func BenchmarkFleet(b *testing.B) {
	content := fleet(town(10_000), "")
	b.ReportAllocs()
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		if err := page.Render(&out, page.Frame{Now: now(), Self: &url.URL{Path: "/"}}, content); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(out.Len()), "bytes")
}

func TestTheCalendarIsByWeeks(t *testing.T) {
	ends := func(name string, at time.Time) watchdog.View {
		v := fine(name)
		v.Leaf.NotAfter = at
		return v
	}
	views := []watchdog.View{
		ends("over", now().Add(-time.Hour)), ends("sunday", time.Date(2026, 3, 15, 23, 59, 0, 0, time.UTC)), ends("monday", time.Date(2026, 3, 16, 0, 0, 0, 0, time.UTC)),
		ends("far", now().AddDate(5, 0, 0)), ends("unknown", time.Time{}),
	}
	views[2].Renewal = &watchdog.RenewalView{Due: time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)}
	for i := range 20 {
		views = append(views, ends(fmt.Sprintf("may-%02d", i), time.Date(2026, 5, 5, i, 0, 0, 0, time.UTC)))
	}
	html := render(t, page.Calendar{Views: views})
	says(t, text(html), []string{
		"Ended already over", "9 Mar 2026 1 1 sunday", "16 Mar 2026 1 0 monday", "4 May 2026 20 0 may-00", "and 8 more", "1 end later than in two years",
	}, []string{"unknown", "11 May"})
	if !strings.Contains(html, `data-week="1773014400" data-ends="1" data-due="1"`) || !strings.Contains(html, `data-first="1773014400"`) {
		t.Error("the chart is not told the week of 9 March 2026")
	}
}
