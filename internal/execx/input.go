package execx

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// input returns a file in memory from which a command reads data. Unlike a pipe it needs nobody
// who writes, and nobody has to wait for a command that does not read.
func input(data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("stdin", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("creating its standard input: %w", err)
	}
	file := os.NewFile(uintptr(fd), "stdin")
	if _, err = file.Write(data); err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = file.Close() // the error before it counts
		return nil, fmt.Errorf("writing its standard input: %w", err)
	}
	return file, nil
}
