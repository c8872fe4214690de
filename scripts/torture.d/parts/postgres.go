package parts

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	postgresWait = 60 * time.Second // for a server that starts or recovers
	password     = "torture"        // of a server on loopback that lives for a run
)

// Postgres is a primary, and a standby when one is asked for, each behind a network that
// can be cut. Which of the two nodes is the primary changes with every promotion. It is
// for one goroutine at a time, except URL and Proxies.
type Postgres struct {
	bin, dir string
	owner    *syscall.Credential // nil: this user
	nodes    [2]*node
	primary  int
}

type node struct {
	dir   string
	port  string
	proxy *Proxy // between sinks and the node
	feed  *Proxy // between a standby and the node
	proc  *Process
}

// NewPostgres makes a server below dir and starts it. bin is where its programs are.
// As root it runs as the user postgres, or nobody: every parent of dir has to be
// searchable.
func NewPostgres(ctx context.Context, bin, dir string) (*Postgres, error) {
	p := &Postgres{bin: bin, dir: dir}
	if err := p.own(); err != nil {
		return nil, err
	}
	for i := range p.nodes {
		if err := p.prepare(i); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	file := filepath.Join(dir, "password")
	if err := os.WriteFile(file, []byte(password), 0o644); err != nil {
		return nil, err
	}
	first := p.nodes[0]
	err := p.run("initdb", "-D", first.dir, "-U", "postgres", "-E", "UTF8", "--locale=C",
		"--auth=scram-sha-256", "--pwfile="+file, "--no-sync")
	if err == nil {
		err = p.start(ctx, first)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Postgres) own() error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil || os.Geteuid() != 0 {
		return err
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		p.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return p.Give(p.dir)
	}
	return errors.New("PostgreSQL refuses to be root, and there is no user postgres or nobody")
}

// Give makes the servers' user the owner of a file.
func (p *Postgres) Give(path string) error {
	if p.owner == nil {
		return nil
	}
	return os.Chown(path, int(p.owner.Uid), int(p.owner.Gid))
}

func (p *Postgres) prepare(i int) error {
	ports, err := FreePorts(1)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(ports[0])
	n := &node{dir: filepath.Join(p.dir, "node"+strconv.Itoa(i)), port: port}
	p.nodes[i] = n
	if n.proxy, err = NewProxy(ports[0]); err != nil {
		return err
	}
	n.feed, err = NewProxy(ports[0])
	return err
}

// Command returns a program that is to run as the servers' user: one of theirs, or by its
// path another that does not want to be root.
func (p *Postgres) Command(program string, args ...string) *exec.Cmd {
	if !filepath.IsAbs(program) {
		program = filepath.Join(p.bin, program)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "TMPDIR="+p.dir, "PGPASSWORD="+password, "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.owner}
	return cmd
}

func (p *Postgres) run(program string, args ...string) error {
	if out, err := p.Command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

// start runs a node and waits until it answers. After a kill -9 the old server's last
// processes may be in the way for a moment, so it tries more than once.
func (p *Postgres) start(ctx context.Context, n *node) (err error) {
	log := n.dir + ".log"
	for deadline := time.Now().Add(postgresWait); time.Now().Before(deadline) && ctx.Err() == nil; {
		n.proc, err = launch(p.Command("postgres", "-D", n.dir, "-h", "127.0.0.1", "-p", n.port, "-k", "",
			"-c", "max_connections=150", "-c", "shared_buffers=256MB", "-c", "max_wal_size=1GB",
			"-c", "wal_level=replica", "-c", "max_wal_senders=4", "-c", "hot_standby=on",
			"-c", "wal_receiver_status_interval=1s", "-c", "wal_retrieve_retry_interval=200ms",
			"-c", "log_min_messages=error"), log)
		if err != nil {
			return err
		}
		if err = p.answers(ctx, n, deadline); err == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Errorf("PostgreSQL does not start: %w: %s", errors.Join(err, ctx.Err()), tail(log, 6))
}

func (p *Postgres) answers(ctx context.Context, n *node, deadline time.Time) (err error) {
	for time.Now().Before(deadline) && ctx.Err() == nil {
		var c *pgx.Conn
		if c, err = pgx.Connect(ctx, n.url("postgres")); err == nil {
			return c.Close(ctx)
		}
		select {
		case <-n.proc.Done():
			return errors.New("it ended at once")
		case <-time.After(30 * time.Millisecond):
		}
	}
	return errors.Join(err, ctx.Err())
}

func (n *node) url(database string) string {
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%s/%s?sslmode=disable&connect_timeout=5",
		password, n.port, database)
}

// Connect opens a connection of our own to the primary, past the networks that are cut.
func (p *Postgres) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, p.nodes[p.primary].url(database))
}

// URL leads sinks to a database, through the proxies: to both nodes, or only to the one
// that is the primary now.
func (p *Postgres) URL(database string, both bool) string {
	hosts := p.nodes[p.primary].proxy.Address()
	if both {
		hosts = p.nodes[0].proxy.Address() + "," + p.nodes[1].proxy.Address()
	}
	return fmt.Sprintf("postgres://postgres:%s@%s/%s?sslmode=disable", password, hosts, database)
}

// Proxies is the networks between sinks and servers.
func (p *Postgres) Proxies() []*Proxy { return []*Proxy{p.nodes[0].proxy, p.nodes[1].proxy} }

// Kill ends the primary as a power cut does: all of its processes at once.
func (p *Postgres) Kill() { p.nodes[p.primary].kill() }

func (n *node) kill() {
	if n.proc == nil || !n.proc.Running() {
		return
	}
	pid := n.proc.cmd.Process.Pid
	syscall.Kill(pid, syscall.SIGSTOP) // so that it starts no other
	all := children(pid)
	for _, child := range all {
		syscall.Kill(child, syscall.SIGKILL)
	}
	n.proc.Kill()
	for _, child := range all {
		for syscall.Kill(child, 0) == nil {
			time.Sleep(time.Millisecond)
		}
	}
}

// KillBackend kills one process of a session: the server then ends all the others and
// recovers.
func (p *Postgres) KillBackend(pid int) { syscall.Kill(pid, syscall.SIGKILL) }

func children(pid int) (list []int) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for field := range strings.FieldsSeq(string(b)) {
		if child, err := strconv.Atoi(field); err == nil {
			list = append(list, child)
		}
	}
	return list
}

