package local

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// childVariable makes this binary a process that starts a server in the directory it names, says
// so, and waits to be killed.
const (
	childVariable = "FOOTFALL_LOCAL_CHILD"
	childBinaries = "FOOTFALL_LOCAL_CHILD_BINARIES"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		p, err := StartPostgres(context.Background(),
			PostgresOptions{Dir: dir, Binaries: os.Getenv(childBinaries)})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("pid", p.process.pid)
		<-p.Done()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// openDir is a directory that the server's user may enter: t.TempDir's parent is closed to others.
func openDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "footfall-local-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return real
}

func testLog(tb testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(tb.Output(), nil))
}

func startPostgres(tb testing.TB, o PostgresOptions) *Postgres {
	tb.Helper()
	o.Logger, o.Progress = testLog(tb), tb.Output()
	began := time.Now()
	p, err := StartPostgres(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Logf("started %s in %s", p.Version(), time.Since(began).Round(time.Millisecond))
	tb.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return p
}

func stop(tb testing.TB, p *Postgres) {
	tb.Helper()
	began := time.Now()
	if err := p.Close(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	tb.Logf("stopped in %s", time.Since(began).Round(time.Millisecond))
	if err, ok := <-p.Done(); ok {
		tb.Errorf("done after Close: %v", err)
	}
}

// ask runs statements and returns the text of the last one's first value.
func ask(tb testing.TB, address string, statements ...string) string {
	tb.Helper()
	conn, err := pgx.Connect(tb.Context(), address)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(context.Background())
	var value string
	for i, statement := range statements {
		if i < len(statements)-1 {
			_, err = conn.Exec(tb.Context(), statement)
		} else {
			err = conn.QueryRow(tb.Context(), statement).Scan(&value)
		}
		if err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
	return value
}

func TestPostgresKeepsARowAcrossRestarts(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	p := startPostgres(t, PostgresOptions{Dir: dir})
	first := p.URL()
	ask(t, first, "create table kept (x text)", "insert into kept values ('row')", "select 'ok'")
	stop(t, p)
	p = startPostgres(t, PostgresOptions{Dir: dir})
	if p.URL() != first {
		t.Errorf("address changed from %s to %s", first, p.URL())
	}
	if got := ask(t, p.URL(), "select x from kept"); got != "row" {
		t.Errorf("kept %q", got)
	}
}

func TestPostgresRunsWithTheSettingsThatKeepData(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, PostgresOptions{Dir: openDir(t)})
	for name, want := range map[string]string{
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "data_checksums": "on",
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "server_encoding": "UTF8",
		"password_encryption": "scram-sha-256", "max_connections": "40", "shared_buffers": "128MB",
		"max_wal_size": "1GB",
	} {
		if got := ask(t, p.URL(), "select current_setting('"+name+"')"); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	// Every rule, local ones too: nobody on this machine gets in without the password.
	if got := ask(t, p.URL(),
		"select string_agg(distinct auth_method, ',') from pg_hba_file_rules"); got != "scram-sha-256" {
		t.Errorf("ways in: %s", got)
	}
	u, err := url.Parse(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(superuser, "wrong")
	if conn, err := pgx.Connect(t.Context(), u.String()); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password was taken")
	}
}

func TestPostgresTakesAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	p := startPostgres(t, PostgresOptions{Dir: dir})
	first := p.URL()
	stop(t, p)
	u, err := url.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := listenLoopback(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if p = startPostgres(t, PostgresOptions{Dir: dir}); p.URL() == first {
		t.Error("the port did not change")
	}
	ask(t, p.URL(), "select 'ok'")
}

func TestStartAfterCancelLeavesNothingRunning(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	stop(t, startPostgres(t, PostgresOptions{Dir: dir}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartPostgres(ctx, PostgresOptions{Dir: dir}); err == nil {
		t.Fatal("started")
	}
	stop(t, startPostgres(t, PostgresOptions{Dir: dir}))
}
