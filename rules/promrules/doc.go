// Package promrules says rules in PromQL: it turns a rule into alerts that Prometheus raises
// from certmedic's metrics. The command `rules export` calls it.
//
// It promises that an alert fires for the same certificates as its rule does, as long as
// everything is probed; a rule that cannot be said so is refused with a reason, never
// weakened. What it cannot promise is what an absent series means: certmedic stops a timer
// when it cannot decide, Prometheus ends the alert.
//
// A condition becomes the set of subjects for which it holds: one series each, by the labels
// that name the subject. Whatever cannot be decided is neither in the set of a condition nor
// in that of its negation, as in CEL's three-valued logic.
package promrules
