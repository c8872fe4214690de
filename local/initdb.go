package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// initdb makes the data directory of the installation's major version. It works in a sibling and
// renames at the end, so an interrupted run leaves only a sibling, which the next one removes.
func (h home) initdb(ctx context.Context, inst installation, say io.Writer) error {
	began := time.Now()
	fmt.Fprintf(say, "making a PostgreSQL %s database …\n", inst.version())
	unfinished, _ := filepath.Glob(h.data(inst.major) + ".new-*")
	for _, dir := range unfinished {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove unfinished data directory: %w", err)
		}
	}
	if err := h.as.own(h.passwordFile()); err != nil {
		return fmt.Errorf("show initdb the password: %w", err)
	}
	// Not every system knows C.UTF-8; C sorts the same and knows no letters beyond ASCII.
	var temp string
	var err error
	for _, locale := range []string{"C.UTF-8", "C"} {
		if temp, err = h.runInitdb(ctx, inst, locale); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("run initdb: %w", err)
	}
	if err := os.Rename(temp, h.data(inst.major)); err != nil {
		return fmt.Errorf("put data directory in place: %w", err)
	}
	if err := syncDir(h.dir); err != nil {
		return fmt.Errorf("put data directory in place: %w", err)
	}
	fmt.Fprintf(say, "made a PostgreSQL %s database in %.1f s\n",
		inst.version(), time.Since(began).Seconds())
	return nil
}

func (h home) runInitdb(ctx context.Context, inst installation, locale string) (string, error) {
	temp, err := os.MkdirTemp(h.dir, fmt.Sprintf("%d.new-", inst.major))
	if err != nil {
		return "", err
	}
	if err := h.as.own(temp); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, inst.program("initdb"),
		"--pgdata="+temp, "--username="+superuser, "--pwfile="+h.passwordFile(),
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale="+locale, "--data-checksums")
	h.confine(cmd, temp)
	// initdb runs postgres itself; both must go.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(temp)
		return "", fmt.Errorf("with locale %s: %w: %s", locale, err, lastLines(string(out), 3))
	}
	return temp, nil
}

// confine sets what every program of PostgreSQL gets: the server's user, a directory it may be in,
// a clean environment (PGDATA and its kin would lead it astray), and a process group of its own,
// so that Ctrl-C in the terminal reaches us and not it.
func (h home) confine(cmd *exec.Cmd, dir string) {
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: h.as.credential()}
	cmd.Env = []string{"LC_ALL=C"}
	for _, name := range []string{"PATH", "TZ", "LD_LIBRARY_PATH"} {
		if value, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
