// Package fetch gets what certificates point to: revocation lists, OCSP answers, missing
// issuers. Packages revocation and aia call it.
//
// Whoever writes a certificate chooses these URLs, hence a [Client] promises to bound
// size, time and redirects, to connect to no address under which a machine or a cloud
// keeps its secrets, whatever a name resolves to, and to leave a dead host alone. A
// [Cache] promises that many who want the same cause one load, and that a failed load is
// not repeated for a while.
package fetch
