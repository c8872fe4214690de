//go:build outside

package outside

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// binary returns the program under test. scripts/test builds it once; a run by hand
// builds its own.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("FOOTFALL_TEST_BIN"); path != "" {
		return path
	}
	return buildOnce(t)
}

var buildOnce = func() func(t *testing.T) string {
	build := sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "footfall-bin-")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "footfall")
		out, err := exec.Command("go", "build", "-o", path, "../..").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
	return func(t *testing.T) string {
		path, err := build()
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}()

// process is a footfall that runs.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  *output
	done chan struct{} // closed when it has ended
}

// output gathers what a process prints; it is safe to read while it grows.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// start runs a command of footfall until the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(binary(t), args...), out: &output{},
		done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Dir = t.TempDir()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("footfall %s printed:\n%s", strings.Join(args, " "), p.out)
		}
	})
	return p
}

// stop asks the process to end and returns its exit status, or -1 when it had to be
// killed.
func (p *process) stop() int {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.t.Errorf("%s did not end within 20 s of SIGTERM", p.cmd)
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// run runs a command of footfall to its end.
func run(t *testing.T, args ...string) (out string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	b, err := exec.CommandContext(ctx, binary(t), args...).CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("footfall %s: %v", strings.Join(args, " "), err)
	}
	if err != nil {
		return string(b), err.(*exec.ExitError).ExitCode()
	}
	return string(b), 0
}

// up is a running footfall up.
type up struct {
	*process
	dir         string
	Collector   string `json:"collector"`
	Site        string `json:"site"`
	Admin       string `json:"admin"`
	DatabaseURL string `json:"database_url"`
}

// startUp runs footfall up on free ports and waits until it is ready.
func startUp(t *testing.T, dir string, args ...string) *up {
	t.Helper()
	u := &up{dir: dir}
	// Root's PostgreSQL runs as another user, and goes to /var/lib when it cannot get
	// below the test's directory.
	for parent := filepath.Dir(dir); parent != filepath.Clean(os.TempDir()); parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "up.json")
	os.Remove(file) // one left by a kill -9 would be taken for the new one
	u.process = start(t, append([]string{"up", "--data", dir, "--listen", "127.0.0.1:0",
		"--site-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, args...)...)
	wait(t, "up.json", func() bool {
		select {
		case <-u.done:
			t.Fatalf("up ended with %v", u.cmd.ProcessState)
		default:
		}
		b, err := os.ReadFile(file)
		return err == nil && json.Unmarshal(b, u) == nil
	})
	return u
}

// patience is how long nothing may happen. How much a machine does meanwhile is not what is
// tested: CI's is now and then several times slower than ours.
const patience = 2 * time.Minute

// wait polls until done.
func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// follow polls until a number that grows has got as far as want, however long that takes
// while it does grow.
func follow(t *testing.T, what string, want int, at func() int) {
	t.Helper()
	highest, deadline := at(), time.Now().Add(patience)
	for highest < want {
		time.Sleep(20 * time.Millisecond)
		if now := at(); now > highest {
			highest, deadline = now, time.Now().Add(patience)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d %s, and none more in %s", highest, want, what, patience)
		}
	}
}

// database makes an empty database on the test server and returns its URL.
func database(t *testing.T) string {
	t.Helper()
	server := os.Getenv("TEST_DATABASE_URL")
	if server == "" {
		t.Fatal("TEST_DATABASE_URL is not set: run scripts/test outside")
	}
	name := fmt.Sprintf("outside_%d", time.Now().UnixNano())
	query(t, server, "create database "+name)
	t.Cleanup(func() {
		query(t, server, "drop database if exists "+name+" with (force)")
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// query runs one statement, and returns the first column of the first row when that
// is a number.
func query(t *testing.T, databaseURL, sql string, args ...any) (n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if rows.Next() {
		if v, ok := first(rows).(int64); ok {
			n = v
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func first(rows pgx.Rows) any {
	values, err := rows.Values()
	if err != nil || len(values) == 0 {
		return nil
	}
	return values[0]
}

// waitForRows waits until the table has n rows, and checks that it stays so.
func waitForRows(t *testing.T, databaseURL string, n int64) {
	t.Helper()
	count := func() int { return countRows(t, databaseURL) }
	follow(t, "rows", int(n), count)
	time.Sleep(500 * time.Millisecond)
	if got := count(); got != int(n) {
		t.Errorf("%d rows, want %d", got, n)
	}
}

func countRows(t *testing.T, databaseURL string) int {
	t.Helper()
	return int(query(t, databaseURL, "select count(*) from footfall.events"))
}

// freePort returns a loopback address that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
