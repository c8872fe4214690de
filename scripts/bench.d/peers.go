package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"footfall/event"
)

// process runs a program on the load's core until stop.
func process(s sinkSettings, name string, env []string, args ...string) (stop func() string, done <-chan error, err error) {
	cmd := exec.Command("taskset", append([]string{"-c", "1"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start %s: %w", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return func() string {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
		}
		return said.String()
	}, ended, nil
}

// sinkRun lets footfall sink copy a topic, from when it has its positions until the last
// row is committed.
func (b *sinkBench) sinkRun(ctx context.Context, topic string) (rows int64, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, runMax)
	defer cancel()
	stop, _, err := process(b.s, "sink", nil, b.s.bin, "sink", "--brokers", strings.Join(b.brokers, ","),
		"--database-url", b.s.database, "--topic", topic, "--group", b.name("sink"), "--admin-listen", "127.0.0.1:0",
		"--log-level", "warn")
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if said := stop(); err != nil {
			err = fmt.Errorf("sink of %s: %w: %s", topic, err, said)
		}
	}()
	for began := false; !began; {
		if err := b.db.conn.QueryRow(ctx, "select exists (select from footfall.sink_offsets)").Scan(&began); err != nil {
			return 0, 0, err
		}
		if !began {
			time.Sleep(2 * time.Millisecond)
		}
	}
	began := time.Now()
	for rows < int64(len(b.events)) {
		time.Sleep(5 * time.Millisecond)
		if err := b.db.conn.QueryRow(ctx, "select coalesce(sum(n_inserted), 0)::bigint from footfall.ledger").Scan(&rows); err != nil {
			return 0, 0, err
		}
	}
	return rows, time.Since(began), nil
}

// naiveRun lets the sink that everybody writes first copy some rows.
func (b *sinkBench) naiveRun(ctx context.Context) (rows int64, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, runMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, "taskset", "-c", "1", b.s.naive, "scripts/bench.d/naive/sink.py",
		fmt.Sprint(min(b.s.naiveRows, len(b.events))))
	cmd.Env = append(os.Environ(), "BROKERS="+strings.Join(b.brokers, ","), "DATABASE_URL="+b.s.database,
		"TOPIC="+b.topic(b.s.partitions), "GROUP="+b.name("naive"))
	out, err := cmd.CombinedOutput()
	var seconds float64
	if err == nil {
		_, err = fmt.Sscan(string(out), &rows, &seconds)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("naive sink: %w: %s", err, out)
	}
	return rows, time.Duration(seconds * float64(time.Second)), nil
}

const connectWorker = `bootstrap.servers=%s
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=true
value.converter.schemas.cache.size=1000
offset.storage.file.filename=%s/offsets
connector.client.config.override.policy=All
listeners=http://127.0.0.1:0
`

const connectSink = `name=%s
connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
tasks.max=2
topics=%s
connection.url=%s
connection.username=%s
connection.password=%s
insert.mode=%s
primary.key.mode=record_value
primary.key.fields=occurred_at,event_id
schema.evolution=none
collection.name.format=footfall.events
batch.size=5000
consumer.override.max.poll.records=5000
consumer.override.fetch.min.bytes=1000000
consumer.override.auto.offset.reset=earliest
`

// connectRun lets Debezium's JDBC sink copy the same events in Connect's form, from its
// first row to its last.
func (b *sinkBench) connectRun(ctx context.Context, mode string) (rows int64, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, runMax)
	defer cancel()
	dir, err := os.MkdirTemp(b.s.dir, "connect-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	u, err := url.Parse(b.s.database)
	if err != nil {
		return 0, 0, err
	}
	password, _ := u.User.Password()
	jdbc := fmt.Sprintf("jdbc:postgresql://%s%s?reWriteBatchedInserts=true&stringtype=unspecified", u.Host, u.Path)
	worker, sink := filepath.Join(dir, "worker.properties"), filepath.Join(dir, "sink.properties")
	for path, text := range map[string]string{
		worker: fmt.Sprintf(connectWorker, strings.Join(b.brokers, ","), dir),
		sink:   fmt.Sprintf(connectSink, b.name("connect"), connectTopic, jdbc, u.User.Username(), password, mode),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return 0, 0, err
		}
	}
	stop, done, err := process(b.s, "connect", nil, "java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", b.s.connect+"/*", "org.apache.kafka.connect.cli.ConnectStandalone", worker, sink)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if said := stop(); err != nil {
			err = fmt.Errorf("connect by %s: %w: %s", mode, err, tail(said, 3000))
		}
	}()
	go func() { // a worker that gives up never fills the table
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	list := b.connectEvents()
	for any := false; !any; time.Sleep(2 * time.Millisecond) {
		if err := b.db.conn.QueryRow(ctx, "select exists (select from footfall.events)").Scan(&any); err != nil {
			return 0, 0, err
		}
	}
	began := time.Now()
	err = b.db.awaitRows(ctx, lasts(list, b.s.partitions))
	return int64(len(list)), time.Since(began), err
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func (b *sinkBench) connectEvents() []*event.Event {
	return b.events[:min(b.s.connectRows, len(b.events))]
}
