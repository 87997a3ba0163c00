// Package lab is the laboratory: everything that certmedic meets in the world, real
// and on loopback, so that the whole way of a certificate can be walked in a second.
//
// It holds no code itself. Its packages are
//
//   - mint: a private PKI with any dates, names and keys, good or bad on purpose
//   - ca: a real ACME certificate authority (pebble's packages, in process)
//   - dnsd: a DNS server with a zone that can be changed and made to fail
//   - tlsd: TLS nodes that load files as web servers do and can be told to misbehave
//   - acmd: AWS Certificate Manager, as far as certmedic asks it
//   - tree: certbot's folders, locks and log
//   - issuer: an ACME client that works in such a tree as certbot does
//   - story: the demonstration that joins all of them with certmedic itself
//
// Go tests, benchmarks and the certlab command use them. Nothing of certmedic proper
// imports them.
package lab
