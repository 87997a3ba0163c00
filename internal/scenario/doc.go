// Package scenario plays stories about certificates on a virtual clock and holds what the
// rules say against what the story expects: `certmedic rules test` runs the files of users,
// go test those of the shipped rules.
//
// [Load] reads a file and checks all of it; [File.Run] plays its tests. A story drives the
// picture that the daemon has of a certificate ([watchdog.Simulation]), so that the same
// facts are judged as in the daemon. Nothing here waits, connects, or reads the clock but to
// say how long a test took; a year in which little happens takes milliseconds, and its
// transitions are those of a year that was played minute by minute.
package scenario
