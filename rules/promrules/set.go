package promrules

import (
	"slices"

	"github.com/certmedic/certmedic"
)

// set is the subjects for which a condition holds.
type set struct {
	none   bool
	base   *query                // those that it is of; nil: of all
	except []query               // that are not in it
	level  certmedic.SubjectKind // of the exceptions where there is no base
}

func some(q query) set      { return set{base: &q} }
func constant(all bool) set { return set{none: !all} }

// and returns those that are in both.
func (s set) and(other set) set {
	if s.none || other.none {
		return constant(false)
	}
	both := set{base: s.base, except: slices.Concat(s.except, other.except), level: finer(s.level, other.level)}
	switch {
	case s.base == nil:
		both.base = other.base
	case other.base == nil:
	case len(s.base.by) < len(other.base.by):
		q := combine("and", *other.base, *s.base)
		both.base = &q
	default:
		q := combine("and", *s.base, *other.base)
		both.base = &q
	}
	return both
}

// or returns those that are in one of them, or in both.
func (s set) or(other set, of scope) set {
	switch {
	case s.none:
		return other
	case other.none:
		return s
	case s.all() || other.all():
		return set{}
	}
	left, right := s.query(of, s.level), other.query(of, other.level)
	if len(left.by) < len(right.by) {
		left = of.lift(left, right.by)
	}
	return some(combine("or", left, of.lift(right, left.by)))
}

func (s set) all() bool { return !s.none && s.base == nil && len(s.except) == 0 }

// query says a set that is not empty in PromQL, of a level or a finer one.
func (s set) query(of scope, level certmedic.SubjectKind) query {
	by := of.labels(level)
	if level == "" && s.base != nil {
		by = s.base.by // whatever its own level is
	}
	for _, q := range s.except {
		if len(q.by) > len(by) {
			by = q.by
		}
	}
	var q query
	switch {
	case s.base == nil:
		q = of.everything(of.level(by))
	case len(s.base.by) < len(by):
		q = of.lift(*s.base, by)
	default:
		q = *s.base
	}
	for _, other := range s.except {
		q = combine("unless", q, other)
	}
	return q
}

// finer returns the finer of two levels; empty is the coarsest.
func finer(a, b certmedic.SubjectKind) certmedic.SubjectKind {
	order := []certmedic.SubjectKind{"", certmedic.AboutFleet, certmedic.AboutCertificate, certmedic.AboutEndpoint, certmedic.AboutAddress}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}
