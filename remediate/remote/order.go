package remote

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/certmedic/certmedic"
)

// Order says what a host shall get. Its files may be none: then the service is only made to load
// what is there.
type Order struct {
	Certificate string
	Version     certmedic.Fingerprint
	Token       uint64 // of the lease under which it is given; a host refuses one that is lower than the last
	Destination certmedic.Destination
	Files       []File
	Env         []string      // added to the environment of the commands, "NAME=value"
	Timeout     time.Duration // of each command; 0: a minute
	FileTimeout time.Duration // of each piece of work on files, such as staging all of them; 0: two minutes
	Folder      string        // on the host, for tokens, journals and backups; empty: /var/lib/certmedic-remote for root, else ~/.certmedic-remote
}

// File is a file of an order with its content.
type File struct {
	certmedic.InstalledFile
	Data []byte
}

// maxFile bounds a file, in bytes.
const maxFile = 1 << 20

// check says what is wrong with an order, before a host is asked for anything.
func (o Order) check() error {
	d := o.Destination
	switch {
	case o.Certificate == "" || d.Name == "":
		return fmt.Errorf("an order names its certificate and its destination")
	case len(d.HAProxy.Sockets) > 0:
		return fmt.Errorf("destination %q: HAProxy's runtime socket is for this host only; on others it is a reload", d.Name)
	case d.Signal.PIDFile != "":
		return fmt.Errorf("destination %q: signals are for this host only; on others they are the command reload", d.Name)
	case d.Swap != "" && !clean(d.Swap):
		return fmt.Errorf("destination %q: %q is no clean absolute path", d.Name, d.Swap)
	case o.Folder != "" && !clean(o.Folder):
		return fmt.Errorf("destination %q: %q is no clean absolute path", d.Name, o.Folder)
	}
	seen := map[string]bool{}
	for _, f := range o.Files {
		if err := f.check(); err != nil {
			return fmt.Errorf("destination %q: %w", d.Name, err)
		}
		if seen[f.To] {
			return fmt.Errorf("destination %q: %q is there twice", d.Name, f.To)
		}
		seen[f.To] = true
		if below, ok := strings.CutPrefix(f.To, d.Swap+"/"); d.Swap != "" && (!ok || below == "") {
			return fmt.Errorf("destination %q: %q does not lie below %q", d.Name, f.To, d.Swap)
		}
	}
	return nil
}

func (f File) check() error {
	if !clean(f.To) {
		return fmt.Errorf("%q is no clean absolute path", f.To)
	}
	if len(f.Data) > maxFile {
		return fmt.Errorf("%q is larger than %d bytes", f.To, maxFile)
	}
	if _, err := strconv.ParseUint(cmp.Or(f.Mode, "0"), 8, 12); err != nil {
		return fmt.Errorf("%q: the mode %q is not octal", f.To, f.Mode)
	}
	return nil
}

func clean(name string) bool {
	return path.IsAbs(name) && path.Clean(name) == name && name != "/" && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' })
}

// inOrder returns the files in the order of their renames: keys first, what holds the leaf last,
// so that a service that watches its certificate's file finds the key in place.
func (o Order) inOrder() []File {
	role := func(f File) int {
		switch {
		case f.From == certmedic.PartPrivkey:
			return 0
		case !f.From.HasLeaf():
			return 1
		}
		return 2
	}
	return slices.SortedStableFunc(slices.Values(o.Files), func(a, b File) int { return cmp.Compare(role(a), role(b)) })
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// folderName makes the name of a certificate or a destination that of a folder: readable, and
// another one for each.
func folderName(name string) string {
	plain := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", r) {
			return r
		}
		return '_'
	}, name)
	return plain[:min(40, len(plain))] + "-" + sum([]byte(name))[:12]
}
