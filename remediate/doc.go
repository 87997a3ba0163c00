// Package remediate mends: it moves a certificate's newest stored version on to where it is
// served, or has a new one issued, where its owner allowed that, and proves the result by new
// handshakes.
//
// The way of every action is guard → plan → lock → look again → journal → apply → verify →
// record. The watchdog says what the rules want ([Remediator.Want]); the remediator goes on
// wanting it, with back-off and within bounds, until a look shows that it is no longer
// needed. People ask for one action at a time with [Remediator.Act].
//
// It promises that nothing runs that was not journaled before, with its pid, so that after
// a kill at any instant nothing is repeated blindly; that a deployment which failed is put
// back; and that "healed" means seen on every bound address in two consecutive rounds.
package remediate
