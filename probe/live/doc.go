// Package live does one TLS handshake with one address and returns everything that the
// peer showed. The prober calls it.
//
// It begins TLS as each protocol does, over TCP, through a proxy or over QUIC, and asks
// what there is to ask after the handshake: https for its answer, a script for its lines.
//
// It never verifies: a chain that nobody trusts is as good a fact as any. It keeps the
// certificates of a handshake that fails later, speaks old versions and weak ciphers to
// reach old servers, and bounds every phase in time and all that it reads in size. Package
// inspect judges what it returns.
package live
