package promrules

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/rules"
)

// absent stands for what a summary says that Prometheus cannot know. It prints as [unknown].
type absent struct{}

const unknown = "[unknown]"

// String implements fmt.Stringer.
func (*absent) String() string { return unknown }

// summary renders a rule's summary as a template of Prometheus. What the summary says only
// where it is known is left out; one that cannot do without it gives way to a plain
// sentence.
func summary(r rules.Rule, s scope) string {
	subject := placeholders(s, r.About)
	fallback := fmt.Sprintf("certmedic's rule %s holds for %s", r.Name, subject)
	text := r.Summary
	if text == "" {
		return fallback
	}
	nothing := func(any) *absent { return nil }
	t, err := template.New(r.Name).Funcs(template.FuncMap{"len": nothing}).Parse(text)
	if err != nil {
		return fallback
	}
	var b strings.Builder
	var none *absent
	data := map[string]any{
		"Subject": subject, "Certificate": placeholders(s, certmedic.AboutCertificate),
		"ExpiresIn": none, "Members": none, "Labels": none, "Reason": none, "Stage": none, "Approval": none,
	}
	if err := t.Execute(&b, data); err != nil || strings.Contains(b.String(), unknown) {
		return fallback
	}
	return strings.TrimSpace(b.String())
}

// placeholders names a subject by its labels.
func placeholders(s scope, about certmedic.SubjectKind) string {
	switch {
	case about == certmedic.AboutFleet:
		return "certmedic at {{ $labels.instance }}"
	case about == certmedic.AboutAddress:
		return "{{ $labels.endpoint }} at {{ $labels.address }}"
	case about == certmedic.AboutEndpoint || s.watched:
		return "{{ $labels.endpoint }}"
	}
	return "{{ $labels.certificate }}"
}
