package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopPrevious ends a server that outlived the Footfall that started it on this data directory. A
// process that is not provably that server is left alone; postgres itself then says what is wrong.
func stopPrevious(ctx context.Context, data string, log *slog.Logger) error {
	pid := previousPid(data)
	if pid == 0 || !serves(pid, data) {
		return nil
	}
	log.Info("stopping the PostgreSQL of an earlier run", "pid", pid)
	for _, step := range []struct {
		signal syscall.Signal
		limit  time.Duration
	}{{syscall.SIGINT, fastLimit}, {syscall.SIGQUIT, quitLimit}} {
		// Asked again before each signal: the pid may have been given to another process.
		if !serves(pid, data) {
			return nil
		}
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the PostgreSQL of an earlier run, process %d: %w", pid, err)
		}
		if awaitEnd(ctx, pid, step.limit) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("stop the PostgreSQL of an earlier run: process %d is still there", pid)
}

// previousPid reads postmaster.pid: line 1 is the pid, line 2 the data directory. It returns 0 when
// there is none, or when it speaks of another directory.
func previousPid(data string) int {
	b, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	lines := strings.SplitN(string(b), "\n", 3)
	if err != nil || len(lines) < 2 || !sameDir(strings.TrimSpace(lines[1]), data) {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid <= 1 || pid == os.Getpid() {
		return 0
	}
	return pid
}

func awaitEnd(ctx context.Context, pid int, limit time.Duration) bool {
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for alive(pid) {
		select {
		case <-tick.C:
		case <-deadline:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func sameDir(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// isPostgresOf judges a command line: the program's name, and the data directory after -D.
func isPostgresOf(args []string, data string) bool {
	return isPostgres(args) && strings.Contains(strings.Join(args, " ")+" ", "-D "+data+" ")
}

func isPostgres(args []string) bool {
	return len(args) > 0 && filepath.Base(args[0]) == "postgres"
}
