package blackbox

import (
	"regexp"
	"testing"

	"github.com/certmedic/certmedic/internal/lab/tlsd"
	"github.com/certmedic/certmedic/probe/live"
)

func TestScriptsDecide(t *testing.T) {
	l := newLab(t, tlsd.None)
	mail := startMail(t, l.pair.TLS())
	begin := []live.Step{
		{Expect: regexp.MustCompile("^220 "), Send: "EHLO prober"},
		{Expect: regexp.MustCompile("^250 STARTTLS"), Send: "STARTTLS"},
		{Expect: regexp.MustCompile("^220"), StartTLS: true},
	}
	for _, row := range []struct {
		about  string
		script []live.Step
		lines  []string
	}{
		{"TLS begins when asked", begin, []string{"probe_success 1\n", "probe_failed_due_to_regex 0\n", "probe_ssl_earliest_cert_expiry "}},
		{
			"what follows TLS is said",
			append(begin[:3:3], live.Step{Send: "EHLO prober"}, live.Step{Expect: regexp.MustCompile("^250 mail")}),
			[]string{"probe_success 1\n", "probe_failed_due_to_regex 0\n"},
		},
		{
			"what follows TLS is not what was expected",
			append(begin[:3:3], live.Step{Send: "NOOP"}, live.Step{Expect: regexp.MustCompile("^250 OK")}),
			[]string{"probe_success 0\n", "probe_failed_due_to_regex 1\n", "probe_ssl_earliest_cert_expiry ", "probe_tls_version_info{"},
		},
		{
			"the greeting is not what was expected",
			[]live.Step{{Expect: regexp.MustCompile("^SSH-2.0"), StartTLS: true}},
			[]string{"probe_success 0\n", "probe_failed_due_to_regex 1\n", "!probe_ssl", "!probe_tls"},
		},
	} {
		t.Run(row.about, func(t *testing.T) {
			l.options.Modules = map[string]Module{"mail": {ServerName: shop, Fallback: true, Live: &live.Settings{Script: row.script}}}
			_, text := l.get("target", mail, "module", "mail")
			wants(t, text, row.lines...)
		})
	}
}
