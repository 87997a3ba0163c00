package rules

import (
	"math"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/certmedic/certmedic"
)

func TestEveryVariableOfTheSchemaIsThere(t *testing.T) {
	text, flag, number, ratio, span := cel.StringType, cel.BoolType, cel.IntType, cel.DoubleType, cel.DurationType
	want := map[string]*cel.Type{
		"certificate.name": text, "certificate.labels": table(), "certificate.stage": text, "certificate.drift": flag,
		"certificate.drift_age": span, "certificate.expired": flag, "certificate.served_ok": flag, "certificate.stored_ok": flag,
		"certificate.names": lists(), "certificate.issuer": text, "certificate.key_type": text, "certificate.lifetime": span,
		"certificate.remaining_ratio": ratio, "certificate.served_expires_in": span, "certificate.stored_expires_in": span,
		"certificate.renewal_overdue": flag, "certificate.renewal_age": span, "certificate.hook_exit_code": number,
		"certificate.findings": lists(), "certificate.members": lists(),
		"endpoint.address": text, "endpoint.protocol": text, "endpoint.labels": table(), "endpoint.reachable": flag, "endpoint.split": flag,
		"address.ip": text, "address.reachable": flag, "address.findings": lists(), "address.served_sha256": text,
		"address.expires_in": span, "address.remaining_ratio": ratio, "address.tls_version": text,
		"file.path": text, "file.mode": text, "file.expires_in": span, "file.findings": lists(),
		"fleet.certificates": number, "fleet.endpoints": number, "fleet.last_round_age": span, "fleet.queue_age": span,
	}
	for _, v := range variables() {
		typ, ok := want[v.name]
		if ok && !typ.IsExactType(v.typ) {
			t.Errorf("%s is a %s, want a %s", v.name, v.typ, typ)
		}
		delete(want, v.name)
		if level, _, _ := strings.Cut(v.name, "."); level != string(v.about) {
			t.Errorf("%s is about %s", v.name, v.about)
		}
	}
	for name := range want {
		t.Errorf("there is no %s", name)
	}
}

func TestEveryVariableHasTheTypeThatItDeclares(t *testing.T) {
	d, s, b, n := time.Hour, "ok", true, int64(3)
	full := everything()
	full.Certificate.RenewalAge, full.Certificate.ARIStartsIn, full.Certificate.ARIEndsIn, full.Certificate.LoanEndsIn = &d, &d, &d, &d
	full.Certificate.LoanCount = &n
	full.Certificate.SharedFailing, full.Certificate.Unpublished, full.Certificate.StandbyUnfit = &b, &b, &b
	full.Certificate.RenewalLog, full.Certificate.Loan, full.Certificate.KeyDenied, full.Certificate.BudgetRemaining = &s, &b, &b, &n
	full.Certificate.RenewIn = &d
	fleet := Facts{Fleet: &FleetFacts{ClockSkew: &d}}
	for _, v := range variables() {
		facts := &full
		if v.about == certmedic.AboutFleet {
			facts = &fleet
		}
		value := facts.subjects(v.about)[0].value(&v)
		if types.IsUnknown(value) {
			t.Errorf("%s is undecided in facts that are whole", v.name)
		} else if got := value.Type().TypeName(); got != v.typ.TypeName() {
			t.Errorf("%s is a %s, declared as a %s", v.name, got, v.typ.TypeName())
		}
	}
}

