package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/certmedic/certmedic/internal/check"
	"github.com/certmedic/certmedic/internal/check/gauges"
)

// The forms in which results are reported.
const (
	formatText       = "text"
	formatJSON       = "json"
	formatNagios     = "nagios"
	formatPrometheus = "prometheus"
)

func checkFormats() []string {
	return []string{formatText, formatJSON, formatNagios, formatPrometheus}
}

// checkReport writes results as they come.
type checkReport interface {
	add(r check.Result) error
	end() error
}

func (f *checkFlags) report(e *environment, c *check.Checker) (checkReport, error) {
	format := f.format
	if e.json {
		format = formatJSON
	}
	switch format {
	case formatText:
		return &textReport{out: e.stdout, style: styleOf(e.stdout, e.getenv), at: c.At}, nil
	case formatJSON:
		return &jsonReport{out: e.stdout}, nil
	case formatNagios:
		return &nagiosReport{out: e.stdout, at: c.At, warn: c.Warn, crit: c.Crit}, nil
	case formatPrometheus:
		return newPrometheusReport(e.stdout, c.At), nil
	default:
		return nil, fmt.Errorf("--format: %q is none of %s", format, strings.Join(checkFormats(), ", "))
	}
}

// asOf returns the time that a result's dates are compared with: at, or that of the check
// where at is zero.
func asOf(r check.Result, at time.Time) time.Time {
	if at.IsZero() {
		return r.Time
	}
	return at
}

// jsonReport writes an array, an element at a time.
type jsonReport struct {
	out   io.Writer
	count int
}

func (j *jsonReport) add(r check.Result) error {
	separator := "[\n  "
	if j.count > 0 {
		separator = ",\n  "
	}
	j.count++
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("  ", "  ")
	if err := encoder.Encode(r); err != nil {
		return err
	}
	_, err := io.WriteString(j.out, separator+escapeUnprintable(strings.TrimSuffix(b.String(), "\n")))
	return err
}

func (j *jsonReport) end() error {
	closing := "\n]\n"
	if j.count == 0 {
		closing = "[]\n"
	}
	_, err := io.WriteString(j.out, closing)
	return err
}

// escapeUnprintable escapes what JSON lets through and a terminal might obey: delete, and
// the control characters from U+0080 on.
func escapeUnprintable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < unicode.MaxASCII || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

// prometheusReport writes the text format at the end, because it keeps the series of one
// name together.
type prometheusReport struct {
	out      io.Writer
	at       time.Time
	registry *prometheus.Registry
	gauges   *gauges.Gauges
}

func newPrometheusReport(out io.Writer, at time.Time) *prometheusReport {
	registry := prometheus.NewRegistry()
	return &prometheusReport{out: out, at: at, registry: registry, gauges: gauges.New(registry)}
}

func (p *prometheusReport) add(r check.Result) error {
	p.gauges.Add(r.Target, r.Addresses, r.Findings, asOf(r, p.at))
	return nil
}

func (p *prometheusReport) end() error {
	families, err := p.registry.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(p.out, family); err != nil {
			return err
		}
	}
	return nil
}
