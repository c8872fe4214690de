//go:build outside

package outside

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// cluster is a real Kafka broker with a collector and a sink as processes of their
// own.
type cluster struct {
	t               *testing.T
	kafkaDir        string
	brokers         string
	databaseURL     string
	spool, listen   string
	collector, sink *process
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, kafkaDir: filepath.Join(t.TempDir(), "kafka"), databaseURL: database(t),
		spool: filepath.Join(t.TempDir(), "spool"), listen: freePort(t)}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	t.Cleanup(func() { kafka(context.Background(), t, "down", "--dir", c.kafkaDir) })
	c.brokers = kafka(ctx, t, "up", "--dir", c.kafkaDir)
	c.startCollector()
	c.startSink()
	return c
}

func (c *cluster) url() string { return "http://" + c.listen }

func (c *cluster) startCollector() {
	c.t.Helper()
	c.collector = start(c.t, "collector", "--brokers", c.brokers, "--listen", c.listen,
		"--admin-listen", "127.0.0.1:0", "--spool", c.spool)
}

func (c *cluster) startSink() {
	c.t.Helper()
	c.sink = start(c.t, "sink", "--brokers", c.brokers, "--database-url", c.databaseURL,
		"--admin-listen", "127.0.0.1:0")
}

// oracle sends events one a request and remembers what was answered.
type oracle struct {
	url   string
	ago   time.Duration // how long ago the events are said to have happened
	pause time.Duration // of a client after each event; 10 ms by default

	mu       sync.Mutex
	accepted map[event.UUID]bool
	unknown  map[event.UUID]bool // no answer, or an error: may be a row or not
}

// send sends one event, again under the same id until it is accepted or ctx ends.
func (o *oracle) send(ctx context.Context, client *http.Client) {
	id := event.NewUUID(time.Now().Add(-o.ago))
	for ctx.Err() == nil {
		body := fmt.Sprintf(`{"site":"demo","sent_at":%d,"events":[{"event_id":%q,"type":"custom",`+
			`"name":"oracle"}]}`, time.Now().UnixMilli(), id)
		resp, err := client.Post(o.url+"/e", "text/plain", bytes.NewReader([]byte(body)))
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode < 300 {
				o.note(id, true)
				return
			}
		}
		o.note(id, false)
		time.Sleep(20 * time.Millisecond)
	}
}

func (o *oracle) note(id event.UUID, accepted bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if accepted {
		o.accepted[id] = true
		delete(o.unknown, id)
		return
	}
	o.unknown[id] = true
}

func (o *oracle) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.accepted)
}

// reach waits until n events are accepted.
func (o *oracle) reach(t *testing.T, n int) {
	t.Helper()
	follow(t, "accepted events", n, o.count)
}

// load sends from eight clients until stop is called.
func (o *oracle) load(ctx context.Context) (stop func()) {
	o.accepted, o.unknown = map[event.UUID]bool{}, map[event.UUID]bool{}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
			for ctx.Err() == nil {
				o.send(ctx, client)
				time.Sleep(cmp.Or(o.pause, 10*time.Millisecond))
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// judge holds the table against what was answered: each accepted event is one row,
// and there is none that was never sent.
func (o *oracle) judge(t *testing.T, databaseURL string) {
	t.Helper()
	follow(t, "rows of accepted events", o.count(), func() int { return countRows(t, databaseURL) })
	time.Sleep(time.Second)
	rows := rowsByID(t, databaseURL)
	for id := range o.accepted {
		if rows[id] != 1 {
			t.Errorf("%s was accepted and is %d rows", id, rows[id])
		}
	}
	for id, n := range rows {
		if !o.accepted[id] && (!o.unknown[id] || n > 1) {
			t.Errorf("%s is %d rows and was not accepted", id, n)
		}
	}
	t.Logf("%d accepted, %d of unknown fate, %d rows", len(o.accepted), len(o.unknown), len(rows))
}

func rowsByID(t *testing.T, databaseURL string) map[event.UUID]int {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "select event_id from footfall.events")
	if err != nil {
		t.Fatal(err)
	}
	out := map[event.UUID]int{}
	for rows.Next() {
		var id [16]byte
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		out[event.UUID(id)]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestKilledProcessesLoseNothing kills the collector and the sink by turns under
// load, and the broker once, on a real Kafka.
func TestKilledProcessesLoseNothing(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	o := &oracle{url: c.url()}
	stop := o.load(t.Context())
	for round := range 4 {
		o.reach(t, 150*(round+1))
		c.collector.kill()
		c.startCollector()
		o.reach(t, 150*(round+1)+75)
		c.sink.kill()
		c.startSink()
	}
	kafka(t.Context(), t, "kill", "1", "--dir", c.kafkaDir)
	o.reach(t, o.count()+200) // Kafka away is no reason to refuse an event
	kafka(t.Context(), t, "start", "1", "--dir", c.kafkaDir)
	o.reach(t, o.count()+50)
	stop()
	o.judge(t, c.databaseURL)
	// With Kafka away they have to end in time too.
	kafka(t.Context(), t, "kill", "1", "--dir", c.kafkaDir)
	for name, p := range map[string]*process{"collector": c.collector, "sink": c.sink} {
		began := time.Now()
		if status := p.stop(); status != 0 {
			t.Errorf("%s ended with status %d", name, status)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s took %s to end", name, took)
		}
	}
}
