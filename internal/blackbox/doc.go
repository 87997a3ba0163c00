// Package blackbox answers /probe as blackbox_exporter does for TLS: it probes the target
// that is named in the request and returns what it measured as metrics. The web server
// mounts it.
//
// It promises the parameters, names and meanings of blackbox_exporter's TLS series, with
// two differences: they are there also when the chain does not verify, and what was never
// verified is absent instead of a date before the common era. Beside them stand the
// certmedic_* series of every address of the target.
package blackbox
