//go:build outside

package outside

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/event"
	"footfall/scripts/torture.d/parts"
)

// server is a PostgreSQL of the test's own, with a Kafka beside it.
type server struct {
	*parts.Postgres
	t            *testing.T
	dir, brokers string
}

// TestWaysToPostgres leads a sink to PostgreSQL as installations do: through pgbouncer, by TLS,
// with a standby in the list. One Kafka and one PostgreSQL serve all of it, a topic each.
func TestWaysToPostgres(t *testing.T) {
	t.Parallel()
	s := &server{t: t, dir: openDir(t)}
	kafkaDir := filepath.Join(t.TempDir(), "kafka")
	t.Cleanup(func() { kafka(context.Background(), t, "down", "--dir", kafkaDir) })
	s.brokers = kafka(t.Context(), t, "up", "--dir", kafkaDir)
	var err error
	if s.Postgres, err = parts.NewPostgres(t.Context(), postgresBin(t), filepath.Join(s.dir, "postgres")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	t.Run("pgbouncer", s.throughPgbouncer)
	t.Run("settings", s.ofAServerThatForgets)
	t.Run("TLS", s.byTLS)
	t.Run("standby", s.byStandby)
}

// openDir is a directory that other users may search: PostgreSQL and pgbouncer refuse to be root.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for parent := dir; parent != filepath.Clean(os.TempDir()); parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// postgresBin is where the programs of the test's server are.
func postgresBin(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("FOOTFALL_TEST_POSTGRES"); dir != "" {
		return dir
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Fatal("no PostgreSQL below /usr/lib/postgresql")
	}
	return filepath.Dir(found[len(found)-1])
}

// topic makes a topic of four partitions.
func (s *server) topic(t *testing.T, name string) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers), kgo.DefaultProduceTopic(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 4, 1, nil, name); err != nil {
		t.Fatal(err)
	}
	return client
}

