package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// preallocate reserves a file's blocks, so that a full disk shows when a segment is
// begun and an fsync has no new length to write.
func preallocate(f *os.File, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, unix.EINTR): // tmpfs gives up on a signal
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return f.Truncate(size) // some network and union file systems, some sandboxes
		default:
			return err
		}
	}
}

func dataSync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
