package config

import (
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Rehearse says how often it is tried whether the next renewal, and its deployment, would work.
type Rehearse struct {
	Hooks    time.Duration `yaml:"hooks,omitempty" doc:"How often the deploy hooks, or the test, reload and alive commands of the deploy steps, are run for the version that is served already. They really run. At least 1h; absent: never by itself."`
	Renewal  time.Duration `yaml:"renewal,omitempty" doc:"How often a version is issued at the staging directory, of which nothing is stored. At least 1h; absent: never by itself."`
	RunHooks bool          `yaml:"run_hooks,omitempty" doc:"Whether a rehearsal of a renewal by certbot runs its pre and post hooks for real. Absent: they are left out. Its deploy hooks never run."`
	Staging  string        `yaml:"staging,omitempty" form:"url" doc:"The URL of the directory for rehearsals of a renewal by certbot. Absent: Let's Encrypt's, for its own lineages; others are not rehearsed."`
}

// leastRehearsal bounds how often something is rehearsed.
const leastRehearsal = time.Hour

// rehearse checks when what is rehearsed.
func (v *validator) rehearse(key string, c Certificate) {
	r := c.Rehearse
	for name, every := range map[string]time.Duration{"hooks": r.Hooks, "renewal": r.Renewal} {
		if every != 0 && every < leastRehearsal {
			v.errorf(key+"."+name, "%s is too often, the least is %s", formatDuration(every), formatDuration(leastRehearsal))
		}
	}
	if r.Hooks != 0 && c.Source.Certbot == nil && len(c.Deploy) == 0 {
		v.warnf(key+".hooks", "there is nothing to run: the source is no lineage of certbot, and there is no deploy")
	}
	if r.Renewal != 0 && c.Renew != nil && len(c.Renew.Command) > 0 {
		v.warnf(key+".renewal", "a command that renews cannot be rehearsed")
	}
	if (r.Hooks != 0 || r.Renewal != 0) && c.Remediation.Mode != certmedic.ModeAuto {
		v.warnf(key, "nothing is rehearsed by itself unless the mode of the certificate is auto")
	}
	if r.Staging != "" {
		v.acmeDirectory(key+".staging", r.Staging)
		if strings.Contains(r.Staging, "acme-v02.api.letsencrypt.org") {
			v.errorf(key+".staging", "is a directory that issues for real: a rehearsal there costs what it should save")
		}
	}
}
