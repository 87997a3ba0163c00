package remote

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Refusals and ends that callers tell apart.
var (
	// ErrFenced says that a host has seen a higher token: somebody else acts by now.
	ErrFenced = errors.New("the host has seen a higher token")
	// ErrClaimed says that another deployment took this one over, with all that it had begun.
	ErrClaimed = errors.New("another deployment took over on the host")
)

// tokenMark begins the name of the file of a token. One file for each token, and the highest
// counts: two that write at once cannot make it lower, as they could by writing one file.
const tokenMark = "token-"

// place is where a certificate's destination keeps its state on a host.
type place struct {
	disk
	tokens, deployments string
	uid                 uint32
}

// place makes the folders of the state, which are 0700.
func (d disk) place(o Order, sudo bool) (place, error) {
	root := o.Folder
	if root == "" {
		var err error
		if root, err = d.defaultFolder(sudo); err != nil {
			return place{}, err
		}
	}
	tokens := path.Join(root, folderName(o.Certificate))
	p := place{disk: d, tokens: tokens, deployments: path.Join(tokens, folderName(o.Destination.Name))}
	for _, dir := range []string{root, tokens, p.deployments} {
		if err := d.ensure(dir); err != nil {
			return place{}, err
		}
	}
	var err error
	if p.uid, err = d.whoami(p.deployments); err != nil {
		return place{}, err
	}
	return p, d.trusted(p.deployments, p.uid)
}

// rootFolder is where the state lies when the files are root's.
const rootFolder = "/var/lib/certmedic-remote"

// defaultFolder is below the home of the user, or for root where services keep their state.
func (d disk) defaultFolder(sudo bool) (string, error) {
	if sudo { // whose server still starts in the home of the user, who may write there
		return rootFolder, nil
	}
	home, err := d.RealPath(".")
	if err != nil {
		return "", fmt.Errorf("looking for the home of the user: %w", err)
	}
	if home == "/root" || home == "/" {
		return rootFolder, nil
	}
	return path.Join(home, ".certmedic-remote"), nil
}

// ensure makes a folder of ours, or proves that the one that is there is closed to others. One that
// is empty is closed: the connection may have been cut right after it was made.
func (d disk) ensure(dir string) error {
	info, err := d.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		errMade := d.Mkdir(dir)
		if info, err = d.Lstat(dir); err != nil { // else somebody of us made it meanwhile
			return named("making the folder", dir, errors.Join(errMade, err))
		}
	}
	if err != nil {
		return named("looking at", dir, err)
	}
	if info.IsDir() && info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	entries, err := d.ReadDir(dir)
	switch {
	case err != nil:
		return named("reading the folder", dir, err)
	case len(entries) == 0:
		return named("closing the folder", dir, d.Chmod(dir, 0o700))
	}
	return fmt.Errorf("%q on the host is no folder of mode 0700, and backups of keys go there", dir)
}

// whoami returns the user id of the sftp server: that of what it makes.
func (d disk) whoami(dir string) (uint32, error) {
	probe := path.Join(dir, "whoami-"+random())
	if err := d.mkdirOurs(probe); err != nil {
		return 0, err
	}
	stat, _, err := d.stat(probe)
	if err := errors.Join(err, d.RemoveDirectory(probe)); err != nil {
		return 0, err
	}
	if stat == nil {
		return 0, fmt.Errorf("looking at %q: %w", probe, fs.ErrNotExist)
	}
	return stat.UID, nil
}

// raise makes the token known on the host and refuses it where there is a higher one.
func (p place) raise(token uint64) error {
	f, err := p.OpenFile(p.token(token), os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("keeping the token on the host: %w", err)
	}
	if err := errors.Join(f.Chmod(0o600), p.sync(f), f.Close()); err != nil {
		return fmt.Errorf("keeping the token on the host: %w", err)
	}
	p.syncDir(p.tokens)
	highest, lower, err := p.highest(token)
	if err != nil {
		return err
	}
	if highest > token {
		return errors.Join(p.fenced(token, highest), gone(p.Remove(p.token(token))))
	}
	for _, old := range lower {
		if err := gone(p.Remove(p.token(old))); err != nil {
			return fmt.Errorf("removing a lower token: %w", err)
		}
	}
	return nil
}

// highest returns the highest token that the host knows, and those that are lower than this one.
func (p place) highest(token uint64) (highest uint64, lower []uint64, err error) {
	entries, err := p.ReadDir(p.tokens)
	if err != nil {
		return 0, nil, fmt.Errorf("reading the tokens of the host: %w", err)
	}
	if len(entries) > maxEntries {
		return 0, nil, fmt.Errorf("reading the tokens of the host: more than %d entries in %q", maxEntries, p.tokens)
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), tokenMark)
		n, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil {
			continue
		}
		highest = max(highest, n)
		if n < token {
			lower = append(lower, n)
		}
	}
	return highest, lower, nil
}

func (p place) fenced(token, highest uint64) error {
	return fmt.Errorf("%w: %d was here, this one is %d (kept in %q)", ErrFenced, highest, token, p.tokens)
}

func (p place) token(n uint64) string {
	return path.Join(p.tokens, fmt.Sprintf("%s%020d", tokenMark, n))
}

// gone takes it well that something is not there any more.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func random() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
