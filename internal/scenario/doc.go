// Package scenario plays stories about certificates on a virtual clock and holds what the
// rules say against what the story expects: `certmedic rules test` runs the files of users,
// go test those of the shipped rules.
//
// [Load] reads a file and checks all of it; [File.Run] plays its tests. A story drives the
// picture that the daemon has of a certificate ([watchdog.Simulation]), so that the same
// facts are judged as in the daemon. Where it speaks of messages, they are those that the daemon's
// pipeline and receivers send ([alerting.Simulation]), to a Slack and a PagerDuty that are played.
// Nothing here waits or connects; the clock is read to say how long a test took, and for the names
// of messages. A year in which little happens takes milliseconds, and its transitions are those of a
// year that was played minute by minute.
package scenario
