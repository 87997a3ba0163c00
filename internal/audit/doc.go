// Package audit holds what was seen of a host against what certificates need there: what will
// fail at the next renewal, what hides a failure, and what nobody has ever tried. The command
// audit calls it, with [Facts] that audit/gather makes; audit/report writes its [Result].
//
// Everything here is pure. A check is a function of the facts to findings, each with its place,
// why it matters and what mends it. What could not be seen is told as such: no check takes it for
// wrong, and no line of the checklist for done.
package audit
