package audit

import (
	"fmt"
	"slices"

	"github.com/certmedic/certmedic"
)

func monitoringChecks() []check {
	return []check{
		{
			"unmonitored", info, "Nothing on this host watches whether its certificates are served.",
			"a renewal that fails, or is not loaded, is noticed when clients complain. Something elsewhere may watch them; that cannot be seen from here.", "certmedic serve", unmonitored,
		},
		{
			"configuration-invalid", critical, "certmedic's own configuration is not taken.",
			"the daemon does not start, or goes on with the one before.", "certmedic config check", ownInvalid,
		},
		{
			"daemon-stopped", warning, "certmedic is configured on this host, and does not run.",
			"nobody is told of what goes wrong.", "systemctl enable --now certmedic", daemonStopped,
		},
		{
			"unwatched-lineage", warning, "certmedic does not watch a certificate of this host.",
			"what goes wrong with it is told to nobody.", "list it, or have the tree discovered: discover: [{certbot: {config_dir: DIR}}]", unwatched,
		},
		{
			"told-to-log-only", warning, "certmedic tells what it finds to a log only.",
			"a log that nobody reads is as good as none.", "configure a receiver: docs/configuration.md", logOnly,
		},
		{
			"no-snapshot", info, "There is no kept version to go back to.",
			"where the newest version turns out to be bad, nothing better is left; certbot keeps five older ones, of any state.", "run certmedic serve: it keeps each version that was seen served everywhere", noSnapshot,
		},
		{
			"snapshot-broken", warning, "A kept version was changed since it was kept.",
			"it is not used for a rollback.", "certmedic snapshots NAME", snapshotBroken,
		},
	}
}

func unmonitored(f *Facts) []Finding {
	if f.watched() || len(f.Lineages) == 0 || f.Own.File != "" { // one that is configured and does not run has a check of its own
		return nil
	}
	return []Finding{{What: "there is no certmedic, and no exporter that probes certificates"}}
}

func ownInvalid(f *Facts) []Finding {
	if f.Own.Problem == "" {
		return nil
	}
	return []Finding{{Place: Place{File: f.Own.File}, What: f.Own.Problem}}
}

func daemonStopped(f *Facts) []Finding {
	if f.Own.File == "" || f.Own.Running || f.Root != "" || !f.Sees(PartOwn) {
		return nil
	}
	return []Finding{{Place: Place{File: f.Own.File}, What: "nobody answers on its socket"}}
}

func unwatched(f *Facts) []Finding {
	if f.Own.File == "" || f.Own.Problem != "" {
		return nil
	}
	return ofCertbot(func(f *Facts, l *Lineage) (Finding, bool) {
		_, listed := f.own(l)
		return Finding{Place: Place{File: f.Own.File}, What: fmt.Sprintf("neither its certificates nor what it discovers has %s", l.Folder)}, !listed && !slices.Contains(f.Own.Discovers, l.Tree)
	})(f)
}

func logOnly(f *Facts) []Finding {
	people := slices.ContainsFunc(f.Own.Receivers, func(r Receiver) bool { return r.Kind != "log" && r.Kind != "syslog" })
	if f.Own.File == "" || f.Own.Problem != "" || people {
		return nil
	}
	return []Finding{{Place: Place{File: f.Own.File}, What: "there is no receiver that reaches people"}}
}

func noSnapshot(f *Facts) []Finding {
	if f.Own.Snapshots > 0 || len(f.Lineages) == 0 || !f.Sees(PartOwn) {
		return nil
	}
	return []Finding{{What: "certmedic has kept no version on this host"}}
}

func snapshotBroken(f *Facts) []Finding {
	if f.Own.Broken == 0 {
		return nil
	}
	return []Finding{{What: fmt.Sprintf("%d kept versions cannot be used", f.Own.Broken)}}
}

// newestOf returns the newest action that a question takes. Actions are newest first.
func (o Own) newestOf(ask func(certmedic.Action) bool) (certmedic.Action, bool) {
	i := slices.IndexFunc(o.Actions, ask)
	if i < 0 {
		return certmedic.Action{}, false
	}
	return o.Actions[i], true
}

func rehearsed(a certmedic.Action) bool {
	return a.Kind.Rehearses() && a.Outcome.Kind == certmedic.OutcomeRehearsed
}
