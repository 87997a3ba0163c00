package audit

import (
	"fmt"
	"path/filepath"
	"time"
)

func fileChecks() []check {
	return []check{
		{
			"key-readable", critical, "Everybody on the host can read a private key.",
			"whoever can log in, or gets into any of its services, can take the key.", "chmod o-rwx KEY", keyReadable,
		},
		{
			"credentials-readable", critical, "Everybody on the host can read the credentials of a DNS plugin.",
			"whoever reads them can change the zone, and have certificates issued for it.", "chmod o-rwx FILE", credentialsReadable,
		},
		{
			"tree-open", info, "Everybody on the host may enter live/ and archive/.",
			"certbot makes them 0700; the modes of the keys alone protect them now.", "chmod 0700, or a group for those who have to read them", treeOpen,
		},
		{
			"configuration-writable", critical, "Others than root can change what certbot reads.",
			"a hook in it is run as root at the next renewal.", "close it, and the folders above it, to others", configurationWritable,
		},
		{
			"logs-missing", info, "The folder of the logs is not there.",
			"what a renewal did, and whether its hook failed, stands there only.", "certbot makes it at its next run", logsMissing,
		},
		{
			"logs-short", warning, "The logs of renewals are kept for less time than lies between two renewals.",
			"when somebody looks for why a deployment failed, the line is gone.", "keep them for half a year: rotate 26 with weekly, in logrotate's configuration", logsShort,
		},
		{
			"logs-endless", info, "certbot is told not to rotate its log, and nothing else does.",
			"the file grows for as long as the host lives.", "remove max-log-backups from cli.ini, or rotate it with logrotate", logsEndless,
		},
		{
			"disk-full", critical, "There is no space left where certbot writes.",
			"the next renewal is cut short, which can leave a lineage broken.", "make space", diskFull,
		},
		{
			"disk-nearly-full", warning, "There is little space left where certbot writes.",
			"a renewal that is cut short can leave a lineage broken.", "make space", diskNearlyFull,
		},
		{
			"clock-unsynchronised", warning, "The kernel says that nobody keeps the host's clock right.",
			"a wrong clock renews at the wrong time, and takes good certificates for bad ones.", "systemctl enable --now systemd-timesyncd", clockOff,
		},
	}
}

func keyReadable(f *Facts) []Finding {
	return forEach(f, func(l *Lineage) (Finding, bool) {
		what := fmt.Sprintf("its mode is %04o, it belongs to %s, and everybody may enter the folders above it", l.Key.Mode, l.Key.Owner)
		return Finding{Place: Place{File: l.Key.Path}, What: what, Fix: command("chmod", "o-rwx", l.Key.Path)}, l.Key.OthersRead && l.Key.Path != ""
	})
}

func credentialsReadable(f *Facts) []Finding {
	return ofCertbot(func(_ *Facts, l *Lineage) (Finding, bool) {
		for _, c := range l.Credentials {
			if !c.Missing && c.Facts.OthersRead {
				return Finding{Place: c.Place, What: fmt.Sprintf("%s: its mode is %04o", c.Path, c.Facts.Mode), Fix: command("chmod", "o-rwx", c.Path)}, true
			}
		}
		return none()
	})(f)
}

func treeOpen(f *Facts) []Finding {
	var all []Finding
	for _, t := range f.Trees {
		for _, folder := range t.Folders {
			if folder.Mode&0o005 == 0o005 {
				all = append(all, Finding{Subject: t.Dir, Place: Place{File: folder.Path}, What: fmt.Sprintf("its mode is %04o", folder.Mode), Fix: remark("where no service reads them but as root: " + command("chmod", "0700", folder.Path))})
			}
		}
	}
	return all
}

func configurationWritable(f *Facts) []Finding {
	var all []Finding
	for _, t := range f.Trees {
		for _, found := range open(t.Writable) {
			found.Subject = filepath.Base(found.Place.File)
			all = append(all, found)
		}
	}
	return all
}

func logsMissing(f *Facts) []Finding {
	var all []Finding
	for _, l := range f.Logs {
		if l.Missing {
			all = append(all, Finding{Subject: l.Tree, Place: Place{File: l.Folder}, What: l.Folder + " does not exist"})
		}
	}
	return all
}

// logsShort compares with the longest time between two renewals in the tree: two thirds of a
// life.
func logsShort(f *Facts) []Finding {
	var all []Finding
	for _, log := range f.Logs {
		if log.Rotated == nil || log.Rotated.Keeps == 0 {
			continue
		}
		var longest time.Duration
		for _, l := range f.Lineages {
			if l.Tree == log.Tree {
				longest = max(longest, l.Cert().Lifetime()-left(l.Cert().Lifetime()))
			}
		}
		if log.Rotated.Keeps < longest {
			what := fmt.Sprintf("logrotate keeps %s for %s; two renewals are %s apart", log.Folder, days(log.Rotated.Keeps), days(longest))
			all = append(all, Finding{Subject: log.Tree, Place: log.Rotated.Place, What: what})
		}
	}
	return all
}

func logsEndless(f *Facts) []Finding {
	var all []Finding
	for _, log := range f.Logs {
		for _, t := range f.Trees {
			if t.Dir == log.Tree && t.Backups.Value == "0" && log.Rotated == nil && !log.Missing {
				all = append(all, Finding{Subject: t.Dir, Place: t.Backups.Place, What: "max-log-backups = 0, and logrotate does not know " + log.Folder})
			}
		}
	}
	return all
}

// The bounds of what is left on a disk, in bytes. A renewal writes some 20 kB, and a log of 1 MB
// at worst.
const (
	spaceFull   = 2 << 20
	spaceNearly = 50 << 20
)

func diskFull(f *Facts) []Finding {
	return disks(f, func(d Disk) bool { return d.Free < spaceFull || !d.Inodes })
}

func diskNearlyFull(f *Facts) []Finding {
	return disks(f, func(d Disk) bool {
		return d.Inodes && d.Free >= spaceFull && (d.Free < spaceNearly || d.Free < d.Total/100)
	})
}

func disks(f *Facts, short func(Disk) bool) []Finding {
	var all []Finding
	for _, d := range f.Disks {
		if short(d) {
			what := fmt.Sprintf("%d of %d MB are free", d.Free>>20, d.Total>>20)
			if !d.Inodes {
				what = "no inodes are left"
			}
			all = append(all, Finding{Subject: d.Path, Place: Place{File: d.Path}, What: what})
		}
	}
	return all
}

func clockOff(f *Facts) []Finding {
	if !f.Clock.Known || f.Clock.Synced || len(f.Lineages) == 0 {
		return nil
	}
	found := Finding{What: "adjtimex(2) says that the clock is not synchronised, and no service for it is enabled"}
	if len(f.Clock.Services) > 0 {
		found.What = "adjtimex(2) says that the clock is not synchronised, though " + f.Clock.Services[0] + " is enabled"
		found.Fix = command("systemctl", "status", f.Clock.Services[0])
	}
	return []Finding{found}
}
