package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxContent = 1 << 20 // bytes of a file that [Seen] reads
	maxMaps    = 65_536  // mapped areas of one process that are looked at
	openTries  = 8       // of a path in which something is renamed at this very moment
)

// File is a file as a process sees it.
type File struct {
	Path    string // inside the process' root
	Device  uint64
	Inode   uint64
	ModTime time.Time // zero where it may not be seen
	Deleted bool      // it has no name any more: it was removed, or another file was put into its place
	Mount   string    // the mount point below which it lies, inside the process' root; empty where that is not known
	Source  string    // what of its file system is mounted there: the path of a folder, or of the one file
	Content []byte    // of a regular file up to 1 MiB, of [Seen] only
}

// Open returns the regular files that a process has open or mapped, each once, the open ones
// first. The error is [fs.ErrPermission] where this user may not see them.
func Open(proc string, pid int) ([]File, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	names, err := openFiles(filepath.Join(dir, "fd"))
	if err != nil {
		return nil, fmt.Errorf("reading the open files of process %d: %w", pid, err)
	}
	var found []File
	for _, name := range names {
		path := filepath.Join(dir, "fd", name)
		target, err := os.Readlink(path)
		if file, ok := regular(path); ok && err == nil && strings.HasPrefix(target, "/") { // not anon_inode:[eventpoll]
			file.Path, file.Deleted = strings.CutSuffix(target, deletedMark)
			found = append(found, file)
		}
	}
	text, err := readText(filepath.Join(dir, "maps"))
	if err != nil {
		err = fmt.Errorf("reading the mapped files of process %d: %w", pid, err)
	}
	for _, area := range parseMaps(text) {
		if file, ok := regular(filepath.Join(dir, "map_files", area.place)); ok {
			area.file.Device, area.file.Inode, area.file.ModTime = file.Device, file.Inode, file.ModTime
		}
		found = append(found, area.file)
	}
	root, _ := os.Readlink(filepath.Join(dir, "root"))
	return place(once(found), root, readMounts(dir)), err
}

// regular returns what is known of a regular file by its attributes.
func regular(path string) (File, bool) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return File{}, false
	}
	return attributes(info), true
}

func attributes(info fs.FileInfo) File {
	file := File{ModTime: info.ModTime().UTC()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		file.Device, file.Inode = uint64(sys.Dev), sys.Ino
	}
	return file
}

// once leaves out files that are there already: a process may have one open many times, and has
// a library mapped in several areas.
func once(files []File) []File {
	type identity struct {
		device, inode uint64
		path          string
	}
	seen := map[identity]bool{}
	var out []File
	for _, f := range files {
		if id := (identity{f.Device, f.Inode, f.Path}); !seen[id] {
			seen[id] = true
			out = append(out, f)
		}
	}
	return out
}

// place gives files that the kernel has told by their paths in the mount namespace their paths
// inside the root of the process, and their mounts.
func place(files []File, root string, mounts []mount) []File {
	for i := range files {
		files[i].Path = below(root, files[i].Path)
		files[i].Mount, files[i].Source = covering(mounts, files[i].Path)
	}
	return files
}

// below returns a path as it is called below root, which is another one than "/" after a chroot.
func below(root, path string) string {
	if rest, ok := strings.CutPrefix(path, root); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return path
}

// area is a mapped file.
type area struct {
	place string // its name below map_files
	file  File
}

// parseMaps reads /proc/PID/maps, as proc_pid_maps(5) has it: "ADDRESSES PERMS OFFSET DEVICE INODE
// PATH". What is no file has an inode of 0 or a name in square brackets.
func parseMaps(text string) []area {
	var out []area
	known := map[string]bool{}
	count := 0
	for line := range strings.Lines(text) {
		if count++; count > maxMaps {
			break
		}
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 6)
		if len(fields) < 6 {
			continue
		}
		path := strings.TrimLeft(fields[5], " ")
		inode, err := strconv.ParseUint(fields[4], 10, 64)
		if err != nil || inode == 0 || !strings.HasPrefix(path, "/") {
			continue
		}
		key := fields[4] + path
		if known[key] {
			continue
		}
		known[key] = true
		file := File{Inode: inode, Device: device(fields[3])}
		file.Path, file.Deleted = strings.CutSuffix(unescapeOctal(path), deletedMark)
		out = append(out, area{place: unpadded(fields[0]), file: file})
	}
	return out
}

// unpadded returns the name below map_files of an area, whose addresses have no leading zeros there.
func unpadded(addresses string) string {
	begin, end, _ := strings.Cut(addresses, "-")
	return strings.TrimLeft(begin, "0") + "-" + strings.TrimLeft(end, "0")
}

// device reads MAJOR:MINOR in hexadecimal digits.
func device(text string) uint64 {
	high, low, _ := strings.Cut(text, ":")
	major, _ := strconv.ParseUint(high, 16, 32)
	minor, _ := strconv.ParseUint(low, 16, 32)
	return unix.Mkdev(uint32(major), uint32(minor))
}

// Seen returns a path as a process sees it, links followed inside its root: none of them leads
// out of it. It needs Linux 5.6. The error is [fs.ErrNotExist] where there is nothing, and
// [fs.ErrPermission] where this user may not look.
func Seen(proc string, pid int, path string) (File, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	root, err := unix.Open(filepath.Join(dir, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return File{}, fmt.Errorf("looking at %q as process %d does: %w", path, pid, err)
	}
	defer unix.Close(root)
	file, err := seenBelow(root, path)
	if err != nil {
		return File{}, fmt.Errorf("looking at %q as process %d does: %w", path, pid, err)
	}
	prefix, _ := os.Readlink(filepath.Join(dir, "root"))
	return place([]File{file}, prefix, readMounts(dir))[0], nil
}

// seenBelow looks at a path without opening it, and then at a regular file's content: opening
// a device or a pipe may do something.
func seenBelow(root int, path string) (File, error) {
	at, err := openBelow(root, path, unix.O_PATH)
	if err != nil {
		return File{}, err
	}
	defer at.Close()
	info, err := at.Stat()
	if err != nil {
		return File{}, err
	}
	file := attributes(info)
	file.Path = filepath.Join("/", path)
	if target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", at.Fd())); err == nil {
		file.Path, file.Deleted = strings.CutSuffix(target, deletedMark)
	}
	if !info.Mode().IsRegular() || info.Size() > maxContent {
		return file, nil
	}
	reader, err := openBelow(root, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return File{}, err
	}
	defer reader.Close()
	if now, err := reader.Stat(); err != nil || !os.SameFile(info, now) {
		return File{}, errors.Join(errors.New("it is being replaced"), err)
	}
	file.Content, err = io.ReadAll(io.LimitReader(reader, maxContent))
	return file, err
}

// openBelow opens a path as if root were "/".
func openBelow(root int, path string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := unix.Openat2(root, path, &how)
	for tries := 1; tries < openTries && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)); tries++ {
		fd, err = unix.Openat2(root, path, &how)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}
