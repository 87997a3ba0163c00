package rules

import (
	"strings"
	"testing"

	"github.com/certmedic/certmedic"
)

func TestWordsThatThereAreNotAreRefused(t *testing.T) {
	cert, endpoint, address, file := certmedic.AboutCertificate, certmedic.AboutEndpoint, certmedic.AboutAddress, certmedic.AboutFile
	tests := []struct {
		name   string
		about  certmedic.SubjectKind
		when   string
		want   []string // of each problem, in order
		column int      // of the first
	}{
		{"a finding", cert, `"expird" in certificate.findings`, []string{`certificate.findings is never "expird", did you mean "expired"?`}, 1},
		{"a finding of what is stored", cert, `!("expird" in certificate.stored_findings)`, []string{`certificate.stored_findings is never "expird"`}, 3},
		{"of an endpoint", endpoint, `"revokd" in endpoint.findings`, []string{`endpoint.findings is never "revokd", did you mean "revoked"?`}, 1},
		{"of an address", address, `address.findings.exists(f, f == "weak-key")`, []string{`address.findings is never "weak-key", did you mean "weak_key"?`}, 33},
		{"of a file", file, `file.findings == ["file_permission"]`, []string{`file.findings is never "file_permission"`}, 19},
		{"two in a list, looked for one by one", cert, `certificate.findings.exists(f, f in ["expird", "revoked", "revokd"])`, []string{`"expird"`, `"revokd"`}, 38},
		{"a list that is looked through for them", cert, `["revoked", "expird"].exists(w, w in certificate.findings)`, []string{`certificate.findings is never "expird"`}, 13},
		{"in all of a list", cert, `certificate.findings.all(f, f != "expird")`, []string{`"expird"`}, 34},
		{"in a list within a list", cert, `certificate.findings.exists(f, certificate.names.exists(n, f == "expird" || n == "expird"))`, []string{`"expird"`}, 65},
		{"of the inner of two macros with one variable", cert, `certificate.names.exists(f, f == "a" && certificate.findings.exists(f, f == "b"))`, []string{`certificate.findings is never "b"`}, 77},
		{"in what is filtered", cert, `certificate.findings.filter(f, f == "expird").size() > 0`, []string{`"expird"`}, 37},
		{"an entry by its number", cert, `certificate.findings[0] == "expird"`, []string{`"expird"`}, 28},
		{"a stage", cert, `certificate.stage == "storde"`, []string{`certificate.stage is never "storde", did you mean "stored"?`}, 22},
		{"a stage on the other side", cert, `"storde" != certificate.stage`, []string{`did you mean "stored"?`}, 1},
		{"stages", cert, `certificate.stage in ["stored", "storde"]`, []string{`did you mean "stored"?`}, 33},
		{"a stage in another case", cert, `certificate.stage == "Stored"`, []string{`did you mean "stored"?`}, 22},
		{"an outcome", cert, `certificate.remediation == "gaveup"`, []string{`did you mean "gave_up"?`}, 28},
		{"an outcome that is never one", cert, `certificate.remediation == "running"`, []string{`certificate.remediation is never "running"`}, 28},
		{"a basis", cert, `certificate.renewal_basis == "learned"`, []string{`did you mean "learnt"?`}, 30},
		{"an end of certbot's log", cert, `certificate.renewal_log == "hook-failed"`, []string{`did you mean "hook_failed"?`}, 28},
		{"a version of TLS", address, `address.tls_version == "TLS1.1"`, []string{`did you mean "TLS 1.1"?`}, 24},
		{"versions of TLS", cert, `certificate.tls_versions.exists(v, v in ["1.0"])`, []string{`certificate.tls_versions is never "1.0", there are TLS 1.0`}, 42},
		{"a type of key", cert, `certificate.key_type == "rsa-2048"`, []string{`did you mean "rsa2048"?`}, 25},
		{"a size that no key has", cert, `certificate.key_type in ["rsa1025", "ec255"]`, []string{`did you mean "rsa1024"?`, `"ec255", did you mean "ec256"?`}, 26},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := compile(tt.when, tt.about)
			if len(problems) != len(tt.want) {
				t.Fatalf("got %v, want %q", problems, tt.want)
			}
			for i, p := range problems {
				if !strings.Contains(p.Message, tt.want[i]) {
					t.Errorf("got %q, want %q", p.Message, tt.want[i])
				}
			}
			if problems[0].Line != 1 || problems[0].Column != tt.column {
				t.Errorf("it is at %d:%d, want column %d", problems[0].Line, problems[0].Column, tt.column)
			}
		})
	}
}

func TestWordsThatThereAreStayAllowed(t *testing.T) {
	for _, when := range []string{
		`certificate.findings.exists(f, f.startsWith("weak"))`,
		`certificate.stage.matches("^stor")`,
		`certificate.stage == "" || certificate.remediation != "" || certificate.remediation == "gave_up"`,
		`certificate.refusal == "my-own-guard"`,
		`certificate.key_type in ["rsa1024", "rsa2048", "rsa8192", "ec224", "ec521", "ed25519", "unknown"]`,
		`certificate.tls_versions.exists(v, v in ["SSL 3.0", "TLS 1.0"])`,
		`certificate.names.exists(n, n == "expird") && certificate.labels.stage == "storde"`,
		`certificate.labels.exists(k, k == "expird")`,
		`["expird"].exists(f, f in certificate.names) && certificate.findings.exists(f, f == "expired")`,
		`certificate.stage == certificate.remediation`,
		`certificate.findings.exists(f, f == certificate.labels["expird"])`,
	} {
		if _, problems := compile(when, certmedic.AboutCertificate); len(problems) > 0 {
			t.Errorf("%s: %v", when, problems)
		}
	}
}

func TestLabelsThatARuleAsksFor(t *testing.T) {
	for when, want := range map[string]string{
		`certificate.labels.team == "web"`:                                              "team",
		`certificate.labels["team"] == "web"`:                                           "team",
		`"team" in certificate.labels && certificate.labels["team"] in ["web", "shop"]`: "team team",
		`has(certificate.labels.owner) && certificate.labels.owner == "web"`:            "owner owner",
		`certificate.labels.exists(k, k == "tier")`:                                     "tier",
		`["a", "b"].exists(k, k in certificate.labels)`:                                 "a b",
		`certificate.labels.exists(k, k.startsWith("x"))`:                               "",
		`certificate.labels[certificate.name] == "x"`:                                   "",
		`certificate.names.exists(n, n == "team")`:                                      "",
	} {
		c, problems := compile(when, certmedic.AboutCertificate)
		if len(problems) > 0 {
			t.Fatalf("%s: %v", when, problems)
		}
		var got []string
		for _, a := range c.labels {
			got = append(got, a.word)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
}
