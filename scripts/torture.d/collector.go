package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// collector is one process of footfall.
type collector struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// start begins a collector on the run's spool. wrap comes before it, as strace does;
// env after the environment.
func (x *run) start(ctx context.Context, wrap []string, env ...string) error {
	args := append(append([]string{}, wrap...), x.s.bin, "collector", "--brokers", x.s.brokers,
		"--topic", x.topic, "--partitions", "3", "--listen", x.listen, "--admin-listen", x.admin,
		"--spool", x.spool, "--spool-min-free", "0", "--spool-max-bytes", "1GiB", "--address-rate", "0")
	log, err := os.OpenFile(filepath.Join(x.dir, "collector.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, x.dir
	cmd.Env = append(append(os.Environ(), "TMPDIR="+x.dir), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // strace dies of its own
	if err := cmd.Start(); err != nil {
		return err
	}
	c := &collector{cmd: cmd, done: make(chan struct{})}
	go func() { cmd.Wait(); close(c.done) }()
	x.c = c
	return x.ready(ctx)
}

// ready waits until the collector listens, or has ended at a failpoint.
func (x *run) ready(ctx context.Context) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		conn, err := net.DialTimeout("tcp", x.listen, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-x.c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("collector does not listen: %s", x.tail())
}

func (x *run) tail() string {
	b, _ := os.ReadFile(filepath.Join(x.dir, "collector.log"))
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-4):], " | ")
}

func (c *collector) signal(sig syscall.Signal) { syscall.Kill(-c.cmd.Process.Pid, sig) }

func (c *collector) running() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// kill ends it as a power cut ends a process.
func (c *collector) kill() {
	c.signal(syscall.SIGKILL)
	<-c.done
	// What strace started may take a moment longer, and holds the spool's lock.
	for syscall.Kill(-c.cmd.Process.Pid, 0) == nil {
		time.Sleep(time.Millisecond)
	}
}

// terminate ends it in order and says when that does not go well.
func (c *collector) terminate() error {
	c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
		if code := c.cmd.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("SIGTERM ends the collector with status %d", code)
		}
		return nil
	case <-time.After(15 * time.Second):
		c.kill()
		return fmt.Errorf("the collector did not end within 15 s of SIGTERM")
	}
}

// rss is the most memory it has had.
func (c *collector) rss() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	_, after, _ := bytes.Cut(b, []byte("VmHWM:"))
	fields := strings.Fields(string(after))
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}

// health is what /health/ready says.
func (x *run) health() string {
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://" + x.admin + "/health/ready")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	var report struct{ Status string }
	json.NewDecoder(resp.Body).Decode(&report)
	return report.Status
}

// freePorts finds two loopback addresses that nobody listens on now.
func freePorts() (a, b string, err error) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer one.Close()
	two, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer two.Close()
	return one.Addr().String(), two.Addr().String(), nil
}
