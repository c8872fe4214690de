package spool

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// deniedDisk makes no file.
type deniedDisk struct {
	osDisk
	err error
}

func (d deniedDisk) create(path string) (file, error) {
	return nil, &fs.PathError{Op: "open", Path: path, Err: d.err}
}

func TestADirectoryThatCannotBeUsedIsToldWithWhatToDo(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		unix.EROFS:  "read-only file system: mount it for writing, or choose another directory",
		unix.ENOSPC: "no space left on device: make room on its disk, or choose another directory",
		unix.EDQUOT: "quota exceeded: make room on its disk, or choose another directory",
		unix.EACCES: "permission denied: give it to user ",
		unix.EIO:    "input/output error",
	} {
		o := options(t.TempDir())
		o.disk = deniedDisk{err: err}
		s, got := Open(o)
		if got == nil {
			s.Close()
			t.Errorf("opened in spite of %v", err)
			continue
		}
		if !errors.Is(got, err) || !strings.HasPrefix(got.Error(), "open spool "+o.Dir+": ") ||
			!strings.Contains(got.Error(), want) {
			t.Errorf("%v is told as %q, want %q", err, got, want)
		}
		// The lock is free again.
		o.disk = nil
		open(t, o)
	}
}

// The same from a real directory: of root's too, because only this thread becomes nobody.
func TestADirectoryOfAnotherUserIsToldWithWhatToDo(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "spool")
	if err := errors.Join(os.Chmod(filepath.Dir(parent), 0o755), os.Chmod(parent, 0o755), os.Mkdir(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error)
	go func() {
		if os.Geteuid() == 0 {
			becomeNobody() // the thread ends with the goroutine
		}
		o := options(dir)
		s, err := Open(o)
		if err == nil {
			s.Close()
		}
		errs <- err
	}()
	err := <-errs
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "choose another directory") {
		t.Errorf("Open: %v", err)
	}
}

func TestAFileInThePlaceOfTheDirectoryIsTold(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "spool")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(options(path))
	if err == nil {
		s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "open spool "+path) || !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("Open: %v", err)
	}
}
