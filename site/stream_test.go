package site

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// table stands where the database is: events are appended and read by position.
type table struct {
	mu     sync.Mutex
	events []Event
	away   bool
	reads  int
}

func (tb *table) add(n int, props string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for range n {
		id := fmt.Sprintf("e%d", len(tb.events))
		tb.events = append(tb.events, Event{
			ID: id, Site: "demo", Type: "custom", Path: "</script><b>\n\ndata: x",
			ReceivedAt: time.UnixMilli(1000), LoadedAt: time.UnixMilli(1060),
			Props: json.RawMessage(props),
		})
	}
}

func (tb *table) setAway(away bool) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.away = away
}

func (tb *table) readCount() int {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	return tb.reads
}

func (tb *table) recent(_ context.Context, cursor string, limit int) ([]Event, string, error) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.reads++
	if tb.away {
		return nil, "", errors.New("connection refused")
	}
	from := max(0, len(tb.events)-limit)
	if cursor != "" {
		from, _ = strconv.Atoi(cursor)
	}
	to := min(len(tb.events), from+limit)
	return append([]Event(nil), tb.events[from:to]...), strconv.Itoa(to), nil
}

// startLive runs a Server on the table; stop ends Run and waits for it.
func startLive(t *testing.T, tb *table) (server *httptest.Server, s *Server, stop func()) {
	t.Helper()
	s = New(Options{
		Collector: collector, Site: "demo", Recent: tb.recent, Metrics: metrics.NewSet(),
	})
	s.pollEvery = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	server = httptest.NewServer(s)
	stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(func() {
		stop()
		server.Close()
	})
	return server, s, stop
}

// events is one open stream.
type events struct {
	t     *testing.T
	lines *bufio.Scanner
	close func()
}

func watch(t *testing.T, server *httptest.Server) *events {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/live/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("type %q", got)
	}
	stop := func() {
		cancel()
		answer.Body.Close()
	}
	t.Cleanup(stop)
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return &events{t: t, lines: lines, close: stop}
}

// next returns the name and the data of the next message; it gives up with the stream's context.
func (e *events) next() (name, data string) {
	e.t.Helper()
	for e.lines.Scan() {
		line := e.lines.Text()
		switch {
		case strings.HasPrefix(line, "event: "):
			name = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = line[len("data: "):]
		case line == "" && name != "":
			return name, data
		}
	}
	e.t.Fatalf("stream ended: %v", e.lines.Err())
	return "", ""
}

// until skips messages up to the next one of that name.
func (e *events) until(want string) string {
	e.t.Helper()
	for {
		if name, data := e.next(); name == want {
			return data
		}
	}
}

func (e *events) ids(name string, n int) []string {
	e.t.Helper()
	ids := make([]string, 0, n)
	for range n {
		var ev wireEvent
		if err := json.Unmarshal([]byte(e.until(name)), &ev); err != nil {
			e.t.Fatal(err)
		}
		ids = append(ids, ev.ID)
	}
	return ids
}

func wantIDs(t *testing.T, got []string, from int) {
	t.Helper()
	for i, id := range got {
		if want := fmt.Sprintf("e%d", from+i); id != want {
			t.Fatalf("place %d: %s, want %s", i, id, want)
		}
	}
}

// waitFor polls with a deadline: what is waited for happens on another goroutine.
func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatal("waited 10 s in vain")
		}
		time.Sleep(time.Millisecond)
	}
}