// put writes n events, the first of them twice when doubled.
func put(t *testing.T, client *kgo.Client, n, doubled int) {
	t.Helper()
	var records []*kgo.Record
	for i := range n {
		value := mongoRecord(event.NewUUID(time.Now()), `,"name":"way"`)
		records = append(records, &kgo.Record{Value: value})
		if i < doubled {
			records = append(records, &kgo.Record{Value: value})
		}
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// create makes a database and returns a URL past all that the test puts in between.
func (s *server) create(t *testing.T, name string) string {
	t.Helper()
	c, err := s.Connect(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), "create database "+name); err != nil {
		t.Fatal(err)
	}
	return s.URL(name, false)
}

func (s *server) throughPgbouncer(t *testing.T) {
	straight := s.create(t, "pooled")
	client := s.topic(t, "pooled")
	pooled := s.pgbouncer(t) + "/pooled?sslmode=disable"
	run := s.sinkInto(t, "pooled", pooled)
	rows := int64(0)
	more := func(n, doubled int) {
		t.Helper()
		put(t, client, n, doubled)
		rows += int64(n)
		rowsAppear(t, straight, rows)
	}
	more(1000, 0)
	more(2000, 200) // by way of the staging table
	put(t, client, 1000, 100)
	rows += 1000
	query(t, straight, "select count(pg_terminate_backend(pid)) from pg_stat_activity "+
		"where datname = current_database() and pid <> pg_backend_pid()")
	rowsAppear(t, straight, rows)
	run.stop()
	// Sessions of the server are now what the first sink made of them.
	again := s.sinkInto(t, "pooled", pooled)
	for _, bad := range []string{"not JSON", `{"event_id":"x"}`} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(bad)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	more(2000, 50)
	for _, p := range []*process{run, again} {
		if log := p.out.String(); strings.Contains(log, "prepared statement") {
			t.Errorf("statements were prepared in sessions of others:\n%s", log)
		}
	}
	wantSays(t, 0, "", "audit", "--database-url", pooled)
	wantSays(t, 0, "undecodable", "dead", "ls", "--database-url", pooled)
	wantSays(t, 0, fmt.Sprintf("%d events, 2 dead letters", rows), "doctor", "--database-url", pooled)
	if n := query(t, straight, "select sum(n_duplicate)::bigint from footfall.ledger"); n != 350 {
		t.Errorf("the ledger counts %d duplicates, want 350", n)
	}
}

// sinkInto starts a sink of small batches.
func (s *server) sinkInto(t *testing.T, topic, databaseURL string) *process {
	t.Helper()
	return start(t, "sink", "--brokers", s.brokers, "--topic", topic, "--group", topic,
		"--database-url", databaseURL, "--admin-listen", "127.0.0.1:0", "--batch-rows", "200")
}

// rowsAppear waits for the table too.
func rowsAppear(t *testing.T, databaseURL string, n int64) {
	t.Helper()
	wait(t, "the table", func() bool {
		return query(t, databaseURL, "select count(to_regclass('footfall.events'))") == 1
	})
	waitForRows(t, databaseURL, n)
}

// wantSays runs a command of footfall and wants a word in what it prints.
func wantSays(t *testing.T, status int, word string, args ...string) {
	t.Helper()
	out, got := run(t, args...)
	if got != status || !strings.Contains(out, word) {
		t.Errorf("footfall %s: status %d, want %d and %q in\n%s", strings.Join(args, " "), got, status, word, out)
	}
}

// ofAServerThatForgets has sinks and doctor tell that a power cut would cost rows.
func (s *server) ofAServerThatForgets(t *testing.T) {
	straight := s.create(t, "settings")
	s.alter(t, "alter system set fsync = off", "alter system set synchronous_commit = off")
	s.topic(t, "settings")
	admin := freePort(t)
	start(t, "sink", "--brokers", s.brokers, "--topic", "settings", "--group", "settings",
		"--database-url", straight, "--admin-listen", admin)
	wait(t, "health to name the settings", func() bool {
		out, _ := run(t, "doctor", "--ready", "--admin", "http://"+admin)
		return strings.Contains(out, "degraded") && strings.Contains(out, "fsync is off") &&
			strings.Contains(out, "synchronous_commit is off")
	})
	wantSays(t, 1, "fsync is off", "doctor", "--database-url", straight)
	s.alter(t, "alter system reset fsync", "alter system reset synchronous_commit")
	wantSays(t, 0, "0 events", "doctor", "--database-url", straight)
}

// byTLS makes the server refuse plain connections to one database.
func (s *server) byTLS(t *testing.T) {
	straight := s.create(t, "secret") // another database, so that nothing but the rule is different
	a := newAuthority(t, s.dir)
	a.sign("server", "localhost")
	for _, name := range []string{"server.pem", "server.key"} {
		if err := s.Give(a.file(name)); err != nil {
			t.Fatal(err)
		}
	}
	hba := filepath.Join(s.dir, "postgres", "node0", "pg_hba.conf")
	old, err := os.ReadFile(hba)
	if err != nil {
		t.Fatal(err)
	}
	rules := append([]byte("hostssl secret all all scram-sha-256\nhost secret all all reject\n"), old...)
	if err := os.WriteFile(hba, rules, 0o600); err != nil {
		t.Fatal(err)
	}
	s.alter(t, "alter system set ssl_cert_file = '"+a.file("server.pem")+"'",
		"alter system set ssl_key_file = '"+a.file("server.key")+"'", "alter system set ssl = on")

	trust := "&sslrootcert=" + a.file("ca.pem")
	plain := strings.Replace(straight, "127.0.0.1", "localhost", 1)
	full := strings.Replace(plain, "sslmode=disable", "sslmode=verify-full", 1)
	byAddress := strings.Replace(full, "localhost", "127.0.0.1", 1)
	sink := s.sinkInto(t, "secret", full+trust)
	put(t, s.topic(t, "secret"), 300, 10)
	rowsAppear(t, full+trust, 300)
	if n := query(t, full+trust, `select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
		where application_name = 'footfall' and not ssl`); n != 0 {
		t.Errorf("%d sessions of the sink are in the clear", n)
	}
	sink.stop()
	wantSays(t, 0, "300 events", "doctor", "--database-url", full+trust)
	wantSays(t, 1, "sslmode=verify-full", "doctor", "--database-url", plain)
	wantSays(t, 1, "sslrootcert=FILE", "doctor", "--database-url", full)
	wantSays(t, 1, "a name of the server's certificate", "doctor", "--database-url", byAddress+trust)
	// The same words in a sink's log, which goes on trying.
	p := s.sinkInto(t, "secret", full)
	wait(t, "the sink to say why", func() bool {
		return strings.Contains(p.out.String(), "sslrootcert=FILE")
	})
}

// alter changes settings of the primary, and waits until they are there.
func (s *server) alter(t *testing.T, statements ...string) {
	t.Helper()
	straight := s.URL("postgres", false)
	for _, sql := range statements {
		query(t, straight, sql)
	}
	const loaded = "select (extract(epoch from pg_conf_load_time()) * 1000000)::bigint"
	before := query(t, straight, loaded)
	query(t, straight, "select pg_reload_conf()")
	wait(t, "the settings", func() bool { return query(t, straight, loaded) != before })
}

// byStandby names a standby first, then loses the primary with rows that the standby has not,
// then has the primary refuse writes without ending.
func (s *server) byStandby(t *testing.T) {
	ctx := t.Context()
	s.create(t, "pair")
	client := s.topic(t, "pair")
	if err := s.Follow(ctx, false); err != nil {
		t.Fatal(err)
	}
	both := s.URL("pair", true)
	hosts := strings.TrimPrefix(both[:strings.LastIndex(both, "/")], "postgres://postgres:torture@")
	first, second, _ := strings.Cut(hosts, ",")
	standbyFirst := strings.Replace(both, hosts, second+","+first, 1)
	onlyStandby := strings.Replace(both, hosts, second, 1)
	sink := s.sinkInto(t, "pair", standbyFirst)
	put(t, client, 1000, 10)
	rowsAppear(t, s.URL("pair", false), 1000)
	wantSays(t, 1, "put the primary into the database URL", "doctor", "--database-url", onlyStandby)

	follow(t, "rows of the standby", 1000, func() int { return countRows(t, onlyStandby) })
	s.Delay()
	put(t, client, 1000, 10)
	rowsAppear(t, s.URL("pair", false), 2000)
	if err := s.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, client, 500, 0)
	rowsAppear(t, s.URL("pair", false), 2500)
	// A batch in hand finds the positions moved; without one they are seen to have gone back.
	if log := sink.out.String(); !strings.Contains(log, "positions moved") && !strings.Contains(log, "position went back") {
		t.Errorf("the rows came without a second reading:\n%s", log)
	}
	wantSays(t, 0, "", "audit", "--database-url", standbyFirst)

	if err := s.Follow(ctx, false); err != nil {
		t.Fatal(err)
	}
	s.alter(t, "alter system set default_transaction_read_only = on")
	put(t, client, 500, 0)
	wait(t, "the refusal", func() bool { return strings.Contains(sink.out.String(), "25006") })
	query(t, strings.Replace(both, hosts, first, 1), "select count(pg_promote())")
	rowsAppear(t, strings.Replace(both, hosts, first, 1), 3000)
	wantSays(t, 0, "", "audit", "--database-url", standbyFirst)
}

// pgbouncer starts one in transaction mode, with fewer sessions than a sink opens.
func (s *server) pgbouncer(t *testing.T) (url string) {
	t.Helper()
	listen := freePort(t)
	_, port, _ := net.SplitHostPort(listen)
	straight := s.URL("", false)
	userinfo, host, _ := strings.Cut(strings.TrimPrefix(straight, "postgres://"), "@")
	user, password, _ := strings.Cut(userinfo, ":")
	host, _, _ = strings.Cut(host, "/")
	host, serverPort, _ := net.SplitHostPort(host)
	file := filepath.Join(s.dir, "pgbouncer.ini")
	ini := fmt.Sprintf(`[databases]
* = host=%s port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_login_retry = 1
`, host, serverPort, user, password, port)
	if err := os.WriteFile(file, []byte(ini), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := s.Command("/usr/sbin/pgbouncer", file)
	var log output
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Logf("pgbouncer printed:\n%s", &log)
		}
	})
	wait(t, "pgbouncer", func() bool {
		c, err := net.Dial("tcp", listen)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "postgres://" + user + "@" + listen
}
