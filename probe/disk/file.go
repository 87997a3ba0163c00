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
// the four system calls that are needed and no more: with thousands of sources they are
// what a scan costs.
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
func openFile(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// readAll reads to the end. A file that shrinks meanwhile ends early, one that grows is
// read up to the limit.
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
		if int64(len(data)) > limit {
			return nil, fmt.Errorf("larger than %d bytes", limit)
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}
