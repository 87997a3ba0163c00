// Package inspect turns certificates into facts and findings. It is pure: the same
// chain, roots, name and time always give the same answer, and it does no I/O and reads
// no clock. The prober and the readers of files call it.
//
// It promises to be complete: a chain that is expired, untrusted and made for another
// name yields all three findings, and none of them hides a date or a fingerprint. For
// that, paths are built without regard to dates, and dates are judged afterwards.
//
// It is bounded whatever a peer sends: signatures are checked a few hundred times at
// most, and details are short and hold nothing that is not printable. Verdicts agree
// with the vectors of BetterTLS and NIST's PKITS but for the exceptions that TestPKITS
// lists with their reasons.
package inspect
