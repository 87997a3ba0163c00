// Package records compares what a host serves with what DNS says about its certificates:
// TLSA records (DANE: RFC 6698, RFC 7671, and RFC 7672 for mail) pin what may be served,
// CAA records (RFC 8659) name the authorities that may issue. The prober calls it after a
// handshake.
//
// It promises findings for what is certain only. DANE counts where DNSSEC vouches for
// it, CAA where the authority is one whose names in CAA are known, and a lookup that
// fails is no finding, but for the one that makes mail wait. All strings that come from
// DNS or from certificates are quoted in details.
package records
