// Package grafana holds the proof that the dashboards show what there is. Three real daemons with
// the laboratory's nodes go through a life (healthy, overdue, expired, split, healed, stuck, down,
// rolled back, empty) while a real Prometheus scrapes them and asks the rules. Then every query of
// every dashboard and of every rule is asked as Grafana would ask it: none may be refused, none
// may be empty that is not declared to be, and the numbers are those of the scene. `make test`
// runs it; it needs apt-get, which Prometheus is unpacked with.
package grafana
