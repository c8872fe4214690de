package local

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestEmbeddedPostgresIsFetchedOnceAndRuns(t *testing.T) {
	if os.Getenv("FOOTFALL_TEST_OFFLINE") == "1" {
		t.Skip("FOOTFALL_TEST_OFFLINE=1: it may need the network")
	}
	t.Parallel()
	dir := openDir(t)
	p := startPostgres(t, PostgresOptions{Dir: dir, Binaries: "embedded"})
	if got := ask(t, p.URL(), "show server_version"); !strings.HasPrefix(got, "18.") {
		t.Errorf("version %s", got)
	}
	stop(t, p)
	h, err := openHome(dir, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := embeddedInstallation(ctx, h.as, &said); err != nil || said.Len() > 0 {
		t.Errorf("second use: %v, said %q", err, said.String())
	}
	// Data of 18 get the embedded binaries without being asked for, where the system has none.
	p = startPostgres(t, PostgresOptions{Dir: dir})
	if got := ask(t, p.URL(), "show server_version"); !strings.HasPrefix(got, "18.") {
		t.Errorf("version %s", got)
	}
}

// ordinaryChild is this test binary as a process of its own that starts a server in dir; as root
// it runs as nobody, for root's cache is the machine's and not to be emptied for a test.
func ordinaryChild(t *testing.T, dir string, env ...string) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0])
	if os.Geteuid() == 0 {
		// The binary's own directory is closed to others.
		b, err := os.ReadFile(os.Args[0])
		if err != nil {
			t.Fatal(err)
		}
		child.Path = filepath.Join(openDir(t), "test")
		if err := os.WriteFile(child.Path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		credential := &syscall.Credential{Uid: 65534, Gid: 65534}
		child.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	}
	child.Dir = dir
	// The library leaves its log in TMPDIR.
	child.Env = append(env, "PATH=/usr/bin:/bin", "HOME="+dir, "TMPDIR="+dir, childVariable+"="+dir)
	return child
}

func TestFailedFetchSaysWhatWasTriedAndTheWaysOut(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	out, err := ordinaryChild(t, dir, childBinaries+"=embedded",
		"HTTPS_PROXY=http://127.0.0.1:1").CombinedOutput()
	if err == nil {
		t.Fatal("it started without a network")
	}
	t.Logf("%s", out)
	for _, word := range []string{"download PostgreSQL 18", "install PostgreSQL 15 to 18",
		"--database-url"} {
		if !strings.Contains(string(out), word) {
			t.Errorf("no %q", word)
		}
	}
	for _, cache := range []string{".cache", "Library/Caches"} {
		if left, _ := filepath.Glob(filepath.Join(dir, cache, "footfall/*")); len(left) > 0 {
			t.Errorf("left in the cache: %v", left)
		}
	}
}
