package remote

import (
	"context"
	"errors"
	"io/fs"

	"github.com/certmedic/certmedic/remediate/remote/session"
)

// Hashes returns the SHA-256 of the files at paths on a host, as 64 hexadecimal digits; empty
// where there is no file. By them a caller tells which version is deployed there, and whether a
// push of its own arrived.
func Hashes(ctx context.Context, s *session.Session, paths []string) (map[string]string, error) {
	files, err := s.Files(ctx)
	if err != nil {
		return nil, err
	}
	hashes := make(map[string]string, len(paths))
	err = s.Within(ctx, fileTimeout, func() error {
		for _, name := range paths {
			data, err := disk{files}.read(name)
			if errors.Is(err, fs.ErrNotExist) {
				hashes[name] = ""
				continue
			}
			if err != nil {
				return err
			}
			hashes[name] = sum(data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return hashes, nil
}
