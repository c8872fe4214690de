package local

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestInterruptedInitdbIsStartedOver(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	h, err := openHome(dir, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	inst, err := h.choose(t.Context(), nil, PostgresOptions{Progress: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	left := h.data(inst.major) + ".new-1"
	if err := os.MkdirAll(filepath.Join(left, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := StartPostgres(ctx, PostgresOptions{Dir: dir}); err == nil {
		t.Fatal("started within 200 ms: nothing was interrupted")
	}
	p := startPostgres(t, PostgresOptions{Dir: dir})
	ask(t, p.URL(), "select 'ok'")
	if left, _ := filepath.Glob(h.data(inst.major) + ".new-*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// otherMajor is a version that this machine has not and the embedded one is not. Where it has
// them all, it is one that the binaries named beside it are not.
func otherMajor(t *testing.T) (version, binaries string) {
	t.Helper()
	s := findInstallations(t.Context(), nil)
	for major := oldestMajor; major < embeddedMajor; major++ {
		inst, err := s.pick(major)
		if err != nil {
			return strconv.Itoa(major), ""
		}
		binaries = inst.dir
	}
	return strconv.Itoa(oldestMajor), binaries
}

func TestDataOfAnotherMajorIsRefusedAndNotTouched(t *testing.T) {
	t.Parallel()
	other, binaries := otherMajor(t)
	for version, word := range map[string]string{
		"14": "15 to 18", "99": "15 to 18", other: "install PostgreSQL"} {
		dir := openDir(t)
		data := filepath.Join(dir, "postgres", version)
		if err := os.MkdirAll(data, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(data, "PG_VERSION")
		if err := os.WriteFile(file, []byte(version+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(data, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
		_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir, Binaries: binaries})
		if err == nil {
			t.Fatal("started")
		}
		t.Log(err)
		for _, word := range []string{data, "PostgreSQL " + version, "nothing was changed",
			"--database-url", word} {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("no %q in: %v", word, err)
			}
		}
		if entries, _ := os.ReadDir(data); len(entries) != 1 {
			t.Errorf("data directory holds %v", entries)
		}
	}
}

func TestDirectoryThatDoesNotMatchItsVersionIsRefused(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "16\n"} {
		dir := openDir(t)
		data := filepath.Join(dir, "postgres", "15")
		if err := os.MkdirAll(data, 0o755); err != nil {
			t.Fatal(err)
		}
		if content != "" {
			file := filepath.Join(data, "PG_VERSION")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir}); err == nil {
			t.Errorf("started on %q", content)
		} else {
			t.Log(err)
		}
	}
}

func TestLostPasswordIsAnErrorAndNoNewDatabase(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	stop(t, startPostgres(t, PostgresOptions{Dir: dir}))
	if err := os.Remove(filepath.Join(dir, "postgres", "password")); err != nil {
		t.Fatal(err)
	}
	_, err := StartPostgres(t.Context(), PostgresOptions{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("start without the password: %v", err)
	}
}
