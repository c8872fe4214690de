package parts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Disk is a small ext4 on a loop device, mounted in a directory.
type Disk struct{ Dir, image string }

// NewDisk makes a disk of some bytes below dir. It needs root, and loop devices, which
// containers often lack: then it returns an error and has left nothing.
func NewDisk(dir string, bytes int64) (*Disk, error) {
	d := &Disk{Dir: filepath.Join(dir, "disk"), image: filepath.Join(dir, "disk.ext4")}
	if err := os.MkdirAll(d.Dir, 0o755); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"truncate", "-s", strconv.FormatInt(bytes, 10), d.image},
		{"mkfs.ext4", "-q", "-F", "-m", "0", d.image},
		{"mount", "-o", "loop", d.image, d.Dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			os.Remove(d.image)
			return nil, fmt.Errorf("make a loop disk: %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return d, nil
}

// Fill leaves so many bytes free, until empty is called.
func (d *Disk) Fill(left int64) (empty func() error, err error) {
	filler := filepath.Join(d.Dir, "filler")
	empty = func() error {
		if err := os.Remove(filler); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	n := Free(d.Dir) - left
	if n <= 0 {
		return empty, nil
	}
	out, err := exec.Command("fallocate", "-l", strconv.FormatInt(n, 10), filler).CombinedOutput()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("fill disk: %w: %s", err, out), empty())
	}
	return empty, nil
}

// Close unmounts it, also when a program still holds a file there.
func (d *Disk) Close() error {
	err := syscall.Unmount(d.Dir, 0)
	if err != nil {
		err = syscall.Unmount(d.Dir, syscall.MNT_DETACH)
	}
	return errors.Join(err, os.Remove(d.image))
}

// Free is how many bytes a directory's disk has left.
func Free(dir string) int64 {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}
