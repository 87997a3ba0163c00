package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/rollback"
)

func newRollback(e *environment) *cobra.Command {
	return newAction(e, certmedic.ActionRollback, "Have the last good version served again",
		`Rollback has an older version served where the present one is bad: the newest of those that
certmedic kept and that certbot's archive holds which is valid, is for all names, chains, was
not revoked and whose key is not denied. Nobody overrides that. It goes by the configured deploy steps
that install files, or, for a lineage of certbot's without any, as a further version in its archive
and by its deploy hooks, or steps; what does not come to be served is taken back.

A rollback is a loan: it has a deadline, an incident stays open, and it ends by itself as soon as
something better is served everywhere. --dry-run shows the version, the way, and why each other
version is not fit.`)
}

// lentUntil says that an older version is served, and until when at most.
func lentUntil(l rollback.Loan) string {
	said := fmt.Sprintf("rolled back to %s until %s", l.Version.Short(), l.Until.UTC().Format("2006-01-02 15:04"))
	if l.Pinned {
		said += ", certbot does not renew"
	}
	return said
}
