package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// pollEvery is what a watcher may be late.
const pollEvery = 10 * time.Millisecond

// watcher polls the ledger, whose lines are visible together with the rows that the same
// transaction stored, and notes when it first saw which transaction.
type watcher struct {
	stop func()

	mu    sync.Mutex
	lines map[int64]line
	last  int64 // largest id so far
	total int64
	when  map[string]time.Time // by transaction
	err   error
}

type line struct {
	rows int64
	at   time.Time
}

func watch(ctx context.Context, url string) (*watcher, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	w := &watcher{lines: map[int64]line{}, when: map[string]time.Time{},
		stop: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		defer conn.Close(context.WithoutCancel(ctx))
		for tick := time.NewTicker(pollEvery); ctx.Err() == nil; {
			if err := w.poll(ctx, conn); err != nil && ctx.Err() == nil {
				w.mu.Lock()
				w.err = fmt.Errorf("look into the ledger: %w", err)
				w.mu.Unlock()
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	return w, nil
}

// slack is by how many lines a transaction may commit behind a later one.
const slack = 500

func (w *watcher) poll(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, "select id, xmin::text, n_inserted from footfall.ledger where id > $1", w.last-slack)
	if err != nil {
		return err
	}
	var id, n int64
	var transaction string
	var found []func(now time.Time)
	_, err = pgx.ForEachRow(rows, []any{&id, &transaction, &n}, func() error {
		id, n, transaction := id, n, transaction
		found = append(found, func(now time.Time) {
			if _, known := w.lines[id]; known {
				return
			}
			w.lines[id], w.last, w.total = line{n, now}, max(w.last, id), w.total+n
			if _, known := w.when[transaction]; !known {
				w.when[transaction] = now
			}
		})
		return nil
	})
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, add := range found {
		add(now)
	}
	return err
}

// rows is how many were stored so far.
func (w *watcher) rows() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

func (w *watcher) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// seen says when a transaction was.
func (w *watcher) seen(transaction string) (at time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok = w.when[transaction]
	return at, ok
}

// rate is how many rows a second came within a time.
func (w *watcher) rate(from, to time.Time) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(0)
	for _, l := range w.lines {
		if l.at.After(from) && !l.at.After(to) {
			n += l.rows
		}
	}
	return float64(n) / to.Sub(from).Seconds()
}
