package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic"
)

// withCondition is a rule file with one named condition.
func withCondition(about certmedic.SubjectKind, condition string) []byte {
	return fmt.Appendf(nil, "rules:\n  - name: r\n    about: %s\n    severity: info\n    condition: %s\n", about, condition)
}

func TestNamedConditionsCompileForEverySubjectThatTheyClaim(t *testing.T) {
	for _, c := range conditions() {
		written := []string{"{" + c.example + "}"}
		if c.takes == plain {
			written = []string{c.example, "{" + c.example + ": true}", "{" + c.example + ": false}"}
		}
		for _, about := range subjectKinds() {
			_, claimed := c.form(about)
			for _, w := range written {
				_, err := Load("test.yml", withCondition(about, w), 0)
				switch {
				case claimed && err != nil:
					t.Errorf("%s: about %s: %v", c.name, about, err)
				case !claimed && (err == nil || !strings.Contains(err.Error(), "is for rules about ")):
					t.Errorf("%s: about %s, which it is not for: %v", c.name, about, err)
				}
			}
		}
	}
}

func TestWhatNamedConditionsStandFor(t *testing.T) {
	tests := []struct {
		name      string
		about     certmedic.SubjectKind
		condition string
		want      string
	}{
		{"a word", "certificate", `expired`, `certificate.expired`},
		{"a word that must not hold", "certificate", `{watched: false, drift: true}`, `!(certificate.watched) && certificate.drift`},
		{"a share of life", "certificate", `{expires_within: 20%}`, `certificate.remaining_ratio < 0.2`},
		{"all of life", "certificate", `{expires_within: 100%}`, `certificate.remaining_ratio < 1.0`},
		{"a small share", "certificate", `{expires_within: 0.001%}`, `certificate.remaining_ratio < 0.00001`},
		{"days", "certificate", `{expires_within: 14d}`, `certificate.served_expires_in < days(14)`},
		{"hours", "address", `{expires_within: 36h}`, `address.expires_in < duration("36h0m0s")`},
		{"the least of several", "certificate", `{expires_within: [10%, 7d]}`, `certificate.remaining_ratio < 0.1 && certificate.served_expires_in < days(7)`},
		{"several conditions", "certificate", `{expires_within: [10%, 7d], watched: true}`, `(certificate.remaining_ratio < 0.1 && certificate.served_expires_in < days(7)) && certificate.watched`},
		{"codes", "endpoint", `{finding: [weak_key, weak_signature]}`, `endpoint.findings.exists(f, f in ["weak_key", "weak_signature"])`},
		{"one code", "certificate", `{stored_finding: file_permissions}`, `certificate.stored_findings.exists(f, f in ["file_permissions"])`},
		{"a list over lines", "address", "\n      tls_version:\n        - TLS 1.0\n        - TLS 1.1", `address.tls_version in ["TLS 1.0", "TLS 1.1"]`},
		{"a name", "certificate", `{name: shop.example.com}`, `certificate.names.exists(n, n in ["shop.example.com"])`},
		{"a name with a star", "certificate", `{name: "*.example.com"}`, `certificate.names.exists(n, n.matches("^(?:.*\\.example\\.com)$"))`},
		{"an issuer", "certificate", `{issuer: "R1[01]"}`, `certificate.issuer.matches("^(?:(?:R1[01]))$|(?:^|[,+])CN=(?:(?:R1[01]))(?:[,+]|$)")`},
		{"a label", "certificate", `{label: {team: payments}}`, `"team" in certificate.labels && certificate.labels["team"] in ["payments"]`},
		{"a label of any value", "certificate", `{label: team}`, `"team" in certificate.labels`},
		{"a label of an endpoint", "endpoint", `{label: {team: }}`, `"team" in certificate.labels || "team" in endpoint.labels`},
		{"two labels", "certificate", `{label: {team: [a, b], tier: }}`, `("team" in certificate.labels && certificate.labels["team"] in ["a", "b"]) && "tier" in certificate.labels`},
		{"a number", "fleet", `{missed_rounds: 5}`, `fleet.missed_rounds >= 5.0`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			loaded, err := Load("test.yml", withCondition(tt.about, tt.condition), 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := loaded[0].When; got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestNamedConditionsNameTheirMistakes(t *testing.T) {
	tests := []struct {
		name      string
		about     certmedic.SubjectKind
		condition string
		want      string
	}{
		{"a word that is none", "certificate", `expird`, `test.yml:5:16: no condition about certificate is named "expird", did you mean "expired"?`},
		{"a key that is none", "certificate", `{drift: true, expire_within: 1d}`, `5:30: no condition about certificate is named "expire_within", did you mean "expires_within"?`},
		{"a word that is nothing like one", "fleet", `nonsense`, `5:16: no condition about fleet is named "nonsense", there are missed_rounds, rule_errors, degraded, receivers_failing, queue_older_than, clock_off_by`},
		{"of other subjects", "certificate", `vanished`, `5:16: condition "vanished" is for rules about endpoint, not about certificate`},
		{"without what it needs", "certificate", `expires_within`, `5:16: condition "expires_within" needs to know more, for example {expires_within: 14d}`},
		{"without a value", "certificate", `{expires_within: }`, `5:17: condition "expires_within" has no value`},
		{"none", "certificate", `{}`, `5:16: condition names none`},
		{"a list", "certificate", `[drift]`, `5:16: condition must be a mapping`},
		{"twice", "certificate", `{drift: true, drift: false}`, `5:30: the key "drift" is given twice`},
		{"a flag that is none", "certificate", `{drift: 10m}`, `5:24: must be true or false`},
		{"a share beyond life", "certificate", `{expires_within: [10%, 101%]}`, `5:39: "101%" is not a share of life`},
		{"a share that is no number", "certificate", `{expires_within: NaN%}`, `5:33: "NaN%" is not a share`},
		{"a share of a file", "file", `{expires_within: 10%}`, `5:33: must be a duration`},
		{"a duration that is none", "certificate", `{drift_longer_than: soon}`, `5:36: "soon" is not a duration`},
		{"a duration that is past", "certificate", `{drift_longer_than: -1m}`, `5:36: "-1m" is not between`},
		{"a duration without end", "certificate", `{lifetime_over: 1e300d}`, `5:32: "1e300d" is not a duration`},
		{"a code that is none", "certificate", `{finding: [weak_key, nonsense]}`, `5:37: "nonsense" is not known here, there are expired, not_yet_valid, `},
		{"a code, with what was meant", "certificate", `{finding: weakkey}`, `did you mean "weak_key"?`},
		{"a code that was cut short", "certificate", `{finding: weak_sig}`, `did you mean "weak_signature"?`},
		{"an empty list", "certificate", `{finding: []}`, `5:26: the list is empty`},
		{"a version of TLS", "certificate", `{tls_version: "1.0"}`, `5:30: "1.0" is not known here, there are TLS 1.0, TLS 1.1, TLS 1.2, TLS 1.3`},
		{"a type of key", "certificate", `{key_type: rsa}`, `5:27: "rsa" is no type of key`},
		{"a regular expression", "certificate", `{issuer: [ok, "a)|(b"]}`, `5:30: "a)|(b" is not a regular expression`},
		{"a regular expression that swallows what follows", "certificate", `{issuer: '\Qa'}`, `5:25: "\\Qa" is not a regular expression`},
		{"an empty regular expression", "certificate", `{issuer: ""}`, `5:25: the regular expression is empty`},
		{"an empty name", "certificate", `{name: ""}`, `5:23: the name is empty`},
		{"no labels", "certificate", `{label: {}}`, `5:24: label names none`},
		{"labels in a list", "certificate", `{label: [a]}`, `5:24: label must be a mapping`},
		{"a number that is none", "fleet", `{missed_rounds: 1.5}`, `5:32: "1.5" is not a whole number`},
		{"too long", "certificate", `{name: "` + strings.Repeat("x", maxExpression) + `"}`, `5:16: rule "r": the condition is longer`},
		{"too large a regular expression", "certificate", `{issuer: "(?:a{900}){900}"}`, `5:25: `},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load("test.yml", withCondition(tt.about, tt.condition), 0)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got the error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTextsStayTexts(t *testing.T) {
	hostile := []string{
		`"`, `\`, `\"`, `" || true || "`, `'`, "a\nb", "\x00\x7f\u2028", `%s %d %`, `"]) || true || ["`, `\\" || true`, "\u00fc\U0001F600", `${x}`, "a\tb",
	}
	for _, text := range hostile {
		labels := map[string]string{text: text}
		subject := Facts{Certificate: CertificateFacts{Name: text, Labels: labels, Names: []string{text}, Issuer: "CN=" + text}}
		other := Facts{Certificate: CertificateFacts{Name: "other", Labels: map[string]string{"a": "b"}, Names: []string{"other"}, Issuer: "CN=other"}}
		for _, cel := range []string{
			labelled(text, []string{text}, []string{"certificate.labels"}),
			quoted(text) + " == certificate.name",
			"certificate.names.exists(n, n in " + literals([]string{text}) + ")",
		} {
			c, problems := compile(cel, certmedic.AboutCertificate)
			if len(problems) > 0 {
				t.Errorf("%q: %v in %s", text, problems[0], cel)
				continue
			}
			if v, err := c.judge(subject.subjects(certmedic.AboutCertificate)[0]); v != yes || err != nil {
				t.Errorf("%q: %s is %v, %v for the text itself", text, cel, v, err)
			}
			if v, err := c.judge(other.subjects(certmedic.AboutCertificate)[0]); v != no || err != nil {
				t.Errorf("%q: %s is %v, %v for another text", text, cel, v, err)
			}
		}
	}
}

func TestNamedConditionsMeanWhatTheySay(t *testing.T) {
	shop := Facts{
		Certificate: CertificateFacts{
			Name: "shop", Labels: map[string]string{"team": "payments"}, Names: []string{"shop.example.com", "*.shop.example.com"},
			Issuer: "CN=R11,O=Let's Encrypt,C=US", KeyType: "rsa2048", Lifetime: 90 * 24 * time.Hour, RemainingRatio: 0.15,
			ServedExpiresIn: 324 * time.Hour, Findings: []string{"weak_key"}, TLSVersions: []string{"TLS 1.1", "TLS 1.3"}, Drift: true, DriftAge: 11 * time.Minute,
		},
		Endpoints: []EndpointFacts{{Address: "shop.example.com:443", Labels: map[string]string{"tier": "1"}, MissedRounds: 5}},
	}
	fleet := Facts{Fleet: &FleetFacts{ClockSkew: new(time.Duration)}}
	*fleet.Fleet.ClockSkew = -6 * time.Minute
	tests := []struct {
		about     certmedic.SubjectKind
		condition string
		want      verdict
	}{
		{"certificate", `{expires_within: 15%}`, no},
		{"certificate", `{expires_within: 16%}`, yes},
		{"certificate", `{expires_within: [16%, 13d]}`, no},
		{"certificate", `{expires_within: [16%, 14d]}`, yes},
		{"certificate", `{finding: [weak_key, expired]}`, yes},
		{"certificate", `{finding: expired}`, no},
		{"certificate", `{issuer: "R1[01]"}`, yes},
		{"certificate", `{issuer: "R1"}`, no},
		{"certificate", `{issuer: "11"}`, no},
		{"certificate", `{issuer: ["E.", "CN=R11,.*"]}`, yes},
		{"certificate", `{not_issuer: ["E.", "R.."]}`, no},
		{"certificate", `{not_issuer: ["E.", "R1"]}`, yes},
		{"certificate", `{name: "*.example.com"}`, yes},
		{"certificate", `{name: "example.com"}`, no},
		{"certificate", `{name: "*.exampleXcom"}`, no},
		{"certificate", `{certificate: ["x*", "sho*"]}`, yes},
		{"certificate", `{certificate: "*o"}`, no},
		{"certificate", `{key_type: [rsa1024, rsa2048]}`, yes},
		{"certificate", `{lifetime_over: 90d}`, no},
		{"certificate", `{lifetime_over: 89d}`, yes},
		{"certificate", `{label: {team: payments}}`, yes},
		{"certificate", `{label: {team: [edge, payments]}}`, yes},
		{"certificate", `{label: {team: edge}}`, no},
		{"certificate", `{label: {owner: payments}}`, no},
		{"certificate", `{tls_version: "TLS 1.1"}`, yes},
		{"certificate", `{tls_version: "TLS 1.0"}`, no},
		{"certificate", `{drift_longer_than: 10m, watched: false}`, yes},
		{"certificate", `{drift_longer_than: 11m}`, no},
		{"endpoint", `{label: {tier: 1}}`, yes},
		{"endpoint", `{label: {team: payments}}`, yes},
		{"endpoint", `{label: {tier: 2}}`, no},
		{"endpoint", `{missed_rounds: 5}`, yes},
		{"endpoint", `{missed_rounds: 6}`, no},
		{"fleet", `{clock_off_by: 5m}`, yes},
		{"fleet", `{clock_off_by: 6m}`, no},
		{"certificate", `rolled_back`, undecided},
	}
	for _, tt := range tests {
		loaded, err := Load("test.yml", withCondition(tt.about, tt.condition), 0)
		if err != nil {
			t.Fatal(err)
		}
		facts := shop
		if tt.about == certmedic.AboutFleet {
			facts = fleet
		}
		if got, err := loaded[0].condition.judge(facts.subjects(tt.about)[0]); got != tt.want || err != nil {
			t.Errorf("%s is %v, %v, want %v", tt.condition, got, err, tt.want)
		}
	}
}
