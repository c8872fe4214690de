package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// diskFree returns the bytes an ordinary user can still write below dir.
func diskFree(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// disk is what a spool does to its segment files. The test of power loss has one
// that forgets what was not synced.
type disk interface {
	create(path string) (file, error) // not there before; to read and write
	open(path string) (file, error)   // to read and write
	remove(path string) error
	rename(from, to string) error
	syncDir(dir string) error
}

// file is an open segment file.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
	reserve(size int64) error // preallocate
	dataSync() error          // what was written, and the length needed to read it
}

type osDisk struct{}

func (osDisk) create(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) open(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) remove(path string) error     { return os.Remove(path) }
func (osDisk) rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) syncDir(dir string) error     { return syncDir(dir) }

type osFile struct{ *os.File }

func (f osFile) reserve(size int64) error { return preallocate(f.File, size) }
func (f osFile) dataSync() error          { return dataSync(f.File) }

// MakeDir makes dir, and what is missing above it, so that it survives power loss. A
// directory that is there already keeps its mode.
func MakeDir(dir string, mode fs.FileMode) error {
	dir = filepath.Clean(dir)
	parents := []string{filepath.Dir(dir)}
	for d := parents[0]; d != filepath.Dir(d); d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		parents = append(parents, filepath.Dir(d))
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	for _, parent := range parents {
		if err := syncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the creation and deletion of files in dir survive power loss.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("fsync directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
