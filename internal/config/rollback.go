package config

import (
	"fmt"
	"slices"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/remediate/rollback"
)

// Rollback says how an older version of a certificate gets to where it is served.
type Rollback struct {
	Way rollback.Way `yaml:"way" enum:"auto deploy-path append-only pinned" doc:"deploy-path: by the deploy steps, and the source stays as it is. append-only: as a further version in certbot's archive, then by the lineage's deploy hooks, or by deploy steps that install no files. pinned: certbot's links lead to the older version, and certbot is kept from renewing. auto: deploy-path where a deploy step installs files, else append-only."`
}

func (r *Rollback) setDefaults() { r.Way = rollback.WayAuto }

// RollbackWays returns what says how a certificate of the configuration is rolled back. One that
// is not configured is rolled back by no particular way.
func RollbackWays(c *Config) func(certmedic.Certificate) rollback.Way {
	ways := map[string]rollback.Way{}
	for _, cert := range c.Certificates {
		ways[cert.Name] = cert.Rollback.Way
	}
	return func(c certmedic.Certificate) rollback.Way {
		if way, ok := ways[c.Name]; ok {
			return way
		}
		return rollback.WayAuto
	}
}

// rollback checks that the way is one that the certificate has.
func (v *validator) rollback(key string, c Certificate) {
	way, installs := c.Rollback.Way, slices.ContainsFunc(c.Deploy, Destination.installs)
	switch {
	case way == rollback.WayDeployPath && !installs:
		v.errorf(key+".way", "deploy-path is by the files that deploy installs, and there are none")
	case (way == rollback.WayAppend || way == rollback.WayPinned) && c.Source.Certbot == nil:
		v.errorf(key+".way", "%s changes a lineage of certbot, and the source is none", way)
	case (way == rollback.WayAppend || way == rollback.WayPinned) && installs:
		v.errorf(key+".way", "%s is for services that load what certbot's links lead to; with files to install it is deploy-path", way)
	}
}

// installs reports whether the destination gets copies of its own.
func (d Destination) installs() bool { return len(d.Files) > 0 || d.pushes() }

// rollbackAllowed warns where a rollback that is allowed has no way.
func (v *validator) rollbackAllowed(key string, i int, c Certificate) {
	if !slices.ContainsFunc(c.Deploy, Destination.installs) && c.Source.Certbot == nil {
		v.warnf(fmt.Sprintf("%s[%d]", key, i), "there is no way to roll it back: deploy installs no files, and the source is no lineage of certbot")
	}
}
