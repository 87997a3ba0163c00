// Package probe measures what endpoints serve. A [Prober] makes one observation of an
// endpoint, over all of its addresses; a [Scheduler] makes observations of many
// endpoints again and again, spread over time and bounded in number. The watchdog, the
// check command and the /probe page call it.
//
// It promises facts and no verdicts: a probe has no error result, and whatever is wrong
// with an endpoint, all that was seen of it is in the observation. The work is done by
// the packages resolve (names to addresses), live (handshakes) and inspect (findings).
package probe
