// Package acmelog reads the logs of ACME clients: certbot's from 0.x to 5.x, one file for each
// run or runs appended to one file, rotated or not; lego's and acme.sh's as they are kept. It
// says which runs there were, how each ended for each lineage and each hook, and why.
//
// internal/diagnose and internal/audit ask it, and the watchdog for the fact
// certificate.renewal_log. It promises to classify only lines that it knows: a run whose end
// is not in the log has no result, and silence is never taken for success.
package acmelog
