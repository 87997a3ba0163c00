// Package rules judges: it decides which rules hold for a certificate, from facts that
// others measured, and what the ladder of each rule asks for next.
//
// [Load] reads rules (YAML with a CEL condition each) and checks them strictly;
// [Engine.Evaluate] is a pure function of (now, facts, state) that returns the new state
// and the transitions to it. The watchdog calls it on every event, keeps the state, and
// hands the transitions to those who tell and mend. Nothing here does I/O, logs or reads
// the clock.
//
// A fact about which nothing can be said now is undecided: the timers of a rule that needs
// it stand still, it neither fires nor resolves.
package rules
