// Package senses holds the tests of those parts of probe/host that ask a system that runs, such
// as systemd, on throwaway hosts. `make test` runs them, where hosts can be booted (see
// internal/testhost).
package senses
