// Package causes holds the corpus of `certmedic diagnose`: throwaway hosts on which one thing each
// has gone wrong, as docs/causes.md numbers them, and hosts on which nothing has. `make test` runs
// it, where hosts can be booted (see internal/testhost).
//
// A scene is a file of scenes/: shell steps from a healthy host (see stage.sh), and what diagnose
// has to say then. The corpus promises that every numbered cause has a scene, that each is named
// with its stage or, where nothing on the host tells it, is unknown, and that a healthy host
// yields nothing.
package causes
