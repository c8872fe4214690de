package spool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// preallocate reserves a file's blocks, so that a full disk shows when a segment is
// begun and an fsync has no new length to write.
func preallocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) { // some network and union file systems
		return f.Truncate(size)
	}
	return err
}

func dataSync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }
