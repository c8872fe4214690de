package intake

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestShutdownAnswersWhatWasRead(t *testing.T) {
	t.Parallel()
	entered, release := make(chan bool, 8), make(chan bool)
	s, _ := newTestServer(func(o *Options) {
		o.Append = func(context.Context, [][]byte) error {
			entered <- true
			<-release
			return nil
		}
	})
	ln := serve(t, s)
	codes := make(chan int, 8)
	for range 8 {
		go func() {
			codes <- raw(t, ln, oneBeacon).StatusCode
		}()
	}
	for range 8 {
		<-entered
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	select {
	case err := <-stopped:
		t.Fatalf("shutdown did not wait for its requests: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 8 {
		if code := <-codes; code != 204 {
			t.Errorf("a request under way got %d, want 204", code)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestShutdownDoesNotWaitForConnectionsWithoutARequest(t *testing.T) {
	t.Parallel()
	s, _ := newTestServer(nil)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := make(chan error, 1)
	go func() { serving <- s.Serve(ln) }()
	var conns [3]net.Conn
	for i := range conns {
		if conns[i], err = net.Dial("tcp", ln.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer conns[i].Close()
	}
	// One of them has a request behind it and is kept alive.
	io.WriteString(conns[2], "GET /f.js HTTP/1.1\r\nHost: c\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(conns[2]), nil); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Errorf("shutdown after %v: %v", time.Since(start), err)
	}
	if err := <-serving; err != nil {
		t.Error(err)
	}
}

func TestAShutdownThatRunsOutOfTimeEndsTheAppends(t *testing.T) {
	t.Parallel()
	entered := make(chan bool, 1)
	s, _ := newTestServer(func(o *Options) {
		o.Append = func(ctx context.Context, _ [][]byte) error {
			entered <- true
			<-ctx.Done()
			return ctx.Err()
		}
	})
	ln := serve(t, s)
	answer := make(chan *http.Response, 1)
	go func() {
		answer <- raw(t, ln, oneBeacon)
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the deadline's error", err)
	}
	if resp := <-answer; resp.StatusCode != 503 || resp.Header.Get(reasonHeader) != "shutting_down" {
		t.Errorf("got %d %s, want 503 shutting_down", resp.StatusCode, resp.Header.Get(reasonHeader))
	}
}

func TestTheLogHasNoAddressesOfSenders(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	l := httpLog{slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	sender := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 4711}
	l.Printf("error when serving connection %q<->%q: %v", sender, sender,
		fmt.Errorf("read: %w", &net.OpError{Op: "read", Net: "tcp", Source: sender, Addr: sender, Err: os.ErrDeadlineExceeded}))
	if strings.Contains(log.String(), "203.0.113.7") || !strings.Contains(log.String(), "i/o timeout") {
		t.Errorf("logged %s", &log)
	}
}
