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
	var got struct {
		Sum struct{ Seeds, Acknowledged, Lost int }
	}
	torture(t, &got, "collector", "--seeds", "5", "--events", "5000")
	if got.Sum.Seeds != 5 || got.Sum.Acknowledged < 5*5000 || got.Sum.Lost != 0 {
		t.Errorf("figures are %+v", got.Sum)
	}
}

// TestTortureFindsEachRecordOnce is the same for the sink.
func TestTortureFindsEachRecordOnce(t *testing.T) {
	t.Parallel()
	var got struct {
		Sum struct{ Seeds, Records, Expected, Rows, Duplicates, Dead, Lost, Doubled int }
	}
	torture(t, &got, "sink", "--seeds", "2", "--records", "30000", "--load", "4s")
	s := got.Sum
	if s.Seeds != 2 || s.Records != 2*30000 || s.Rows != s.Expected || s.Lost+s.Doubled != 0 ||
		s.Rows+s.Duplicates+s.Dead != s.Records {
		t.Errorf("figures are %+v", s)
	}
}

func torture(t *testing.T, figures any, args ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "figures.json")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "../torture", append(args,
		"--seed", time.Now().Format("20060102"), "--json", file)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 60 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("torture: %v", err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, figures); err != nil {
		t.Fatal(err)
	}
}
