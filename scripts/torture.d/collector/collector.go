package collector

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"footfall/scripts/torture.d/parts"
)

const shutdownMax = 15 * time.Second // of a collector that was asked to end

// start begins a collector on the run's spool. wrap comes before it, as strace does;
// env after the environment.
func (x *run) start(ctx context.Context, wrap []string, env ...string) error {
	return x.startWith(ctx, wrap, []string{"--address-rate", "0"}, env...)
}

func (x *run) startWith(ctx context.Context, wrap, flags []string, env ...string) error {
	args := append(append([]string{}, wrap...), x.s.bin, "collector", "--brokers", x.s.kafka.Addresses,
		"--topic", x.topic, "--partitions", "3", "--listen", x.listen, "--admin-listen", x.admin,
		"--spool", x.spool, "--spool-min-free", "0", "--spool-max-bytes", "1GiB")
	args = append(args, flags...)
	var err error
	x.c, err = parts.Start(x.dir, filepath.Join(x.dir, "collector.log"), args, env...)
	if err != nil {
		return err
	}
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
		case <-x.c.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return fmt.Errorf("collector does not listen: %s", x.c.Tail())
}

// metric is the value of a counter; -1 when it cannot be read.
func (x *run) metric(name string) int { return int(x.seconds(name)) }

// seconds is the value of a metric; -1 when it cannot be read.
func (x *run) seconds(name string) float64 {
	client := http.Client{Timeout: 3 * time.Second}
	resp, err := client.Get("http://" + x.admin + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				return v
			}
		}
	}
	return -1
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
