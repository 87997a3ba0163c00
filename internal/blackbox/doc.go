// Package blackbox answers /probe as blackbox_exporter does for TLS and HTTP: it probes the
// target that is named in the request and returns what it measured as metrics. The web
// server mounts it, and the history of recent probes at /logs.
//
// It promises the parameters, names and meanings of blackbox_exporter's series, with two
// differences: they are there also when the chain does not verify, and what was never
// verified is absent instead of a date before the common era. A module may ask for
// ssl_exporter's series too. Beside them stand the certmedic_* series of every address of
// the target, for http of the host that answered last.
package blackbox
