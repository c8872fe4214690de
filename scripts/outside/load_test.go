//go:build outside

package outside

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRowsAreWhatK6SawAccepted runs the load script for a few seconds against up.
func TestRowsAreWhatK6SawAccepted(t *testing.T) {
	t.Parallel()
	u := startUp(t, filepath.Join(t.TempDir(), "data"), "--database-url", database(t))
	summary := filepath.Join(t.TempDir(), "summary.json")
	cmd := exec.CommandContext(t.Context(), "../k6/k6", "run", "--quiet", "../k6/beacon.js")
	cmd.Env = append(os.Environ(), "COLLECTOR="+u.Collector, "SITE=demo", "RATE=200",
		"DURATION=5s", "SUMMARY="+summary)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("k6: %v\n%s", err, out)
	}
	b, err := os.ReadFile(summary)
	if err != nil {
		t.Fatal(err)
	}
	var seen struct {
		Accepted int64 `json:"events_accepted"`
	}
	if err := json.Unmarshal(b, &seen); err != nil {
		t.Fatal(err)
	}
	accepted := seen.Accepted
	if accepted < 500 {
		t.Fatalf("k6 saw %d events accepted, want about 1000:\n%s", accepted, b)
	}
	waitForRows(t, u.DatabaseURL, accepted)
}
