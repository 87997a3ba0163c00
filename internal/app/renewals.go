package app

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/config"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/remediate/deploy"
	"github.com/certmedic/certmedic/remediate/renew"
)

// renewals returns what says how a certificate is renewed: as its configuration has it, and
// a lineage without one by certbot. The error says that what certbot would run, or what
// configures it, cannot be read or could be written by others.
func renewals(c *config.Config) func(certmedic.Certificate) (renew.Way, error) {
	configured, staging := map[string]*config.Renew{}, map[string]string{}
	for _, cert := range c.Certificates {
		configured[cert.Name], staging[cert.Name] = cert.Renew, cert.Rehearse.Staging
	}
	return func(cert certmedic.Certificate) (renew.Way, error) {
		r := configured[cert.Name]
		switch {
		case r != nil && len(r.Command) > 0:
			return renew.Way{Command: r.Command}, nil
		case cert.Source.Kind == certmedic.SourceShared:
			return renew.Way{}, fmt.Errorf("%w: what is shared is renewed where it is published", renew.ErrNoWay)
		case cert.Source.Kind != certmedic.SourceCertbot:
			return renew.Way{}, nil
		}
		way, err := byCertbot(cert.Source)
		if r != nil && r.Certbot != nil {
			way.Args, way.Env = r.Certbot.Args, r.Certbot.Env
		}
		if err == nil {
			way.Around, err = around(cert.Source, staging[cert.Name])
		}
		return renew.Way{Certbot: &way}, err
	}
}

// programs lists the files that a command names as what it runs.
func programs(command string) []string {
	var all []string
	if words := strings.Fields(command); len(words) > 0 && filepath.IsAbs(words[0]) {
		all = append(all, words[0])
	}
	if script := deploy.Script(command); script != "" {
		all = append(all, script)
	}
	return all
}

// byCertbot returns how certbot renews a lineage, after a look at who may write what it reads
// and runs.
func byCertbot(source certmedic.Source) (renew.Certbot, error) {
	way := renew.Certbot{Lineage: source.Lineage, ConfigDir: source.ConfigDir}
	conf, err := disk.ReadRenewalConf(filepath.Join(source.ConfigDir, "renewal", source.Lineage+".conf"))
	if err != nil {
		return way, err
	}
	way.WorkDir, way.LogsDir, way.Off = conf.WorkDir, conf.LogsDir, !conf.Autorenew
	read := []string{conf.Path, filepath.Join(source.ConfigDir, "cli.ini"), "/etc/letsencrypt/cli.ini"} // the last one always
	for _, command := range conf.Commands() {
		read = append(read, programs(command)...)
	}
	for _, kind := range []string{"pre", "deploy", "post"} {
		hooks, err := filepath.Glob(filepath.Join(source.ConfigDir, "renewal-hooks", kind, "*"))
		if err != nil {
			return way, fmt.Errorf("listing the %s hooks: %w", kind, err)
		}
		read = append(read, hooks...)
	}
	var errs []error
	for _, path := range read {
		if err := ownership.Check(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return way, fmt.Errorf("checking what certbot reads and runs: %w", err)
	}
	return way, nil
}
