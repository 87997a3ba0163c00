package dir

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/certmedic/certmedic/internal/coord"
	"github.com/certmedic/certmedic/internal/coord/objects"
	"github.com/certmedic/certmedic/internal/ownership"
)

// Options are what an engine is made with.
type Options struct {
	Dir     string // for certmedic alone, and there already: an empty mount point is no shared folder
	Member  string
	TTL     time.Duration // of leases and members
	Timeout time.Duration // of a call; 0: 5 s
}

const (
	defaultTimeout = 5 * time.Second
	resolution     = time.Second // of file times, at the worst that is common
)

// Open returns a session of a member. It proves that the folder honours what it relies on, and refuses it otherwise.
// warning says what is doubtful about a folder that is accepted; it is empty where nothing is.
func Open(ctx context.Context, o Options) (e coord.Engine, warning string, err error) {
	return open(ctx, o, resolution)
}

func open(ctx context.Context, o Options, resolution time.Duration) (e coord.Engine, warning string, err error) {
	if err := ownership.Check(o.Dir); err != nil {
		return nil, "", fmt.Errorf("checking the shared folder: %w", err)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	s := &store{root: o.Dir, clock: filepath.Join(o.Dir, clockPrefix+url.QueryEscape(o.Member)), slots: make(chan struct{}, atWork)}
	engine, err := objects.New(s, objects.Options{Member: o.Member, TTL: o.TTL, Timeout: o.Timeout, Resolution: resolution})
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if _, err := within(ctx, s, func() (any, error) { return nil, s.probe() }); err != nil {
		return nil, "", fmt.Errorf("the folder %q cannot hold leases: %w", o.Dir, err)
	}
	return engine, doubt(o.Dir), nil
}

// probe tries what the folder has to do.
func (s *store) probe() error {
	if _, err := s.now(); err != nil {
		return err
	}
	folder, err := os.MkdirTemp(s.root, ".probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	v := version{header: header{Key: "probe", Write: "1"}, generation: 1}
	if err := link(folder, v); err != nil {
		return fmt.Errorf("linking a file: %w", err)
	}
	switch err := link(folder, v); {
	case err == nil:
		return errors.New("linking a file to a name that is taken is not refused")
	case !errors.Is(err, coord.ErrStale):
		return fmt.Errorf("linking a file to a name that is taken: %w", err)
	}
	all, _, err := generations(folder)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("a listing shows %d files where there is one", len(all))
	}
	return err
}

// doubt says what kind of file system a folder is on, where that matters. The numbers are those of
// linux/magic.h.
func doubt(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return ""
	}
	return doubtOf(uint32(st.Type))
}

func doubtOf(kind uint32) string {
	switch kind {
	case unix.NFS_SUPER_MAGIC:
		return "it is on NFS: leases rely on link(2) and on the server's clock; members learn of each other's changes as late as attributes are cached (mount with actimeo=1 or noac), and a soft mount can report writes as failed that took place"
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "it is on SMB, where caching can hide the changes of other members: use another coordinator if you can"
	case unix.FUSE_SUPER_MAGIC, unix.V9FS_MAGIC, unix.CEPH_SUPER_MAGIC, unix.OCFS2_SUPER_MAGIC, unix.AFS_SUPER_MAGIC, unix.CODA_SUPER_MAGIC:
		return "it is on a shared file system whose link(2) may be known to one host first: use another coordinator if you can"
	}
	return "it is on a local file system: members on other hosts do not see it"
}
