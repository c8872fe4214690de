package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

const (
	// fastLimit is how long a server may take to end its sessions and write a checkpoint.
	fastLimit = 15 * time.Second
	// quitLimit is longer than the 5 s after which PostgreSQL kills its own children.
	quitLimit = 10 * time.Second
	// logLimit is the size at which a start empties the server's log.
	logLimit = 10 << 20
)

// process is one running postgres.
type process struct {
	pid   int
	ended chan struct{} // closed once it was waited for
	err   error         // how it ended; read after ended
}

// launch starts postgres on a data directory. It returns before the server takes connections.
func (h home) launch(inst installation, port int, logPath string) (*process, error) {
	out, err := openLog(logPath)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own
	data := h.data(inst.major)
	cmd := exec.Command(inst.program("postgres"), serverArgs(data, port)...)
	h.confine(cmd, data)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{pid: cmd.Process.Pid, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

func serverArgs(data string, port int) []string {
	args := []string{"-D", data, "-p", strconv.Itoa(port)}
	for _, setting := range []string{
		"listen_addresses=127.0.0.1",
		"unix_socket_directories=",
		"fsync=on",
		"full_page_writes=on",
		"synchronous_commit=on",
		"shared_buffers=128MB",
		"max_wal_size=1GB",
		"max_connections=40",
		"logging_collector=off",
		"log_destination=stderr",
	} {
		args = append(args, "-c", setting)
	}
	return args
}

func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.Size() > logLimit {
		if err := f.Truncate(0); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// stop asks for a fast shutdown, and for an immediate one when that takes longer than fastLimit
// or ctx allows. After an immediate one nothing committed is lost; the next start replays the log.
func (p *process) stop(ctx context.Context) error {
	if err := p.signal(syscall.SIGINT); err != nil {
		return err
	}
	fast := time.NewTimer(fastLimit)
	defer fast.Stop()
	select {
	case <-p.ended:
		return nil
	case <-fast.C:
	case <-ctx.Done():
	}
	if err := p.signal(syscall.SIGQUIT); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(quitLimit):
		return fmt.Errorf("stop postgres: process %d is still there after %s", p.pid, quitLimit)
	}
}

// signal does nothing to a process that was waited for: its pid may be another's by now.
func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	if err := syscall.Kill(p.pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("send %s to postgres %d: %w", sig, p.pid, err)
	}
	return nil
}
