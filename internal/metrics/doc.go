// Package metrics renders what certmedic knows for Prometheus. Series about certificates are
// written straight from the watchdog's views by a text writer of our own, because there may
// be a million of them; everything about the process and what happened in it is kept by
// client_golang. The web server calls [Exporter.Handler].
//
// It promises that the series of a certificate exist as long as the certificate does,
// whatever is wrong with it, and that counters with a closed set of labels start at 0.
package metrics
