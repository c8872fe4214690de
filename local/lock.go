package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrLocked says that another process, or this one a second time, holds the directory.
var ErrLocked = errors.New("directory is in use")

// Lock takes the directory for this process alone and creates it (mode 0700) where it is missing.
// The kernel drops the lock when the process ends, however it ends. The error wraps ErrLocked and
// says which pid holds the lock when somebody does. release may be called more than once.
func Lock(dir string) (release func() error, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := flock(f); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w by %s", dir, ErrLocked, holder(f))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := writePid(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write lock: %w", err)
	}
	return func() error {
		// The file stays: removing it would let two processes lock two different files of one name.
		err := f.Truncate(0)
		// A child that was forked and has not yet become its program shares the lock:
		// closing alone would leave it with the child for that moment.
		if err == nil {
			err = syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
		}
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if closeErr := f.Close(); !errors.Is(closeErr, os.ErrClosed) {
			return errors.Join(err, closeErr)
		}
		return nil
	}, nil
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func writePid(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Sprintf("process %d", pid)
	}
	return "another process"
}
