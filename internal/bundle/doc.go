// Package bundle hands versions of certificates from the one certmedic that had them issued to
// all others, through storage that they share: a folder on a network file system, or a bucket.
//
// A bundle is one publication of one version. It lies below the certificate's name, its private
// key encrypted with age (age-encryption.org/v1) unless plaintext was asked for:
//
//	NAME/versions/SHA256/SEQUENCE-NONCE/cert.pem
//	NAME/versions/SHA256/SEQUENCE-NONCE/chain.pem        absent where a root issued the leaf
//	NAME/versions/SHA256/SEQUENCE-NONCE/fullchain.pem
//	NAME/versions/SHA256/SEQUENCE-NONCE/privkey.pem.age  privkey.pem where it is in plaintext
//	NAME/versions/SHA256/SEQUENCE-NONCE/manifest.json    what belongs to it, signed
//	NAME/current.json                                    the pointer: which of them counts
//
// The wiring calls [Publish] and [Prune] for whoever renews, and runs a [Consumer] for each
// certificate with a shared source, which keeps a local folder at the newest version. The packages
// dir and s3 hold the stores, bundletest what both have to keep.
//
// It promises:
//   - Nothing is overwritten but the pointer, and that only by compare-and-swap, as the last step.
//     A publisher that is killed, or that wakes up late, leaves what no pointer names.
//   - A publication with a lower token than the pointer's, or that goes on from another version,
//     is [ErrStale]. So is a pointer that leads a consumer back behind what it accepted before.
//   - A consumer is given a version only when the pointer, the manifest, its signature, the hashes
//     of all parts, the chain's order and the pair of leaf and key agree.
//   - Private keys are in no error and no manifest.
//
// It does not judge dates, names or roots: whoever installs a version validates it then.
package bundle
