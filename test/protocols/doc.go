// Package protocols tries `certmedic check` against real servers: one of each kind that
// Debian has, on throwaway hosts (package internal/testhost), configured as a person would
// by the files in testdata. Each folder there is a host: its name, its layer of packages,
// and the files that it has on top.
//
// It needs root and Debian; elsewhere its tests are skipped and `make test` names them.
package protocols
