//go:build outside

package outside

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWithoutADiskA2xxWaitsForKafkaButNotForEver runs --durability kafka against a real
// broker that is stopped in the middle.
func TestWithoutADiskA2xxWaitsForKafkaButNotForEver(t *testing.T) {
	t.Parallel()
	kafkaDir := filepath.Join(t.TempDir(), "kafka")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	t.Cleanup(func() { kafka(context.Background(), t, "down", "--dir", kafkaDir) })
	brokers := kafka(ctx, t, "up", "--dir", kafkaDir)
	listen, admin := freePort(t), freePort(t)
	start(t, "collector", "--brokers", brokers, "--listen", listen, "--admin-listen", admin, "--durability", "kafka")
	post := func() (status int, reason string, took time.Duration) {
		began := time.Now()
		resp, err := http.Post("http://"+listen+"/e", "text/plain", strings.NewReader(`{"site":"demo"}`))
		if err != nil {
			return 0, err.Error(), time.Since(began)
		}
		resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("X-Footfall-Reason"), time.Since(began)
	}
	accepted := func() bool { status, _, _ := post(); return status == 204 }
	wait(t, "an accepted event", accepted)

	b, err := os.ReadFile(filepath.Join(kafkaDir, "1", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGSTOP)
	defer syscall.Kill(pid, syscall.SIGCONT)
	for range 3 {
		status, reason, took := post()
		t.Logf("with the broker stopped: %d %s after %s", status, reason, took)
		if status != 503 || reason != "kafka_unavailable" {
			t.Errorf("%d %s, want 503 kafka_unavailable", status, reason)
		}
		if took > 15*time.Second { // the default client would hold it for 20 s at least
			t.Errorf("the answer took %s", took)
		}
	}
	if got := readyStatus(t, admin); got != "unavailable" {
		t.Errorf("health is %q", got)
	}
	syscall.Kill(pid, syscall.SIGCONT)
	wait(t, "an accepted event after the broker came back", accepted)
	wait(t, "good health", func() bool { return readyStatus(t, admin) == "ok" })
}

func TestMemoryDurabilitySaysSoInEveryAnswer(t *testing.T) {
	t.Parallel()
	listen, admin := freePort(t), freePort(t)
	c := start(t, "collector", "--brokers", "127.0.0.1:1", "--listen", listen, "--admin-listen", admin,
		"--durability", "memory")
	wait(t, "the collector", func() bool {
		resp, err := http.Post("http://"+listen+"/e", "text/plain", strings.NewReader(`{"site":"demo"}`))
		if err != nil {
			return false
		}
		resp.Body.Close()
		if resp.StatusCode != 204 || resp.Header.Get("X-Footfall-Durability") != "memory" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		return true
	})
	if got := readyStatus(t, admin); got != "degraded" {
		t.Errorf("health is %q", got)
	}
	if status := c.stop(); status != 1 || !strings.Contains(c.out.String(), "in memory only") {
		t.Errorf("status %d, and the loss is not told: %s", status, c.out)
	}
}

func readyStatus(t *testing.T, admin string) string {
	t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s/health/ready", admin))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var report struct{ Status string }
	if err := json.NewDecoder(resp.Body).Decode(&report); err != nil {
		t.Fatal(err)
	}
	return report.Status
}
