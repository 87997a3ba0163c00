// Package ari asks a CA when it wants a certificate to be replaced (ACME renewal information,
// RFC 9773). The app calls it, for the certificates whose source names an ACME directory.
//
// A [Client] needs no account and places nothing at the CA. It promises to bound time, size and
// the number of requests under way at one CA, to leave a CA alone that is in trouble, or as long
// as that asks for, and to tell by the dates of its answers how far this machine's clock is off.
// lego speaks ACME for it; nothing outside of this package knows that.
package ari
