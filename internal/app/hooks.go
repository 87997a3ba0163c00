package app

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/certmedic/certmedic"
	"github.com/certmedic/certmedic/internal/ownership"
	"github.com/certmedic/certmedic/probe/disk"
	"github.com/certmedic/certmedic/remediate/deploy"
)

// hooks returns certbot's deploy hooks for a certificate. The error says that the hooks, or
// what configures them, cannot be read or could be written by others: then none is run.
func hooks(c certmedic.Certificate) ([]deploy.Hook, error) {
	found, findings := disk.DeployHooks(c.Source)
	all := make([]deploy.Hook, 0, len(found))
	for _, f := range findings {
		if f.Code != certmedic.FilePermissions {
			return nil, fmt.Errorf("reading the deploy hooks: %s", f.Detail)
		}
		all = append(all, deploy.Hook{Skipped: f.Detail})
	}
	// Both say which hooks run: one by naming them, the other also by switching them off.
	var errs []error
	for _, file := range []string{"cli.ini", filepath.Join("renewal", c.Source.Lineage+".conf")} {
		err := ownership.Check(filepath.Join(c.Source.ConfigDir, file))
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, h := range found {
		all = append(all, deploy.Hook{Command: h.Command, Path: h.Path, Source: h.Source})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("checking who may configure the deploy hooks: %w", err)
	}
	return all, nil
}
