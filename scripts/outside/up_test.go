//go:build outside

package outside

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestUpFindsEveryEventAgain runs up on its private PostgreSQL through an orderly
// stop and a kill -9.
func TestUpFindsEveryEventAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	u := startUp(t, dir)
	for _, want := range []string{u.Site + "/", u.Site + "/live", u.Collector + "/f.js", "Ctrl-C", "psql"} {
		if !strings.Contains(u.out.String(), want) {
			t.Errorf("up does not say %s", want)
		}
	}
	send(t, "--data", dir, "-n", "300")
	began := time.Now()
	if status := u.stop(); status != 0 {
		t.Errorf("up ended with status %d", status)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("up took %s to stop", took)
	}
	if _, err := os.Stat(filepath.Join(dir, "up.json")); err == nil {
		t.Error("up.json is still there")
	}

	u = startUp(t, dir)
	waitForRows(t, u.DatabaseURL, 300)
	// With the same ports, as without any flag: the directory is what it has to name.
	host := func(url string) string { return strings.TrimPrefix(url, "http://") }
	out, status := run(t, "up", "--data", dir, "--listen", host(u.Collector), "--site-listen",
		host(u.Site), "--admin-listen", host(u.Admin))
	if status != 1 || !strings.Contains(out, strconv.Itoa(u.cmd.Process.Pid)) {
		t.Errorf("a second up: status %d, want 1 and the first one's pid:\n%s", status, out)
	}

	// What was accepted while nothing could be stored is in the spool only.
	unlock := lockEvents(t, u.DatabaseURL)
	send(t, "--data", dir, "-n", "200")
	time.Sleep(3 * time.Second) // longer than the watermark needs to be stored
	u.kill()
	unlock()
	u = startUp(t, dir)
	waitForRows(t, u.DatabaseURL, 500)
	if out, status := run(t, "doctor", "--data", dir); status != 0 {
		t.Errorf("doctor: status %d\n%s", status, out)
	}
}

// lockEvents keeps everybody from writing events until unlock is called.
func lockEvents(t *testing.T, databaseURL string) (unlock func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err == nil {
		_, err = conn.Exec(t.Context(), "begin; lock table footfall.events in access exclusive mode")
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() { conn.Close(context.Background()) }
}

// TestUpOutlivesItsDatabase kills the private PostgreSQL under a running up.
func TestUpOutlivesItsDatabase(t *testing.T) {
	t.Parallel()
	u := startUp(t, filepath.Join(t.TempDir(), "data"))
	send(t, "--data", u.dir, "-n", "20")
	waitForRows(t, u.DatabaseURL, 20)
	postmaster := int(query(t, u.DatabaseURL, `select split_part(
		pg_read_file('postmaster.pid'), chr(10), 1)::bigint`))
	if err := syscall.Kill(postmaster, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	send(t, "--data", u.dir, "-n", "30") // every one is accepted
	wait(t, "the database", func() bool {
		conn, err := pgx.Connect(t.Context(), u.DatabaseURL)
		if err == nil {
			conn.Close(t.Context())
		}
		return err == nil
	})
	waitForRows(t, u.DatabaseURL, 50)
}

// TestEventsWaitWhilePostgresIsAway cuts the way to the database under a running up.
func TestEventsWaitWhilePostgresIsAway(t *testing.T) {
	t.Parallel()
	direct := database(t)
	proxy := newProxy(t, direct)
	u := startUp(t, filepath.Join(t.TempDir(), "data"), "--database-url", proxy.url)
	send(t, "--data", u.dir, "-n", "50")
	waitForRows(t, direct, 50)
	proxy.cut()
	send(t, "--data", u.dir, "-n", "200") // every one is accepted
	if n := query(t, direct, "select count(*) from footfall.events"); n != 50 {
		t.Fatalf("%d rows while the database was away", n)
	}
	proxy.mend()
	waitForRows(t, direct, 250)
}

// send sends events and fails the test unless each was accepted.
func send(t *testing.T, args ...string) {
	t.Helper()
	if out, status := run(t, append([]string{"send"}, args...)...); status != 0 {
		t.Fatalf("send %v: status %d\n%s", args, status, out)
	}
}
