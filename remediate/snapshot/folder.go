package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// tempPrefix begins the names of folders that are being written or removed. What is left of
// them was left by a process that was killed.
const tempPrefix = ".certmedic-"

// maxFolder bounds the length of a folder's name, in bytes; longer ones are cut and hashed.
const maxFolder = 200

// folder turns a certificate's name, whatever characters it has, into the name of a folder.
// No two certificates have the same.
func folder(certificate string) string {
	var b strings.Builder
	for i := range len(certificate) {
		c := certificate[i]
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	switch name := b.String(); {
	case name == "":
		return "~"
	case len(name) > maxFolder:
		sum := sha256.Sum256([]byte(certificate))
		return name[:maxFolder/2] + "~" + hex.EncodeToString(sum[:16])
	default:
		return name
	}
}

// nameOf is the way back from a folder to the certificate's name, or to the folder's own name
// where it was cut. It is for people: what decides is in the folder.
func nameOf(folder string) string {
	if name, err := url.PathUnescape(folder); err == nil && folder != "~" && len(folder) <= maxFolder && !strings.Contains(folder, "~") {
		return name
	}
	return folder
}

// remove removes the folder of a snapshot: its name first, so that it is never listed in part.
func remove(dir string) error {
	parent := filepath.Dir(dir)
	aside, err := os.MkdirTemp(parent, tempPrefix)
	if err != nil {
		return fmt.Errorf("removing %q: %w", dir, err)
	}
	errRename := os.Rename(dir, filepath.Join(aside, "gone"))
	if err := errors.Join(errRename, os.RemoveAll(aside), syncDir(parent)); err != nil {
		return fmt.Errorf("removing %q: %w", dir, err)
	}
	return nil
}

// subfolders lists the folders in dir that are whole, and those that were left half-done.
// Without dir there are none.
func subfolders(dir string) (whole, left []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), tempPrefix):
			left = append(left, e.Name())
		case e.IsDir():
			whole = append(whole, e.Name())
		}
	}
	return whole, left, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// maxFile bounds what is read of a file, in bytes.
const maxFile = 1 << 20

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%q is larger than %d bytes", path, maxFile)
	}
	return data, nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
