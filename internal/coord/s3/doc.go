// Package s3 is the coordinator in a bucket of Amazon S3, or of a store that speaks its protocol and has
// conditional writes: If-None-Match and If-Match of PutObject. It needs no service that is not there already where versions are
// published to a bucket. The app makes it where the configuration says so.
//
// Not every store that takes the conditions keeps them. [Open] proves them, one after the other and in a race, and refuses a
// store that fails. Time is the store's: Last-Modified and Date of its answers, never a member's clock.
//
// Each lease costs a write every third of its time to live, and each member that waits for it a read; with
// many certificates a longer time to live saves requests.
package s3
