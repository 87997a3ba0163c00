// Package promtool holds the proof that the rules which are exported to Prometheus say what
// certmedic's own rules say: Prometheus's own program for testing rules replays histories of
// certificates, and at every moment the same alerts have to fire as incidents do here.
// `make test` runs it; it needs apt-get, which promtool is unpacked with.
package promtool
