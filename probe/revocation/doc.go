// Package revocation says whether the certificates of a verified path were revoked, by
// the OCSP response that a server stapled to its handshake, by the lists of their
// issuers (CRLs), and by OCSP responders where that is wanted. The prober calls it after
// a handshake, and whoever wants to install a certificate before that.
//
// It promises that no answer is never a good answer: a source that cannot be reached, is
// signed by somebody else, out of date or about something else yields
// [certmedic.RevocationUnknown] with the reason. Where a response and a list differ, the
// one that revokes is believed. A certificate that names no source at all is beyond
// revocation, as short-lived ones are meant to be, and yields nothing.
//
// Lists are fetched once for all, kept on disk across restarts, and indexed compactly: 16
// bytes for each revoked certificate. What is read from disk has its signature checked as
// if it had just been fetched.
package revocation
