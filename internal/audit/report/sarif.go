package report

import (
	"io"
	"net/url"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/audit"
)

// The parts of a log file that are written, as SARIF 2.1.0 has them (OASIS, 2020).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool         `json:"tool"`
		Invocations []sarifInvocation `json:"invocations"`
		Results     []sarifResult     `json:"results"`
		ColumnKind  string            `json:"columnKind"`
		Properties  sarifProperties   `json:"properties"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID      string       `json:"id"`
		Short   sarifText    `json:"shortDescription"`
		Full    sarifText    `json:"fullDescription"`
		Help    sarifText    `json:"help"`
		Default sarifDefault `json:"defaultConfiguration"`
	}
	sarifDefault struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifInvocation struct {
		Successful    bool                `json:"executionSuccessful"`
		EndTime       string              `json:"endTimeUtc"`
		Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	}
	sarifNotification struct {
		Level   string    `json:"level"`
		Message sarifText `json:"message"`
	}
	sarifResult struct {
		RuleID       string            `json:"ruleId"`
		RuleIndex    int               `json:"ruleIndex"`
		Level        string            `json:"level"`
		Message      sarifText         `json:"message"`
		Locations    []sarifLocation   `json:"locations,omitempty"`
		Fingerprints map[string]string `json:"partialFingerprints"`
	}
	sarifLocation struct {
		Physical sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine int `json:"startLine"`
	}
	sarifProperties struct {
		Checklist []audit.Item `json:"checklist"`
	}
)

// level returns how SARIF calls a severity.
func level(s certmedic.Severity) string {
	switch s {
	case certmedic.SeverityCritical:
		return "error"
	case certmedic.SeverityWarning:
		return "warning"
	default:
		return "note"
	}
}

// SARIF writes the findings as a log of one run of this version of certmedic. The checklist is
// among the properties of the run; what could not be seen is among its notifications.
func SARIF(w io.Writer, r audit.Result, version string) error {
	run := sarifRun{
		ColumnKind: "unicodeCodePoints", Results: []sarifResult{}, Properties: sarifProperties{r.Checklist},
		Tool: sarifTool{sarifDriver{Name: "certmedic audit", Version: version, InformationURI: "https://github.com/certmedic/certmedic"}},
	}
	index := map[string]int{}
	for i, c := range audit.Checks() {
		index[c.Code] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{c.Code, sarifText{c.About}, sarifText{c.Why}, sarifText{c.Fix}, sarifDefault{level(c.Severity)}})
	}
	invocation := sarifInvocation{Successful: true, EndTime: r.Time.Format("2006-01-02T15:04:05Z")}
	for _, u := range r.Unseen {
		invocation.Notifications = append(invocation.Notifications, sarifNotification{"note", sarifText{"not seen: " + string(u.Part) + ": " + u.Why}})
	}
	run.Invocations = []sarifInvocation{invocation}
	for _, f := range r.Findings {
		run.Results = append(run.Results, result(f, index[f.Code]))
	}
	return write(w, sarifLog{"https://json.schemastore.org/sarif-2.1.0.json", "2.1.0", []sarifRun{run}})
}

func result(f audit.Finding, index int) sarifResult {
	text := f.What + ": " + f.Why + "\n" + f.Fix
	if f.Subject != "" {
		text = f.Subject + ": " + text
	}
	one := sarifResult{
		RuleID: f.Code, RuleIndex: index, Level: level(f.Severity), Message: sarifText{text},
		Fingerprints: map[string]string{"finding/v1": f.Code + " " + f.Subject + " " + f.Place.File},
	}
	if f.Place.File != "" {
		at := sarifPhysical{Artifact: sarifArtifact{(&url.URL{Scheme: "file", Path: f.Place.File}).String()}}
		if f.Place.Line > 0 {
			at.Region = &sarifRegion{f.Place.Line}
		}
		one.Locations = []sarifLocation{{at}}
	}
	return one
}
