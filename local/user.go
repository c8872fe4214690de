package local

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// account is the user that PostgreSQL runs as when we are root. Nil means ourselves.
type account struct {
	name     string
	uid, gid uint32
}

// serverAccount is nil unless we are root: PostgreSQL refuses to run as root.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		// macOS writes nobody's ids as -2.
		uid, uidErr := strconv.ParseInt(u.Uid, 10, 64)
		gid, gidErr := strconv.ParseInt(u.Gid, 10, 64)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("run PostgreSQL as root: it refuses, and there is no user postgres " +
		"or nobody to run it as")
}

// ownerOf is the user that an existing data directory belongs to; PostgreSQL takes no other.
func ownerOf(dir string) (*account, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid == 0 {
		return nil, fmt.Errorf("%s belongs to root, and PostgreSQL refuses to run as root", dir)
	}
	name := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return &account{name: name, uid: st.Uid, gid: st.Gid}, nil
}

// blockedAt returns the first parent of path that the account may not enter, or "". It reads mode
// bits only; what an access list forbids shows when the server starts.
func (a *account) blockedAt(path string) string {
	if a == nil {
		return ""
	}
	for _, dir := range parents(path) {
		if info, err := os.Stat(dir); err != nil || !a.mayEnter(info) {
			return dir
		}
	}
	return ""
}

func (a *account) mayEnter(info os.FileInfo) bool {
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case st.Uid == a.uid:
		return info.Mode()&0o100 != 0
	case st.Gid == a.gid:
		return info.Mode()&0o010 != 0
	default:
		return info.Mode()&0o001 != 0
	}
}

// credential is what exec needs to run a program as the account.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own gives a file or directory to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// parents lists the directories above an absolute path, from the root down.
func parents(path string) []string {
	var dirs []string
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
		if dir == filepath.Dir(dir) {
			slices.Reverse(dirs)
			return dirs
		}
	}
}
