package promrules

import (
	"slices"
	"strings"

	"github.com/certmedic/certmedic"
)

// scope is the part of what is watched that one alert is about, and how its subjects are
// labelled: certificates have a name, what is only watched has an empty one and is told
// apart by its endpoint.
type scope struct {
	about   certmedic.SubjectKind
	match   string // matcher of every series
	watched bool
}

// scopes returns what alerts of a rule are needed. One is enough where no variable of the
// certificate itself is asked for.
func scopes(about certmedic.SubjectKind, variables []string) []scope {
	ofCertificate := func(name string) bool { return strings.HasPrefix(name, "certificate.") }
	if about == certmedic.AboutCertificate || slices.ContainsFunc(variables, ofCertificate) {
		return []scope{{about, `certificate!=""`, false}, {about, `certificate=""`, true}}
	}
	return []scope{{about, "", false}}
}

// labels returns those that name a subject of a level. One Prometheus may scrape many
// certmedics, whose certificates may have the same names.
func (s scope) labels(level certmedic.SubjectKind) []string {
	target := []string{"job", "instance"}
	switch level {
	case certmedic.AboutAddress:
		return append(target, "certificate", "endpoint", "address")
	case certmedic.AboutEndpoint:
		return append(target, "certificate", "endpoint")
	case certmedic.AboutFleet:
		return target
	}
	return append(target, s.name())
}

// name is the label that tells the certificates of one certmedic apart.
func (s scope) name() string {
	if s.watched {
		return "endpoint"
	}
	return "certificate"
}

// fill makes PromQL of a template: "by ()" and "on ()" get the labels of the level, and
// braces the matchers, "{}" these alone, "{,more}" these and more.
func (s scope) fill(template string, level certmedic.SubjectKind, matchers ...string) string {
	by := strings.Join(s.labels(level), ", ")
	if s.match != "" && level != certmedic.AboutFleet {
		matchers = append([]string{s.match}, matchers...)
	}
	all := strings.Join(matchers, ",")
	if all == "" {
		return strings.NewReplacer("{}", "", "{,", "{", "by (,", "by ("+by+", ", "by ()", "by ("+by+")", "on ()", "on ("+by+")").Replace(template)
	}
	return strings.NewReplacer("{", "{"+all, "by (,", "by ("+by+", ", "by ()", "by ("+by+")", "on ()", "on ("+by+")").Replace(template)
}

// query makes a query of a template.
func (s scope) query(m form, level certmedic.SubjectKind, matchers ...string) query {
	return query{s.fill(m.text, level, matchers...), m.binds, s.labels(level)}
}

// everything is the set of all subjects of a level.
func (s scope) everything(level certmedic.SubjectKind) query {
	switch level {
	case certmedic.AboutCertificate:
		return s.matching()
	case certmedic.AboutFleet:
		return s.query(form{"group by () (certmedic_build_info{})", bindsAtom}, level)
	}
	return s.query(form{"group by () (certmedic_probe_last_timestamp_seconds{})", bindsAtom}, level)
}

// matching is the set of the certificates whose labels match.
func (s scope) matching(matchers ...string) query {
	text := "group by () (certmedic_leader{})"
	if s.watched {
		text = "group by () (certmedic_probe_last_timestamp_seconds{} or certmedic_stored_not_after_timestamp_seconds{})"
	}
	return s.query(form{text, bindsAtom}, certmedic.AboutCertificate, matchers...)
}

// unseen is the set of those of whose addresses one presents no certificate, so that it is
// not known what there is.
func (s scope) unseen(level certmedic.SubjectKind) query {
	return s.query(form{"group by () (certmedic_finding{," + unreached + "})", bindsAtom}, level)
}

// lift makes a set of certificates one of what they have, such as their endpoints.
func (s scope) lift(q query, by []string) query {
	if slices.Equal(q.by, by) {
		return q
	}
	return combine("and", s.everything(s.level(by)), q)
}

// level returns the level whose subjects have these labels.
func (s scope) level(by []string) certmedic.SubjectKind {
	for _, l := range []certmedic.SubjectKind{certmedic.AboutAddress, certmedic.AboutEndpoint, certmedic.AboutFleet} {
		if slices.Equal(s.labels(l), by) {
			return l
		}
	}
	return certmedic.AboutCertificate
}
