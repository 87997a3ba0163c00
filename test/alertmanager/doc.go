// Package alertmanager holds the proof that what certmedic posts is what Alertmanager wants: its
// real program takes the alerts, and its real client, amtool, shows them. `make test` runs it; it
// needs apt-get, which both are unpacked with.
package alertmanager
