package rules

import (
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

func TestReasonComesFromTheEvaluation(t *testing.T) {
	tests := []struct{ name, when, want string }{
		{"a comparison shows both sides", `certificate.remaining_ratio < 0.25`, "remaining ratio 0.2 < 0.25"},
		{"a duration reads like a person says it", `certificate.served_expires_in < days(3)`, "served expires in 40 h < 3.0 d"},
		{"a share is of the lifetime", `certificate.served_expires_in < share(0.5)`, "served expires in 40 h < 45.0 d"},
		{"a constant stands first", `days(3) > certificate.served_expires_in`, "3.0 d > served expires in 40 h"},
		{"both sides are variables", `certificate.served_expires_in < certificate.lifetime`, "served expires in 40 h < lifetime 90.0 d"},
		{"a calculation", `certificate.lifetime - certificate.served_expires_in > days(2)`, "lifetime - served_expires_in 88.3 d > 48 h"},
		{"both parts of a conjunction", `certificate.drift && certificate.stage == "stored"`, `drift and stage "stored" == "stored"`},
		{"only the branches that hold", `certificate.expired || certificate.drift`, "drift"},
		{"the first branch that holds is enough", `certificate.drift || certificate.remaining_ratio < 0.25`, "drift"},
		{"membership names the member", `"expired" in certificate.findings`, `findings has "expired"`},
		{"a word that is not in a list", `!("revoked" in certificate.findings)`, `findings ["expired", "weak_key"] lacks "revoked"`},
		{"one of several words", `certificate.issuer in ["R10", "R11"]`, `issuer "R11" is one of ["R10", "R11"]`},
		{"none of several words", `!(certificate.issuer in ["E5", "E6"])`, `issuer "R11" is none of ["E5", "E6"]`},
		{"the words of a list that are meant", `certificate.findings.exists(f, f in ["expired", "revoked"])`, `findings has "expired"`},
		{"the entry at which looking ended", `certificate.names.exists(n, n.startsWith("www."))`, `names has "www.example.com"`},
		{"none of a list", `!certificate.findings.exists(f, f == "revoked")`, `not findings.exists(f, f == "revoked") with findings ["expired", "weak_key"]`},
		{"all of a list", `certificate.names.all(n, n.endsWith(".com"))`, `names.all(n, n.endsWith(".com")) with names ["example.com", "www.example.com", "a.example.com", "b.example.com"]`},
		{"a negation", `!certificate.served_ok`, "not served ok"},
		{"a negated conjunction says which part failed", `!(certificate.drift && certificate.served_ok)`, "not served ok"},
		{"a negated disjunction", `!(certificate.expired || certificate.served_ok)`, "not expired and not served ok"},
		{"a negated comparison is turned round", `!(certificate.remaining_ratio >= 0.25)`, "remaining ratio 0.2 < 0.25"},
		{"another stage", `certificate.stage != "served"`, `stage "stored" != "served"`},
		{"a number", `certificate.hook_exit_code != 0`, "hook exit code 3 != 0"},
		{"the first way of a choice", `certificate.drift ? certificate.hook_exit_code > 1 : certificate.expired`, "drift and hook exit code 3 > 1"},
		{"the second way of a choice", `certificate.expired ? false : certificate.drift`, "not expired and drift"},
		{"a label", `certificate.labels.team == "web"`, `labels.team "web" == "web"`},
		{"a label by its key", `certificate.labels["team"] == "web"`, `labels["team"] "web" == "web"`},
		{"a label that is there", `has(certificate.labels.team)`, `labels has "team"`},
		{"a label that is not", `!has(certificate.labels.owner)`, `labels lacks "owner"`},
		{"a key in a table", `"team" in certificate.labels`, `labels has "team"`},
		{"a size", `size(certificate.names) > 2`, `size(names) 4 > 2 with names ["example.com", "www.example.com", "a.example.com", "b.example.com"]`},
		{"a size as it is also written", `certificate.names.size() > 2`, `names.size() 4 > 2 with names ["example.com", "www.example.com", "a.example.com", "b.example.com"]`},
		{"what a text matches", `certificate.issuer.matches("^R1[01]$")`, `issuer "R11" matches "^R1[01]$"`},
		{"what it does not match", `!certificate.issuer.matches("^E")`, `issuer "R11" does not match "^E"`},
		{"what it contains", `certificate.name.contains("ho")`, `name "shop" contains "ho"`},
		{"how it begins", `certificate.name.startsWith("sh")`, `name "shop" starts with "sh"`},
		{"how it does not end", `!certificate.name.endsWith("sh")`, `name "shop" does not end with "sh"`},
		{"a list as a whole", `certificate.tls_versions == ["TLS 1.3"]`, `tls versions ["TLS 1.3"] == ["TLS 1.3"]`},
		{"sides that look equal, until they do not", `certificate.renewal_due_in < duration("14h24m")`, "renewal due in 13.9 h < 14.4 h"},
		{"sides in other units", `certificate.drift_age < days(3)`, "drift age 71.95 h < 3.000 d"},
		{"sides that differ by next to nothing", `certificate.ari_ends_in > days(5)`, "ari ends in 120h0m1s > 120h0m0s"},
		{"a fraction that looks equal", `certificate.remaining_ratio < 0.20001`, "remaining ratio 0.2 < 0.20001"},
		{"sides that are equal", `certificate.served_expires_in <= duration("40h")`, "served expires in 40 h <= 40 h"},
		{"a list of many short words", `certificate.name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "shop"]`, `name "shop" is one of ["a", "b", "c", "d", "e", "f", "g", "h", "i", "shop"]`},
		{"a list of too many", `certificate.name in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "shop"]`, `name "shop" is one of [11 entries]`},
		{"what always holds", `true`, "true"},
		{"a comparison with true", `certificate.drift == true`, "drift == true"},
		{"a comparison with false", `certificate.expired == false`, "expired false == false"},
	}
	facts := CertificateFacts{
		Name: "shop", Drift: true, Stage: certmedic.StageStored, RemainingRatio: 0.2, ServedExpiresIn: 40 * time.Hour,
		Lifetime: 90 * 24 * time.Hour, Findings: []string{"expired", "weak_key"}, Issuer: "R11", HookExitCode: 3,
		Names:  []string{"example.com", "www.example.com", "a.example.com", "b.example.com"},
		Labels: map[string]string{"team": "web"}, TLSVersions: []string{"TLS 1.3"},
		RenewalDueIn: 13*time.Hour + 54*time.Minute, DriftAge: 72*time.Hour - 3*time.Minute, ARIEndsIn: new(120*time.Hour + time.Second),
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := compile(tt.when, certmedic.AboutCertificate)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			s := (&Facts{Certificate: facts}).subjects(certmedic.AboutCertificate)[0]
			if v, err := c.judge(s); v != yes || err != nil {
				t.Fatalf("verdict %v, %v", v, err)
			}
			if got := c.because(s).reason; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReasonRestsOnlyOnWhatMadeItHold(t *testing.T) {
	c, _ := compile(`certificate.expired || certificate.drift && certificate.remaining_ratio < 0.5 && certificate.remaining_ratio > 0.1`, certmedic.AboutCertificate)
	s := (&Facts{Certificate: CertificateFacts{Drift: true, RemainingRatio: 0.2}}).subjects(certmedic.AboutCertificate)[0]
	var names []string
	for _, v := range c.because(s).used {
		names = append(names, v.name)
	}
	if got := strings.Join(names, " "); got != "certificate.drift certificate.remaining_ratio" {
		t.Errorf("rests on %q", got)
	}
}

func TestReasonStaysShort(t *testing.T) {
	c, _ := compile(`certificate.name != "" && size(certificate.members) > 0 && certificate.members != []`, certmedic.AboutCertificate)
	facts := Facts{Certificate: CertificateFacts{Name: strings.Repeat("ä", 4000), Members: make([]string, 10_000)}}
	got := c.because(facts.subjects(certmedic.AboutCertificate)[0]).reason
	if len(got) > 500 || !strings.Contains(got, "[10000 entries]") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

func TestBareReasonsCarryTheirEvidence(t *testing.T) {
	line := func(source, text string) certmedic.Evidence { return certmedic.Evidence{Source: source, Line: text} }
	drift := []certmedic.Evidence{line("192.0.2.1:443", "serves 3f2a91\nuntil May"), line("192.0.2.2:443", "serves 77"), line("reload", "failed")}
	tests := []struct {
		name, when string
		evidence   []certmedic.Evidence
		want       string
	}{
		{"the first line, and how many more", `certificate.drift`, drift, "drift: 192.0.2.1:443 serves 3f2a91 until May (and 2 more)"},
		{"one line", `certificate.drift`, drift[1:2], "drift: 192.0.2.2:443 serves 77"},
		{"no line", `certificate.drift`, nil, "drift"},
		{"several bare words", `certificate.drift && !certificate.split`, drift[1:2], "drift and not split: 192.0.2.2:443 serves 77"},
		{"a comparison says enough", `certificate.drift && certificate.remaining_ratio < 0.5`, drift, "drift and remaining ratio 0.2 < 0.5"},
		{"so does a word of a few", `certificate.drift && certificate.name in ["shop"]`, drift, `drift and name "shop" is one of ["shop"]`},
		{"a comparison that decided nothing", `certificate.drift || certificate.remaining_ratio < 0.5`, drift[1:2], "drift: 192.0.2.2:443 serves 77"},
		{"a long line is cut", `certificate.drift`, []certmedic.Evidence{line("a", strings.Repeat("ä", 400)), line("b", "c")}, "drift: a " + strings.Repeat("ä", 275) + "... (and 1 more)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := engine(t, "rules: [{name: r, about: certificate, severity: info, when: '"+tt.when+"', summary: '{{.Reason}}'}]")
			facts := Facts{Certificate: CertificateFacts{
				Name: "shop", Drift: true, RemainingRatio: 0.2, Support: map[string]Support{"certificate.drift": {Evidence: tt.evidence}},
			}}
			in := l.Evaluate(start(), facts, State{}).State.Instances[0]
			if in.Reason != tt.want || in.Summary != tt.want {
				t.Errorf("got %q and the summary %q, want %q", in.Reason, in.Summary, tt.want)
			}
		})
	}
}
