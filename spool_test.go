package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"footfall/collector/spool"

	"github.com/VictoriaMetrics/metrics"
)

// spooled is a spool of three records, one group each, below a directory of up.
func spooled(t *testing.T) (data string) {
	t.Helper()
	data = t.TempDir()
	s, err := spool.Open(spool.Options{Dir: filepath.Join(data, "spool"), SegmentBytes: 4 << 10,
		MinFree: -1, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, r := range []string{"k1\x00{\"n\":1}", "k2\x00{\"n\":2}", "k3\x00{\"n\":3}"} {
		if err := s.Append(t.Context(), [][]byte{[]byte(r)}); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func footfall(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = run(t.Context(), args, &stdout, &stderr)
	return status, stdout.String() + stderr.String()
}

func TestSpoolCommandsReadBesideTheCollector(t *testing.T) {
	clean(t)
	data := spooled(t)
	dir := filepath.Join(data, "spool")
	for _, c := range []struct {
		want string
		args []string
	}{
		{"{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", []string{"dump", "--data", data}},
		{"{\"n\":2}\n", []string{"dump", dir, "--from", "2", "--to", "2"}},
		{`{"seq":3,"key":"k3","value":{"n":3}}` + "\n",
			[]string{"dump", "--spool", dir, "--from=3", "--keys"}},
		{"1 files, 3 records, 0 missing, 0 in files that no reader sees\n", []string{"verify", dir}},
	} {
		status, out := footfall(t, append([]string{"spool"}, c.args...)...)
		if status != exitOK || out != c.want {
			t.Errorf("spool %v: status %d, %q; want %q", c.args, status, out, c.want)
		}
	}
	_, out := footfall(t, "spool", "ls", dir)
	f := strings.Fields(out)
	if len(f) != 12 || strings.Join(f[7:10], " ") != "1 3 3" || f[11] != "active" {
		t.Errorf("ls printed %q", out)
	}
}

func TestSpoolVerifyNamesTheMissingRecord(t *testing.T) {
	clean(t)
	dir := filepath.Join(spooled(t), "spool")
	files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Replace(b, []byte(`{"n":2}`), []byte(`{"n":7}`), 1)
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	status, out := footfall(t, "spool", "verify", dir)
	if status != exitProblem || !strings.Contains(out, "record 2 missing") ||
		!strings.Contains(out, "2 records, 1 missing") {
		t.Errorf("status %d, %s", status, out)
	}
	if status, out := footfall(t, "spool", "verify", dir, "--from", "3"); status != exitOK {
		t.Errorf("from record 3: status %d, %s", status, out)
	}
}

func TestSpoolVerifyTellsOfADamagedHeader(t *testing.T) {
	clean(t)
	dir := filepath.Join(spooled(t), "spool")
	files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[40] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	status, out := footfall(t, "spool", "verify", dir)
	if status != exitProblem || !strings.Contains(out, "makes it again; records 1 to 3 behind it") ||
		!strings.Contains(out, "3 records, 0 missing, 0 in files") {
		t.Errorf("status %d, %s", status, out)
	}
}

func TestASecondCollectorSaysWhoHasTheSpool(t *testing.T) {
	clean(t)
	dir := filepath.Join(spooled(t), "spool")
	status, out := footfall(t, "collector", "--brokers", "127.0.0.1:1", "--spool", dir,
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	want := fmt.Sprintf("footfall: %s is in use by process %d: stop it, or choose another directory\n", dir, os.Getpid())
	if status != exitProblem || out != want {
		t.Errorf("status %d, %q; want %q", status, out, want)
	}
}

func TestSpoolCommandsSayWhatIsWrong(t *testing.T) {
	clean(t)
	for want, args := range map[int][]string{
		exitProblem: {"spool", "ls", t.TempDir()},
		exitUsage:   {"spool", "dump", "--from", "none"},
	} {
		if status, out := footfall(t, args...); status != want {
			t.Errorf("%v: status %d, %s", args, status, out)
		}
	}
}
