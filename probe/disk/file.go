package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// readFile reads a regular file of at most limit bytes. It never blocks on a pipe.
func readFile(path string, limit int64) ([]byte, error) {
	data, _, err := readWhole(path, limit)
	return data, err
}

// readWhole is readFile, and says in which state the file was when it was opened. It makes
// the four system calls that are needed (open, fstat, read, close) and no more: with
// thousands of sources they are what a scan costs.
func readWhole(path string, limit int64) ([]byte, fileID, error) {
	failed := func(err error) ([]byte, fileID, error) {
		return nil, fileID{}, &os.PathError{Op: "read", Path: path, Err: err}
	}
	fd, err := openFile(path)
	if err != nil {
		return failed(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed(err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return failed(errors.New("not a regular file"))
	}
	if st.Size > limit {
		return failed(fmt.Errorf("larger than %d bytes", limit))
	}
	data, err := readAll(fd, st.Size, limit)
	if err != nil {
		return failed(err)
	}
	return data, newFileID(&st), nil
}

// openFile opens a file for reading, or a pipe without waiting for its writer.
func openFile(path string) (int, error) { return openAs(path, 0) }

func openAs(path string, flags int) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// readAll reads to the end, which is where the file was said to end once a read that asked
// for more brought no more. A file that shrinks meanwhile ends early, one that grows is read
// up to the limit.
func readAll(fd int, size, limit int64) ([]byte, error) {
	data := make([]byte, 0, size+1)
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		}
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) == size:
			return data, nil
		case int64(len(data)) > limit:
			return nil, fmt.Errorf("larger than %d bytes", limit)
		case len(data) == cap(data):
			data = append(data, 0)[:len(data)]
		}
	}
}

// listFolder returns the names in a folder, in no order. It asks for nothing but names,
// which os.ReadDir makes more of.
func listFolder(path string) ([]string, error) {
	failed := func(err error) ([]string, error) {
		return nil, &os.PathError{Op: "list", Path: path, Err: err}
	}
	fd, err := openAs(path, unix.O_DIRECTORY)
	if err != nil {
		return failed(err)
	}
	defer unix.Close(fd)
	var names []string
	var buf [4096]byte
	for {
		n, err := unix.ReadDirent(fd, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return failed(err)
		case n <= 0:
			return names, nil
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}

// readLink returns what a link points to.
func readLink(path string) (string, error) {
	var buf [256]byte
	n, err := unix.Readlink(path, buf[:])
	if err != nil || n == len(buf) {
		return os.Readlink(path) // tells the error, and has room for any target
	}
	return string(buf[:n]), nil
}
