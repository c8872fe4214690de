// Package parts holds the real programs and machines that torture puts together:
// processes, a Kafka, PostgreSQL servers, a network to cut and a disk to fill. All of it
// is on loopback and in one directory, and nothing outlives its owner's Close or Kill.
package parts

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Process is a program that runs, in a process group of its own.
type Process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	most atomic.Int64 // RSS seen at most, bytes
}

// Start runs a program in dir, which gets its temporary files too, and appends what it
// prints to a log file. env comes after the environment.
func Start(dir, log string, args []string, env ...string) (*Process, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "TMPDIR="+dir), env...)
	return launch(cmd, log)
}

func launch(cmd *exec.Cmd, log string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A Ctrl-C is for us, who then end it; strace and its child die together.
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() { cmd.Wait(); close(p.done) }()
	return p, nil
}

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends a signal to all of its group.
func (p *Process) Signal(sig syscall.Signal) { syscall.Kill(-p.cmd.Process.Pid, sig) }

// Kill ends it as a power cut ends a process.
func (p *Process) Kill() {
	p.RSS()
	p.Signal(syscall.SIGKILL)
	<-p.done
	// What strace started may take a moment longer, and holds the spool's lock.
	for syscall.Kill(-p.cmd.Process.Pid, 0) == nil {
		time.Sleep(time.Millisecond)
	}
}

// Terminate ends it in order and says when that does not go well.
func (p *Process) Terminate(limit time.Duration) error {
	p.RSS()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("SIGTERM ends it with status %d: %s", code, p.Tail())
		}
		return nil
	case <-time.After(limit):
		p.Kill()
		return fmt.Errorf("it did not end within %s of SIGTERM: %s", limit, p.Tail())
	}
}

// RSS is the most memory it has had, as far as it was asked while it ran.
func (p *Process) RSS() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, after, _ := bytes.Cut(b, []byte("VmHWM:"))
	if fields := strings.Fields(string(after)); len(fields) > 0 {
		kib, _ := strconv.ParseInt(fields[0], 10, 64)
		p.most.Store(max(p.most.Load(), kib<<10))
	}
	return p.most.Load()
}

// Tail is the end of what it printed.
func (p *Process) Tail() string { return tail(p.log, 4) }

func tail(file string, n int) string {
	b, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return filepath.Base(file) + ": " + strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// FreePorts finds loopback addresses that nobody listens on now.
func FreePorts(n int) (addresses []string, err error) {
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses, nil
}
