package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/collector"
	"footfall/collector/sites"
	"footfall/event"
	"footfall/event/eventtest"
	"footfall/kafka"
	"footfall/local"
	"footfall/sink"
	"footfall/sink/postgres"
	"footfall/sink/postgres/pgtest"
)

// path is a collector, a broker and a sink, with nothing between them that is not real but
// the broker, which is the one of up.
type path struct {
	t           *testing.T
	broker      *local.Broker
	url, secret string // of the collector
	database    string
}

func newPath(t *testing.T) *path {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	x := &path{t: t, database: pgtest.New(t)}
	store, err := postgres.Open(t.Context(), postgres.Options{DatabaseURL: x.database})
	if err != nil {
		t.Fatal(err)
	}
	store.Close()
	if x.broker, err = local.StartBroker(local.BrokerOptions{Topic: "events", Partitions: 3, Logger: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.broker.Close)
	var hash string
	x.secret, hash = sites.NewSecret()
	file := filepath.Join(t.TempDir(), "footfall.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "sites:\n  shop: {secrets: ['%s']}\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	of, err := sites.OpenFile(file, log)
	if err != nil {
		t.Fatal(err)
	}
	brokers := kafka.Cluster{Brokers: x.broker.Addrs(), Dial: x.broker.Dial}
	col, err := collector.New(collector.Options{Durability: collector.DurabilitySpool, SpoolDir: filepath.Join(t.TempDir(), "spool"),
		SpoolMinFree: -1, Kafka: brokers, Topic: "events", Partitions: 3, Sites: of, Logger: log, Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x.url = "http://" + ln.Addr().String()
	into := sink.New(sink.Options{Kafka: brokers, Topic: "events", DatabaseURL: x.database, Logger: log})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := col.Run(ctx, ln); err != nil {
			t.Errorf("collector: %v", err)
		}
	})
	wg.Go(func() {
		if err := into.Run(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("sink: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return x
}

// answer is what the collector said to one event.
func (x *path) answer(method, at, body string) int {
	x.t.Helper()
	req, err := http.NewRequestWithContext(x.t.Context(), method, x.url+at, strings.NewReader(body))
	if err != nil {
		x.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	if at == "/api/events" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+x.secret)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatalf("%s %.80s: %.200s", method, at, err.Error())
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		x.t.Fatal(err)
	}
	return resp.StatusCode
}

// send gives one event to a way in, and reports whether it was accepted. An answer that is
// neither yes nor a refusal of the sender's is an error.
func (x *path) send(way string, e []byte) bool {
	x.t.Helper()
	var status int
	switch way {
	case "pixel":
		status = x.answer("GET", "/p.gif?json="+url.QueryEscape(string(e)), "")
	case "beacon":
		status = x.answer("POST", "/e", string(e))
	default:
		status = x.answer("POST", "/api/events", string(e))
	}
	if status != 200 && status != 204 && (status < 400 || status > 499 || status == 429) {
		x.t.Errorf("%s: %.80s is answered %d", way, e, status)
	}
	return status < 300
}

// random is an id without its time, which the collector replaces when it does not believe
// it.
func random(id event.UUID) event.UUID {
	clear(id[:6])
	return id
}

// rows reads how many rows each id has, by random.
func (x *path) rows() map[event.UUID]int {
	x.t.Helper()
	c := pgtest.Connect(x.t, x.database)
	defer c.Close(context.Background())
	rows, err := c.Query(x.t.Context(), "select event_id from footfall.events")
	if err != nil {
		x.t.Fatal(err)
	}
	defer rows.Close()
	n := map[event.UUID]int{}
	for rows.Next() {
		var id event.UUID
		if err := rows.Scan((*[16]byte)(&id)); err != nil {
			x.t.Fatal(err)
		}
		n[random(id)]++
	}
	if err := rows.Err(); err != nil {
		x.t.Fatal(err)
	}
	return n
}

func (x *path) await(what string, ids []event.UUID) (rows map[event.UUID]int) {
	x.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		rows = x.rows()
		missing := slices.DeleteFunc(slices.Clone(ids), func(id event.UUID) bool { return rows[random(id)] > 0 })
		if len(missing) == 0 {
			return rows
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("%d of %d %s are no row, %s first", len(missing), len(ids), what, missing[0])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// browserEvent is an event as a sender writes it, with one value replaced.
func browserEvent(id event.UUID, v eventtest.BadValue) []byte {
	keys := []string{fmt.Sprintf("%q:%s", v.Field, v.JSON)}
	for _, k := range [][2]string{{"event_id", `"` + id.String() + `"`}, {"site", `"shop"`}, {"type", `"custom"`},
		{"name", `"bad"`}, {"url", `"https://shop.example/a"`}} {
		if k[0] != v.Field {
			keys = append(keys, fmt.Sprintf("%q:%s", k[0], k[1]))
		}
	}
	return []byte("{" + strings.Join(keys, ",") + "}")
}

// pixelMax is how long a value may be in a query: the door takes no longer heads.
const pixelMax = 6000

// TestNoBadValueBlocksThePath sends every bad value by every way that takes events, each
// followed by a good one. What is accepted becomes one row, what is refused none, and the
// next one is never the worse for it.
func TestNoBadValueBlocksThePath(t *testing.T) {
	t.Parallel()
	x := newPath(t)
	values := eventtest.BadValues()
	if len(values) < 200 {
		t.Errorf("only %d bad values", len(values))
	}
	type fate struct {
		way      string
		v        eventtest.BadValue
		accepted bool
	}
	fates := map[event.UUID]fate{}
	var want, good []event.UUID
	given := map[event.UUID]bool{} // ids of accepted events that came as the bad value itself
	goodOne := eventtest.BadValue{Field: "name", JSON: `"good"`}
	for _, way := range []string{"beacon", "pixel", "api"} {
		for _, v := range values {
			if way == "pixel" && len(url.QueryEscape(v.JSON)) > pixelMax {
				continue
			}
			id, next := event.NewUUID(time.Now()), event.NewUUID(time.Now())
			accepted := x.send(way, browserEvent(id, v))
			switch {
			case v.Field != "event_id":
				fates[id] = fate{way, v, accepted}
				if accepted {
					want = append(want, id)
				}
			case accepted:
				if own, err := event.ParseUUID(strings.Trim(v.JSON, `"`)); err == nil && !own.IsZero() {
					id = random(own) // by each way the same
				}
				given[id] = true
			}
			if !x.send(way, browserEvent(next, goodOne)) {
				t.Fatalf("%s: the good event behind %s = %.60s is refused", way, v.Field, v.JSON)
			}
			good = append(good, next)
		}
	}
	rows := x.await("accepted events", append(slices.Clone(want), good...))
	refused := 0
	for id, f := range fates {
		if n := rows[random(id)]; f.accepted && n != 1 || !f.accepted && n != 0 {
			t.Errorf("%s: %s = %.60s: accepted %v, %d rows", f.way, f.v.Field, f.v.JSON, f.accepted, n)
		}
		if !f.accepted {
			refused++
		}
	}
	if n := len(want) + len(good) + len(given); len(rows) != n {
		t.Errorf("%d rows of %d accepted ids", len(rows), n)
	}
	if n := pgtest.Get[int](t, x.database, "select count(*) from footfall.dead_letters"); n != 0 {
		t.Errorf("%d accepted events are dead letters", n)
	}
	// Else the test has lost what it is about.
	if refused < 100 || len(want) < 100 {
		t.Errorf("%d bad values are refused and %d become rows", refused, len(want))
	}
}

// TestNoBadRecordBlocksThePath writes into the topic what no collector lets through: every
// bad value and every record that is no event, each followed by a good one.
func TestNoBadRecordBlocksThePath(t *testing.T) {
	t.Parallel()
	x := newPath(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(x.broker.Addrs()...), kgo.Dialer(x.broker.Dial),
		kgo.DefaultProduceTopic("events"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	record := func() *event.Event {
		id := event.NewUUID(time.Now())
		return &event.Event{EventID: id, Schema: event.Some(event.Schema), Site: "shop", Type: event.Pageview,
			OccurredAt: id.Time(), ReceivedAt: id.Time(), Clock: event.ClockClient, Transport: event.TransportBeacon,
			URL: "https://shop.example/a", Path: "/a"}
	}
	var list, bad []*kgo.Record
	var good []event.UUID
	put := func(value []byte) {
		next := record()
		r := &kgo.Record{Partition: int32(len(bad) % 3), Value: value}
		bad, good = append(bad, r), append(good, next.EventID)
		list = append(list, r, &kgo.Record{Partition: r.Partition, Value: next.AppendJSON(nil)})
	}
	values, wholes := eventtest.BadValues(), eventtest.BadRecords()
	ids := make([]event.UUID, len(values))
	for i, v := range values {
		e := record()
		ids[i] = e.EventID
		put(v.In(t, e))
	}
	for _, whole := range wholes {
		put([]byte(whole))
	}
	if len(bad) < 200 {
		t.Errorf("only %d bad records", len(bad))
	}
	if err := client.ProduceSync(t.Context(), list...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	rows := x.await("good records", good)
	c := pgtest.Connect(t, x.database)
	defer c.Close(context.Background())
	fates := map[string]int{}
	for i, r := range bad {
		var letter []byte
		var letters int
		err := c.QueryRow(t.Context(), `select count(*), coalesce(min(encode(value, 'hex')), '')::bytea from footfall.dead_letters
			where partition = $1 and record_offset = $2`, r.Partition, r.Offset).Scan(&letters, &letter)
		if err != nil {
			t.Fatal(err)
		}
		row, what := false, fmt.Sprintf("record %.60q", r.Value)
		if i < len(values) {
			v := values[i]
			row, what = v.Row, fmt.Sprintf("%s = %.60s", v.Field, v.JSON)
			if n := rows[random(ids[i])]; v.Row != (n == 1) {
				t.Errorf("%s: %d rows, want row %v", what, n, v.Row)
			}
		}
		if row != (letters == 0) || letters > 1 {
			t.Errorf("%s: %d dead letters, want row %v", what, letters, row)
		}
		if !row && !bytes.Equal(letter, fmt.Appendf(nil, "%x", r.Value)) {
			t.Errorf("%s: the dead letter is not what came", what)
		}
		fates[map[bool]string{true: "row", false: "dead letter"}[row]]++
	}
	if want := fates["row"] + len(good); len(rows) != want {
		t.Errorf("%d rows, want %d", len(rows), want)
	}
	if fates["row"] < 100 || fates["dead letter"] < 100 {
		t.Errorf("fates are %v", fates)
	}
}
