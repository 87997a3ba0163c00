package app

import (
	"strings"
	"testing"
)

func TestReceiversThatWouldEndEachOthersAlertsAreRefused(t *testing.T) {
	dir := secretFiles(t, map[string]string{"a": strings.Repeat("a", 32), "b": strings.Repeat("b", 32), "same": strings.Repeat("a", 32) + "\n"})
	for _, row := range []struct{ about, second, want string }{
		{"another key", "pagerduty: {routing_key_file: $D/b}", ""},
		{"the same file", "pagerduty: {routing_key_file: $D/a}", `receiver "two": it is the same service as "one"`},
		{"the same key in another file", "pagerduty: {routing_key_file: $D/same}", `"one"`},
		{"another Alertmanager", `alertmanager: {urls: "http://am2:9093"}`, ""},
		{"one of the same Alertmanagers", `alertmanager: {urls: ["http://am2:9093", "http://am:9093"]}`, `"am"`},
	} {
		c := parseReceivers(t, dir, `
    - {name: one, pagerduty: {routing_key_file: $D/a}}
    - {name: am, alertmanager: {urls: ["http://am:9093", "http://am:9093"]}}
    - {name: two, `+row.second+"}\n")
		_, err := receivers(c, outfit{limits: &limits{}})
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.about, err, row.want)
		}
		if err != nil && (strings.Contains(err.Error(), "aaaa") || !strings.HasPrefix(err.Error(), "certmedic.yml:")) {
			t.Errorf("%s: %v", row.about, err)
		}
	}
}
