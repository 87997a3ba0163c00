// Package sim runs ten members and all that they probe in one program, in virtual time: the real spread
// of endpoints, the real scheduler and the real watch of members, with probes that cost nothing. `make test`
// simulates 20,000 endpoints, `make bench` a million.
package sim
