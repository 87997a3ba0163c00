package body_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/certmedic/certmedic/alerting"
	"github.com/certmedic/certmedic/alerting/body"
)

func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func jsonKeys() []string {
	var keys []string
	for field := range reflect.TypeFor[body.Body]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		keys = append(keys, key)
	}
	return keys
}

func TestThePageShowsTheObject(t *testing.T) {
	example := regexp.MustCompile(`(?s)\n    \{\n.*?\n    \}\n`).FindString(page(t))
	var shown body.Body
	d := json.NewDecoder(strings.NewReader(example))
	d.DisallowUnknownFields()
	if err := d.Decode(&shown); err != nil {
		t.Fatalf("the example of docs/webhooks.md: %v", err)
	}
	var keys []string
	for _, m := range regexp.MustCompile(`(?m)^      "([a-z0-9_]+)":`).FindAllStringSubmatch(example, -1) {
		keys = append(keys, m[1])
	}
	if want := jsonKeys(); !slices.Equal(keys, want) {
		t.Errorf("the example has the keys\n%v\nwant\n%v", keys, want)
	}
	rows := regexp.MustCompile("(?s)## The object.*## The request").FindString(page(t))
	for _, key := range jsonKeys() {
		if !regexp.MustCompile("(?m)^\\| [^|]*`" + key + "`").MatchString(rows) {
			t.Errorf("docs/webhooks.md does not say what %q is", key)
		}
	}
	for _, kind := range alerting.Kinds() {
		if !strings.Contains(rows, "`"+string(kind)+"`") {
			t.Errorf("docs/webhooks.md does not name the event %q", kind)
		}
	}
}

func TestEveryKeyIsThereAndNoListIsNull(t *testing.T) {
	m, err := body.Of(alerting.Notification{}, alerting.Event{}).Map()
	if err != nil {
		t.Fatal(err)
	}
	null := []string{"not_before", "not_after", "days_left"}
	for _, key := range jsonKeys() {
		value, there := m[key]
		if !there || (value == nil) != slices.Contains(null, key) {
			t.Errorf("%s is %v, there: %v", key, value, there)
		}
	}
}

func TestTheSampleFillsEveryKey(t *testing.T) {
	sample := body.Sample()
	seen := map[string]bool{}
	for _, e := range sample.Events {
		m, err := body.Of(sample, e).Map()
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range m {
			seen[key] = seen[key] || !reflect.ValueOf(value).IsZero() && value != nil
		}
	}
	for _, key := range jsonKeys() {
		if !seen[key] {
			t.Errorf("%q is empty in the sample, so that templates are not tried with it", key)
		}
	}
}

func TestTimes(t *testing.T) {
	at := time.Date(2026, 3, 1, 1, 0, 0, 0, time.FixedZone("x", 3600))
	b := body.Of(alerting.Notification{}, alerting.Event{Time: at, Certificate: alerting.Facts{NotAfter: at.Add(-time.Second), NotBefore: at}})
	if *b.DaysLeft != -1 || b.Timestamp.Location() != time.UTC || b.NotAfter.Location() != time.UTC || b.NotBefore.Location() != time.UTC {
		t.Errorf("%d days, %v, %v, %v", *b.DaysLeft, b.Timestamp, b.NotAfter, b.NotBefore)
	}
}

func TestRunbook(t *testing.T) {
	for _, tt := range []struct{ prefix, name, want string }{
		{"", "", ""},
		{"https://wiki/", "", ""},
		{"", "expired", ""},
		{"https://wiki/", "expired", "https://wiki/expired"},
		{"https://wiki/", "a/../b?c", "https://wiki/a%2F..%2Fb%3Fc"},
		{"https://wiki/", "https://other/page", "https://other/page"},
		{"https://wiki/", "javascript:alert(1)", "https://wiki/javascript:alert%281%29"},
		{"", "javascript:alert(1)", ""},
		{"", "http://", ""},
	} {
		if got := body.Runbook(tt.prefix, tt.name); got != tt.want {
			t.Errorf("%q behind %q is %q, want %q", tt.name, tt.prefix, got, tt.want)
		}
	}
}