// Start starts the primary again.
func (p *Postgres) Start(ctx context.Context) error { return p.start(ctx, p.nodes[p.primary]) }

// Restart stops the primary in order, sessions cut off, and starts it again.
func (p *Postgres) Restart(ctx context.Context) error {
	n := p.nodes[p.primary]
	n.proc.cmd.Process.Signal(syscall.SIGINT) // a fast shutdown
	select {
	case <-n.proc.Done():
	case <-time.After(postgresWait):
		n.kill()
		return errors.New("PostgreSQL does not stop")
	}
	return p.start(ctx, n)
}

// Follow makes a standby of the primary. A synchronous one acknowledges every commit.
func (p *Postgres) Follow(ctx context.Context, synchronous bool) error {
	a, b := p.nodes[p.primary], p.nodes[1-p.primary]
	b.kill()
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(a.feed.Address())
	err := p.run("pg_basebackup", "-D", b.dir, "-h", host, "-p", port, "-U", "postgres", "-R",
		"-X", "stream", "--checkpoint=fast", "--no-sync")
	if err == nil {
		err = p.start(ctx, b)
	}
	if err != nil || !synchronous {
		return err
	}
	if err := p.alter(ctx, "alter system set synchronous_standby_names = '*'"); err != nil {
		return err
	}
	c, err := p.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for deadline := time.Now().Add(postgresWait); time.Now().Before(deadline) && ctx.Err() == nil; {
		var there bool
		const ask = "select exists (select from pg_stat_replication where sync_state = 'sync')"
		if err := c.QueryRow(ctx, ask).Scan(&there); err != nil || there {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("standby is not synchronous")
}

func (p *Postgres) alter(ctx context.Context, sql string) error {
	c, err := p.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for _, s := range []string{sql, "select pg_reload_conf()"} {
		if _, err := c.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	return nil
}

// Delay keeps what the primary writes from the standby, from now on.
func (p *Postgres) Delay() { p.nodes[p.primary].feed.Set(Hold) }

// Promote kills the primary for good and makes the standby the primary.
func (p *Postgres) Promote(ctx context.Context) error {
	old := p.nodes[p.primary]
	old.kill()
	old.proxy.Reset()
	old.feed.Reset()
	old.feed.Set(Pass)
	p.primary = 1 - p.primary
	return p.alter(ctx, "select pg_promote()")
}

// Alone ends the standby, if there is one. What waited for it does so no longer.
func (p *Postgres) Alone(ctx context.Context) error {
	b := p.nodes[1-p.primary]
	if b.proc == nil || !b.proc.Running() {
		return nil
	}
	err := p.alter(ctx, "alter system reset synchronous_standby_names")
	p.nodes[p.primary].feed.Set(Pass)
	b.kill()
	return errors.Join(err, os.RemoveAll(b.dir))
}

// Tail is the end of the primary's log.
func (p *Postgres) Tail() string { return tail(p.nodes[p.primary].dir+".log", 4) }

// Close kills all of it. The files are the caller's.
func (p *Postgres) Close() error {
	for _, n := range p.nodes {
		if n == nil {
			continue
		}
		n.kill()
		for _, proxy := range []*Proxy{n.proxy, n.feed} {
			if proxy != nil {
				proxy.Close()
			}
		}
	}
	return nil
}

// Ready starts the primary if it does not run.
func (p *Postgres) Ready(ctx context.Context) error {
	if n := p.nodes[p.primary]; n.proc == nil || !n.proc.Running() {
		return p.start(ctx, n)
	}
	return nil
}
