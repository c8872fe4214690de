package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// While the parts end, however long that takes, health and metrics are there, and say so.
func TestTheAdminListenerIsThereToTheLast(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &admin{set: metrics.NewSet(), log: slog.New(slog.DiscardHandler), health: []health{{"part",
		func(context.Context) (refused, degraded error) { return errors.New("it is stopping"), nil }}}}
	get := func(path string) (int, error) {
		resp, err := http.Get("http://" + ln.Addr().String() + path)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	broken := errors.New("not all was stored")
	err = a.beside(ctx, ln, func(ctx context.Context) error {
		cancel()
		<-ctx.Done()
		for path, want := range map[string]int{"/health/ready": 503, "/health/live": 200, "/metrics": 200} {
			if got, err := get(path); got != want {
				t.Errorf("%s at the end: %d, %v; want %d", path, got, err, want)
			}
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Errorf("it ended with %v", err)
	}
	if _, err := get("/metrics"); err == nil {
		t.Error("afterwards it still listens")
	}
}

// A part cannot go on without the listener that tells of it.
func TestPartsEndWithTheAdminListener(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	a := &admin{set: metrics.NewSet(), log: slog.New(slog.DiscardHandler)}
	err = a.beside(t.Context(), ln, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, net.ErrClosed) {
		t.Error(fmt.Errorf("it ended with %w", err))
	}
}