func TestVerdicts(t *testing.T) {
	facts := CertificateFacts{
		Name: "shop", Labels: map[string]string{"team": "web"}, RemainingRatio: 0.2, Lifetime: 90 * 24 * time.Hour, ServedExpiresIn: -time.Hour,
		Undecided:  Undecided{"certificate.drift": "certbot is at work", "certificate.served_expires_in": "", "certificate.names": "nothing was seen"},
		Incomplete: Incomplete{"certificate.findings": "a presents no certificate"}, Findings: []string{"expired"},
	}
	tests := []struct {
		name, when string
		want       verdict
		err        string
	}{
		{"a label that is there", `has(certificate.labels.team) && certificate.labels.team == "web"`, yes, ""},
		{"a label that is not there, asked for first", `has(certificate.labels.owner) && certificate.labels.owner == "web"`, no, ""},
		{"a label by its key", `"team" in certificate.labels && certificate.labels["team"] == "web"`, yes, ""},
		{"a label that is not there, by its key", `"owner" in certificate.labels`, no, ""},
		{"a label that is not there, taken for granted", `certificate.labels.owner == "web"`, undecided, "no such key: owner"},
		{"the same by its key", `certificate.labels["owner"] == "web"`, undecided, "no such key: owner"},
		{"an error beside something that holds", `certificate.labels.owner == "web" || certificate.remaining_ratio < 0.5`, yes, ""},
		{"an error beside something that does not", `certificate.labels.owner == "web" && certificate.remaining_ratio > 0.5`, no, ""},
		{"an undecided fact", `certificate.drift`, undecided, ""},
		{"an undecided fact, negated", `!certificate.drift`, undecided, ""},
		{"an undecided fact that does not matter", `certificate.drift || certificate.name == "shop"`, yes, ""},
		{"an undecided fact that cannot matter", `certificate.drift && certificate.name != "shop"`, no, ""},
		{"an undecided list looked through", `certificate.names.exists(n, n == "x")`, undecided, ""},
		{"an undecided choice", `certificate.drift ? true : true`, undecided, ""},
		{"a fact that nobody supplies", `certificate.loan`, undecided, ""},
		{"a date that has passed", `certificate.served_expires_in < duration("0s")`, yes, ""},
		{"something found in a list that may lack more", `"expired" in certificate.findings`, yes, ""},
		{"something not found in a list that may lack it", `"revoked" in certificate.findings`, undecided, ""},
		{"whole numbers and fractions compare", `certificate.remaining_ratio < 1`, yes, ""},
		{"a share of the lifetime", `certificate.served_expires_in < share(0.1) && share(1.0) == certificate.lifetime && share(0.0) == duration("0s")`, yes, ""},
		{"a share that is computed and none", `certificate.served_expires_in < share(certificate.remaining_ratio * 10.0)`, undecided, "from 0.0 to 1.0"},
		{"parts of days", `days(0.5) == duration("12h") && days(-1) == duration("-24h")`, yes, ""},
		{"days that are computed and too many", `days(certificate.hook_exit_code + 200000) > days(1)`, undecided, "no duration is that long"},
		{"an expression that is no regular expression at run time", `certificate.name.matches(certificate.labels.team + "(")`, undecided, "missing closing )"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, problems := compile(tt.when, certmedic.AboutCertificate)
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			got, err := c.judge((&Facts{Certificate: facts}).subjects(certmedic.AboutCertificate)[0])
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, %v; want %v, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestConditionsThatCannotBeAreRefused(t *testing.T) {
	tests := []struct {
		name, when, want string
		column           int
	}{
		{"more days than a duration holds", `certificate.drift_age > days(200000)`, "days(200000): no duration is that long", 30},
		{"a share in percent", `certificate.drift_age > share(33.0)`, "share(33): a share of the lifetime is a number from 0.0 to 1.0", 31},
		{"a share below nothing", `certificate.drift_age > share(-0.1)`, "from 0.0 to 1.0", 31},
		{"a share as a whole number", `certificate.drift_age > share(1)`, "no matching overload", 30},
		{"a bad duration", `certificate.drift_age > duration("3d")`, `invalid duration "3d": write days(3)`, 34},
		{"a bad regular expression", `certificate.name.matches("(")`, "invalid regular expression \"(\": missing closing ): `(`", 26},
		{"a bad regular expression, written as a function", `matches(certificate.name, "(")`, "invalid regular expression", 27},
		{"a duration of half days", `certificate.drift_age > duration("1.5d")`, `write duration("36h0m0s")`, 34},
		{"a duration that nobody could guess", `certificate.drift_age > duration("soon")`, `write duration("72h"), with h, m and s, or days(3)`, 34},
		{"a bad time", `timestamp("tomorrow") > timestamp("2026-01-31T12:00:00Z")`, `invalid time "tomorrow"`, 11},
		{"more brackets than CEL reads", strings.Repeat("(", 250) + "true" + strings.Repeat(")", 250), "recursion limit", 1},
		{"members looked through once for each member", `certificate.members.all(a, certificate.members.exists(b, a != b))`, "more than the 5000000 that are allowed", 1},
		{"names looked through three deep", `certificate.names.all(a, certificate.names.all(b, certificate.names.exists(c, a != c)))`, "lists within lists", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := compile(tt.when, certmedic.AboutCertificate)
			if len(problems) != 1 || !strings.Contains(problems[0].Message, tt.want) || problems[0].Line != 1 || problems[0].Column != tt.column {
				t.Errorf("got %+v", problems)
			}
		})
	}
}

func TestConditionsThatPeopleWriteAreCheapEnough(t *testing.T) {
	for _, when := range []string{
		`certificate.members.exists(m, m.matches("^web-[0-9]+[.](eu|us)[.]example[.]com:443$"))`,
		`certificate.members.filter(m, m.endsWith(":443")).size() > 3`,
		`certificate.members.all(m, m in certificate.names)`,
		`certificate.names.all(a, certificate.names.exists(b, a.startsWith(b)))`,
		`certificate.labels.exists(k, k.startsWith("x") && certificate.labels[k] == "y")`,
		`certificate.issuer.matches("(?i)let's encrypt.*R1[0-4]")`,
	} {
		if _, problems := compile(when, certmedic.AboutCertificate); len(problems) > 0 {
			t.Errorf("%s: %+v", when, problems[0])
		}
	}
}

func TestLengthsThatNoDurationHasAreErrors(t *testing.T) {
	life := types.Duration{Duration: math.MaxInt64}
	tests := []struct {
		name string
		got  ref.Val
	}{
		{"days that are no number", days(types.Double(math.NaN()))},
		{"days without end", days(types.Double(math.Inf(-1)))},
		{"the most whole days there are", days(types.Int(math.MaxInt64))},
		{"the fewest", days(types.Int(math.MinInt64))},
		{"a share that is no number", share(life, types.Double(math.NaN()))},
		{"a share without end", share(life, types.Double(math.Inf(1)))},
		{"all of the longest life, which rounds up", share(life, types.Double(1))},
	}
	for _, tt := range tests {
		if !types.IsError(tt.got) {
			t.Errorf("%s: %v", tt.name, tt.got)
		}
	}
	if got := days(types.Int(106_751)); got != (types.Duration{Duration: 106_751 * 24 * time.Hour}) {
		t.Errorf("the longest that can be: %v", got)
	}
}

// What is in an incomplete list is in it; what rests on its being complete is undecided.
func TestIncompleteLists(t *testing.T) {
	facts := CertificateFacts{
		Name: "shop", Labels: map[string]string{"team": "web"}, Findings: []string{"revoked", "weak_key"},
		Incomplete: Incomplete{"certificate.findings": "a presents no certificate"},
	}
	for when, want := range map[string]verdict{
		`"revoked" in certificate.findings`:                                                  yes,
		`"expired" in certificate.findings`:                                                  undecided,
		`!("expired" in certificate.findings)`:                                               undecided,
		`!("revoked" in certificate.findings)`:                                               no,
		`certificate.findings.exists(f, f in ["weak_key", "expired"])`:                       yes,
		`certificate.findings.exists(f, f.startsWith("weak"))`:                               yes,
		`certificate.findings.exists(f, f in ["expired"])`:                                   undecided,
		`certificate.findings.all(f, f != "revoked")`:                                        no,
		`certificate.findings.all(f, f != "expired")`:                                        undecided,
		`certificate.findings.exists_one(f, f == "revoked")`:                                 undecided,
		`certificate.findings.filter(f, f == "revoked").size() > 0`:                          undecided,
		`size(certificate.findings) == 2`:                                                    undecided,
		`certificate.findings == ["revoked", "weak_key"]`:                                    undecided,
		`certificate.findings[0] == "revoked"`:                                               undecided,
		`certificate.labels.team == "shop" && "expired" in certificate.findings`:             no,
		`certificate.labels.team == "web" || "expired" in certificate.findings`:              yes,
		`"expired" in certificate.findings && !(certificate.labels.team == "web")`:           no,
		`!("expired" in certificate.findings) && certificate.labels.team in ["web", "mail"]`: undecided,
	} {
		c, problems := compile(when, certmedic.AboutCertificate)
		if len(problems) > 0 {
			t.Fatalf("%s: %v", when, problems)
		}
		if v, err := c.judge((&Facts{Certificate: facts}).subjects(certmedic.AboutCertificate)[0]); v != want || err != nil {
			t.Errorf("%s: verdict %v, %v, want %v", when, v, err, want)
		}
	}
}
