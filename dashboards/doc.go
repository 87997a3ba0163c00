// Package dashboards builds the dashboards for Grafana, which are handed out as JSON below
// grafana/: a panel is a line of Go here and forty of JSON there. Only its test calls it, and
// writes the files anew:
//
//	go test ./dashboards -run TestCurrent -update
//
// It promises that what is in the files is what is built here, that each can be imported or
// provisioned as it is, and that every panel asks for the job and the instance that were
// chosen. test/grafana runs every query of theirs on a real Prometheus.
package dashboards
