// Package check answers for single targets what is served or kept there and what is wrong
// with it: once, without configuration and without state. A target is an endpoint, a
// certificate file, a certbot lineage or a whole certbot tree. The check command calls it.
//
// It promises a result for every target, whatever is wrong with it, in the order of the
// targets, and memory that does not grow with their number.
package check
