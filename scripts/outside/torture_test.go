//go:build outside

package outside

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestTortureFindsNothingLost is the short form of scripts/torture: other seeds each day.
func TestTortureFindsNothingLost(t *testing.T) {
	t.Parallel()
	figures := filepath.Join(t.TempDir(), "figures.json")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../torture", "collector", "--seeds", "5", "--events", "5000",
		"--seed", time.Now().Format("20060102"), "--json", figures)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("torture: %v", err)
	}
	b, err := os.ReadFile(figures)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Sum struct{ Seeds, Acknowledged, Lost int }
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got.Sum.Seeds != 5 || got.Sum.Acknowledged < 5*5000 || got.Sum.Lost != 0 {
		t.Errorf("figures are %+v", got.Sum)
	}
}
