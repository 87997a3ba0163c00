package page_test

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting/silence"
	"github.com/certmedic/certmedic/internal/web/page"
)

func TestSilencesAreShown(t *testing.T) {
	s := silence.Silence{
		Matchers: []silence.Matcher{{Label: "certificate", Op: silence.Equal, Value: "shop<b>"}, {Label: "team", Op: silence.Match, Value: "a|b"}},
		By:       "ann", Why: "moving <i>house</i>", Until: now().Add(time.Hour), UntilRenewed: true,
	}
	html := render(t, page.Silences{Silences: []silence.Silence{s}})
	shown := text(html)
	for _, want := range []string{"Nobody is told about", `certificate="shop<b>", team=~"a|b"`, "moving <i>house</i>", "ann", "or renewed"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in %s", want, shown)
		}
	}
	if strings.Contains(html, "<i>") || strings.Contains(html, "shop<b>") {
		t.Error("what people wrote is markup")
	}
	if !strings.Contains(text(render(t, page.Silences{})), "people are told about everything") {
		t.Error("without silences the page does not say so")
	}
}
