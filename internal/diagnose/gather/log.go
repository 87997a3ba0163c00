package gather

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/diagnose"
	"github.com/certmedic/certmedic/probe/host/acmelog"
)

// log reads what certbot wrote.
func (l *look) log() func() {
	folder := l.logFolder()
	if folder == "" {
		return func() {
			l.c.Unseen = append(l.c.Unseen, diagnose.Unseen{Part: diagnose.PartLog, Why: "where it is kept is not known: set logs_dir in the renewal configuration"})
		}
	}
	o := acmelog.Options{Client: acmelog.Certbot, Path: folder, Early: "/tmp"} // where runs write that never came to their log
	found := l.read(o)
	src := l.question.Certificate.Source
	runs := found.Of(src.Lineage, l.liveFolder())
	return func() {
		l.c.Log, l.c.Runs = found, runs
		if found.Problem != "" && !found.None {
			l.c.Unseen = append(l.c.Unseen, diagnose.Unseen{Part: diagnose.PartLog, Why: found.Problem})
		}
	}
}

// logFolder returns where certbot's logs are: as cli.ini or the lineage has it, else certbot's
// default for its default tree.
func (l *look) logFolder() string {
	if l.c.Ini.LogsDir != "" { // as if it stood on the command line
		return l.c.Ini.LogsDir
	}
	if l.c.Conf != nil && l.c.Conf.LogsDir != "" {
		return l.c.Conf.LogsDir
	}
	if filepath.Clean(l.question.Certificate.Source.ConfigDir) == "/etc/letsencrypt" {
		return "/var/log/letsencrypt"
	}
	return ""
}

// liveFolder returns the folder of the lineage's links, as hooks get it.
func (l *look) liveFolder() string {
	return filepath.Dir(l.c.Stored.Files.Fullchain)
}

// read reads a log, by way of what remembers those that do not change.
func (l *look) read(o acmelog.Options) acmelog.Log {
	if l.means.Logs != nil {
		return l.means.Logs.Read(o)
	}
	return acmelog.Read(o)
}

// clientLog returns the log of another client than certbot that keeps a certificate, and the name
// that the certificate has in it: acme.sh and lego log beside what they keep, where they are told
// to. The name is empty where there is no such log.
func clientLog(src certmedic.Source) (acmelog.Options, string) {
	folder := filepath.Dir(src.Cert)
	base := filepath.Base(folder)
	domain, stem := strings.TrimSuffix(base, "_ecc"), strings.TrimSuffix(src.Cert, ".crt")
	for _, known := range []struct {
		client          acmelog.Client
		mark, log, name string
	}{
		{acmelog.ACMESh, filepath.Join(folder, domain+".conf"), "acme.sh.log", domain},
		{acmelog.Lego, stem + ".json", "lego.log", filepath.Base(stem)},
	} {
		log := filepath.Join(filepath.Dir(folder), known.log)
		if src.Kind == certmedic.SourceFiles && isFile(known.mark) && isFile(log) {
			return acmelog.Options{Client: known.client, Path: log}, known.name
		}
	}
	return acmelog.Options{}, ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// otherLog reads what another client wrote.
func (l *look) otherLog(o acmelog.Options, name string) func() {
	found := l.read(o)
	return func() {
		l.c.Log, l.c.Runs, l.c.Logged = found, found.Of(name, ""), name
		if found.Problem != "" {
			l.c.Unseen = append(l.c.Unseen, diagnose.Unseen{Part: diagnose.PartLog, Why: found.Problem})
		}
	}
}
