package rules

import (
	"slices"
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
)

func TestSurveyNamesLabelsThatNothingHas(t *testing.T) {
	const source = `
rules:
  - {name: there, about: certificate, severity: info, condition: {label: {team: web}}}
  - {name: absent, about: certificate, severity: info, condition: {label: taem}}
  - {name: strict, about: certificate, severity: info, when: certificate.labels.taem == "web"}
  - {name: two, about: certificate, severity: info, when: '"b" in certificate.labels || has(certificate.labels.a) || "team" in certificate.labels'}
  - {name: step, about: certificate, severity: info, when: certificate.drift, ladder: [{do: renew, when: '"taem" in certificate.labels'}]}
  - {name: either, about: endpoint, severity: info, condition: {label: zone}}
  - {name: its-own, about: endpoint, severity: info, when: '"zone" in certificate.labels'}
  - {name: below, about: address, severity: info, when: '"team" in certificate.labels && "zone" in endpoint.labels'}
  - {name: nobody, about: file, severity: info, when: '"taem" in certificate.labels'}
  - {name: fleet, about: fleet, severity: info, condition: degraded}
`
	loaded, err := Load("test.yml", []byte(source), 0)
	if err != nil {
		t.Fatal(err)
	}
	inventory := Inventory([]certmedic.Certificate{
		{Name: "shop", Labels: map[string]string{"team": "web"}, Endpoints: []certmedic.Endpoint{{Address: "shop.test:443", Labels: map[string]string{"zone": "eu"}}}},
		{Name: "mail", Endpoints: []certmedic.Endpoint{{Address: "mail.test:25"}}},
	})
	want := map[string]string{"absent": "taem", "strict": "taem", "two": "a b", "step": "taem", "its-own": "zone"}
	for _, tally := range New(loaded).Survey(inventory) {
		if got := strings.Join(tally.Missing, " "); got != want[tally.Rule] {
			t.Errorf("rule %s misses %q, want %q", tally.Rule, got, want[tally.Rule])
		}
		if says := strings.Contains(tally.Error, "no such key: taem"); says != (tally.Rule == "strict") || tally.Errors > 0 != says {
			t.Errorf("rule %s has %d errors, the first is %q", tally.Rule, tally.Errors, tally.Error)
		}
	}
}

func TestSurveyWithUnknownLabelsMissesNone(t *testing.T) {
	e := engine(t, `rules: [{name: r, about: certificate, severity: info, when: '"team" in certificate.labels'}]`)
	unknown := Facts{Certificate: CertificateFacts{Name: "shop", Undecided: Undecided{"certificate.labels": "not read yet"}}}
	if got := e.Survey([]Facts{unknown}); got[0].Missing != nil || got[0].Undecided != 1 {
		t.Errorf("got %+v", got)
	}
	if got := e.Survey(nil); !slices.Equal(got[0].Missing, nil) {
		t.Errorf("of nothing it misses %q", got[0].Missing)
	}
}
