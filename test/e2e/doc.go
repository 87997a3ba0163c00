// Package e2e holds the end-to-end tests of certmedic: real certbot, a real ACME CA
// (pebble), real nginx and a real systemd, each test on a throwaway host of its own.
// `make test` runs them, where hosts can be booted (see internal/testhost). They promise
// what no unit test can: that certmedic heals what those programs leave behind, and
// leaves alone what they are still at work on.
package e2e
