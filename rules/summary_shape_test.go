package rules

import "testing"

// A summary says what it is given; one that can keep certmedic busy is refused at load.
func TestSummariesThatCostTooMuch(t *testing.T) {
	for _, text := range []string{
		`{{.Certificate}} at {{range .Members}}{{.}} {{end}}`, `{{with len .Members}}{{.}} places{{end}}{{if .ExpiresIn}}; {{.ExpiresIn}}{{else}}ended{{end}}`,
		`{{range $k, $v := .Labels}}{{$k}}={{$v}} {{else}}none{{end}}`, `{{printf "%q" .Subject}}`,
	} {
		if _, err := parseSummary("r", text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{
		`{{range 100000000000}}{{end}}`, `{{range .Members}}{{range $.Members}}{{end}}{{end}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`,
		`{{block "a" .}}{{end}}`, `{{range .Members}}{{if .}}{{else}}{{range $.Labels}}{{end}}{{end}}{{end}}`, `{{range $x := len .Members}}{{end}}`,
		`{{range slice .Members 0}}{{end}}`, `{{if true}}{{range 5}}{{end}}{{end}}`,
	} {
		if _, err := parseSummary("r", text); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
