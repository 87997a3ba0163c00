// Package bench holds the measurements of certmedic beside its peers, on one machine and
// in one run: what a verified probe costs the processor, what ten thousand endpoints cost
// in memory, and whether endpoints that stall delay the others. `make bench` runs them, with
// CERTMEDIC_BENCH=1; without it they are skipped. They promise that ratios out of bounds
// fail; absolute figures depend on the machine and are only reported.
package bench
