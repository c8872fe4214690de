package local

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// outside is where the server of a data directory lives that only root may enter.
const outside = "/var/lib/footfall"

// home is the directory that holds one server: a data directory a major version ("18"), the
// password, the port and a lock. It belongs to us; only the data directories, and the password that
// initdb must read, belong to the server's user.
type home struct {
	dir string
	as  *account // nil: the server runs as ourselves
}

// openHome finds or makes the server's home for our data directory dir (absolute, links resolved).
func openHome(dir string, log *slog.Logger) (home, error) {
	h := home{dir: filepath.Join(dir, "postgres")}
	as, err := serverAccount()
	if err != nil {
		return home{}, err
	}
	if as == nil {
		return h, os.MkdirAll(h.dir, 0o700)
	}
	if h.as, err = h.owner(as); err != nil {
		return home{}, err
	}
	sign := filepath.Join(dir, "postgres.location")
	if b, err := os.ReadFile(sign); err == nil {
		h.dir, err = readSign(string(b))
		if err != nil {
			return home{}, fmt.Errorf("read %s: %w", sign, err)
		}
	} else if blocked := h.openWay(dir); blocked != "" {
		if majors, _ := h.majors(); len(majors) > 0 {
			return home{}, fmt.Errorf("reach %s: user %s may not enter %s", h.dir, h.as.name, blocked)
		}
		h.dir = outsideDir(dir)
		log.Info("PostgreSQL's files live elsewhere: its user may not enter the data directory",
			"user", h.as.name, "closed", blocked, "files", h.dir, "noted_in", sign)
		note := fmt.Sprintf("PostgreSQL's files are in:\n%s\n", h.dir)
		if err := os.WriteFile(sign, []byte(note), 0o600); err != nil {
			return home{}, err
		}
	}
	if h.as, err = h.owner(h.as); err != nil {
		return home{}, err
	}
	return h, h.prepare()
}

// owner is the user that the newest data directory belongs to, else the given one: the user
// postgres may have come to this machine after nobody made the data.
func (h home) owner(otherwise *account) (*account, error) {
	majors, err := h.majors()
	if err != nil || len(majors) == 0 {
		return otherwise, err
	}
	return ownerOf(h.data(majors[0]))
}

// prepare makes the home as root. Its mode 0711 lets the server's user pass through to its data
// directory and change nothing on the way.
func (h home) prepare() error {
	if err := os.MkdirAll(h.dir, 0o711); err != nil {
		return err
	}
	dirs := []string{h.dir}
	if filepath.Dir(h.dir) == outside {
		dirs = append(dirs, outside)
	}
	for _, dir := range dirs {
		if err := os.Chmod(dir, 0o711); err != nil {
			return err
		}
	}
	if blocked := h.as.blockedAt(filepath.Join(h.dir, "data")); blocked != "" {
		return fmt.Errorf("reach %s: user %s may not enter %s", h.dir, h.as.name, blocked)
	}
	return nil
}

// openWay returns the parent that keeps the server's user out of the home, or "". Our own data
// directory, when it is closed to everybody (0700), it opens for passing by the server's group:
// better than keeping the database on another disk than the one that was asked for.
func (h home) openWay(dir string) string {
	if blocked := h.as.blockedAt(dir); blocked != "" {
		return blocked
	}
	info, err := os.Stat(dir)
	if err != nil {
		return dir
	}
	if h.as.mayEnter(info) {
		return ""
	}
	ours := info.Sys().(*syscall.Stat_t).Uid == 0 && info.Mode().Perm()&0o077 == 0
	if !ours || os.Chown(dir, -1, int(h.as.gid)) != nil || os.Chmod(dir, 0o710) != nil {
		return dir
	}
	return ""
}

func outsideDir(dir string) string {
	return filepath.Join(outside, fmt.Sprintf("%x", sha256.Sum256([]byte(dir)))[:16])
}

// readSign takes the last line of postgres.location. Only a place that we would have chosen
// ourselves counts: root must not be led elsewhere by a file.
func readSign(text string) (string, error) {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	dir := filepath.Clean(lines[len(lines)-1])
	if filepath.Dir(dir) != outside {
		return "", fmt.Errorf("%q is not a directory in %s", dir, outside)
	}
	return dir, nil
}

// data is the data directory of one major version.
func (h home) data(major int) string { return filepath.Join(h.dir, strconv.Itoa(major)) }

// majors lists the versions that have a data directory here, newest first. A directory whose
// content does not agree with its name is an error: it is somebody's data, so hands off.
func (h home) majors() ([]int, error) {
	entries, err := os.ReadDir(h.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var majors []int
	for _, e := range entries {
		major, err := strconv.Atoi(e.Name())
		if err != nil || !e.IsDir() {
			continue
		}
		b, err := os.ReadFile(filepath.Join(h.data(major), "PG_VERSION"))
		if err != nil {
			return nil, fmt.Errorf("recognise data directory %s: %w", h.data(major), err)
		}
		if v := strings.TrimSpace(string(b)); v != e.Name() {
			return nil, fmt.Errorf("data directory %s is of version %q: left alone", h.data(major), v)
		}
		majors = append(majors, major)
	}
	slices.Sort(majors)
	slices.Reverse(majors)
	return majors, nil
}

func (h home) passwordFile() string { return filepath.Join(h.dir, "password") }

// password returns the superuser's password and makes one where there is none yet. A data directory
// without its password is an error.
func (h home) password(haveData bool) (string, error) {
	b, err := os.ReadFile(h.passwordFile())
	if s := strings.TrimSpace(string(b)); err == nil && s != "" {
		return s, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if haveData {
		return "", fmt.Errorf("read the database's password: %s is gone or empty; put it back from "+
			"a backup", h.passwordFile())
	}
	s := rand.Text()
	return s, writeFile(h.passwordFile(), s+"\n")
}

// port returns the port of the last start if it is still free, else another one, and keeps it:
// addresses that people have noted stay good.
func (h home) port() (int, error) {
	path := filepath.Join(h.dir, "port")
	if b, err := os.ReadFile(path); err == nil {
		port, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err == nil && port > 0 && port < 1<<16 && isFree(port) {
			return port, nil
		}
	}
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	return port, writeFile(path, strconv.Itoa(port)+"\n")
}

func isFree(port int) bool {
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && ln.Close() == nil
}
