package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"footfall/collector"
	"footfall/collector/sites"
	"footfall/event"
	"footfall/kafka"
	"footfall/local"
	"footfall/sink/consume"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"
)

// memoryStore is the database of the bubble: positions and rows change together or
// not at all, as in sink/postgres.
type memoryStore struct {
	mu        sync.Mutex
	awayUntil time.Time
	positions map[int32]int64
	rows      map[event.UUID]int
	tries     int
	decoder   event.Decoder
}

func (s *memoryStore) Positions(_ context.Context, _, _ string, _ [16]byte, starts map[int32]int64) (
	map[int32]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[int32]int64{}
	for p, start := range starts {
		if _, made := s.positions[p]; !made {
			s.positions[p] = start
		}
		out[p] = s.positions[p]
	}
	return out, nil
}

func (s *memoryStore) Write(_ context.Context, b consume.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tries++
	if time.Now().Before(s.awayUntil) {
		return errors.New("database is away")
	}
	for _, part := range b.Parts {
		if s.positions[part.Partition] != part.From {
			return consume.ErrMoved
		}
	}
	for _, part := range b.Parts {
		for _, r := range part.Records {
			e, refusal := s.decoder.Record(r.Value)
			if refusal != nil {
				return refusal
			}
			s.rows[e.EventID]++
		}
		s.positions[part.Partition] = part.To
	}
	return nil
}

// TestWholePathInABubble sends beacons through collector, spool, Kafka's protocol
// and sink, without network and without waiting: the clock is the bubble's. The
// database is away for a minute in the middle; nothing is lost, nothing is double.
func TestWholePathInABubble(t *testing.T) {
	dir := t.TempDir()
	// The first header starts a clock of the whole process, which the bubble would wait
	// for.
	_ = new(fasthttp.ResponseHeader).Header()
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		broker, err := local.StartBroker(local.BrokerOptions{Topic: "events", Partitions: 3, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		col, err := collector.New(collector.Options{Durability: collector.DurabilitySpool, SpoolDir: dir, SpoolMinFree: -1,
			Kafka: kafka.Cluster{Brokers: broker.Addrs(), Dial: broker.Dial}, Topic: "events", Partitions: 3,
			Sites:  sites.Named("shop"),
			Logger: log, Metrics: metrics.NewSet()})
		if err != nil {
			t.Fatal(err)
		}
		store := &memoryStore{positions: map[int32]int64{}, rows: map[event.UUID]int{}}
		consumer := consume.New(consume.Options{Kafka: kafka.Cluster{Brokers: broker.Addrs(), Dial: broker.Dial},
			Topic: "events", Group: "sink", Logger: log, Metrics: metrics.NewSet()}, store)
		ctx, cancel := context.WithCancel(t.Context())
		ln := fasthttputil.NewInmemoryListener()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := col.Run(ctx, ln); err != nil {
				t.Errorf("collector: %v", err)
			}
		})
		wg.Go(func() {
			if err := consumer.Run(ctx); err != nil && ctx.Err() == nil {
				t.Errorf("sink: %v", err)
			}
		})

		began := time.Now()
		browser := newBrowser(t, ln)
		ids := map[event.UUID]int{} // how often each was sent
		for i := range 300 {
			if i == 100 {
				store.mu.Lock()
				store.awayUntil = time.Now().Add(time.Minute)
				store.mu.Unlock()
			}
			id := event.NewUUID(time.Now())
			for range 1 + i%10/9 { // some pages do not hear the answer and send again
				browser.send(id)
				ids[id]++
			}
			time.Sleep(50 * time.Millisecond)
		}
		deadline := time.Now().Add(2 * time.Minute)
		for store.count() < len(ids) && time.Now().Before(deadline) {
			time.Sleep(time.Second)
		}
		store.mu.Lock()
		for id, sent := range ids {
			// Of those sent twice the table's key makes one row; here they are two.
			if n := store.rows[id]; n != sent {
				t.Errorf("%s was sent %d times and arrived %d times", id, sent, n)
			}
		}
		if len(store.rows) != len(ids) {
			t.Errorf("%d different events arrived, %d were sent", len(store.rows), len(ids))
		}
		if store.tries < 3 || time.Since(began) < time.Minute {
			t.Errorf("%d tries in %s: the outage was not seen", store.tries, time.Since(began))
		}
		store.mu.Unlock()

		browser.conn.Close()
		cancel()
		wg.Wait()
		broker.Close()
		// The server's worker pool looks for its end every ten seconds.
		time.Sleep(11 * time.Second)
	})
}

func (s *memoryStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

// browser speaks HTTP on a plain connection: a client with idle connections of its
// own would outlive the bubble.
type browser struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func newBrowser(t *testing.T, ln *fasthttputil.InmemoryListener) *browser {
	conn, err := ln.Dial()
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, conn: conn, in: bufio.NewReader(conn)}
}

func (b *browser) send(id event.UUID) {
	b.t.Helper()
	body := fmt.Sprintf(`{"site":"shop","sent_at":%d,"events":[{"event_id":%q,"type":"pageview",`+
		`"url":"https://shop.example/a"}]}`, time.Now().UnixMilli(), id)
	fmt.Fprintf(b.conn, "POST /e HTTP/1.1\r\nHost: c.example\r\nContent-Type: text/plain\r\n"+
		"Content-Length: %d\r\n\r\n%s", len(body), body)
	resp, err := http.ReadResponse(b.in, nil)
	if err != nil {
		b.t.Fatalf("read answer: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		b.t.Fatalf("answer %s %s", resp.Status, strings.TrimSpace(resp.Header.Get("X-Footfall-Reason")))
	}
}
