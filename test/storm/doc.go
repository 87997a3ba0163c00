// Package storm holds the proof that people are told once whatever happens to the one who tells them:
// two hundred certificates break and mend, silences come and go, people take over, and all the while
// certmedic is killed with SIGKILL, at random moments and at the very moment of a call. What people
// saw is counted at strict stand-ins for Slack and PagerDuty, which live through all of it.
//
// `make test` runs it with a seeded 60 kills; `make bench` has the real Alertmanager go through the
// same beside it, and `make chaos` both with 1,000 kills. CERTMEDIC_STORM_SEED repeats a storm.
package storm
