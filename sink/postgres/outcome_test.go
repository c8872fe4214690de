package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

// slow holds a batch inside its transaction: the first insert of a title sleeps
// until it is shot or cancelled, later ones pass.
const slow = `create sequence footfall.turn;
	create function footfall.f() returns trigger language plpgsql as $$ begin
		if new.title is not distinct from 'slow' and nextval('footfall.turn') = 1 then
			perform pg_sleep(30);
		end if;
		return new; end $$;
	create trigger f before insert on footfall.events for each row execute function
		footfall.f()`

// interrupt calls a function of the server on the backend that sleeps.
func interrupt(t *testing.T, url, function string) {
	t.Helper()
	sql := "select count(" + function + `(pid)) from pg_stat_activity
		where datname = current_database() and pid <> pg_backend_pid() and wait_event = 'PgSleep'`
	deadline := time.Now().Add(10 * time.Second)
	for pgtest.Get[int](t, url, sql) == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the batch never reached its transaction")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestABatchSurvivesItsConnection(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, slow, pgx.QueryExecModeSimpleProtocol)
	list := events(50, today())
	list[20].Title = "slow"
	b := batch(part(0, 0, encoded(list...)...))
	failed := make(chan error, 1)
	go func() { failed <- s.Write(context.Background(), b) }()
	interrupt(t, url, "pg_terminate_backend")
	if err := <-failed; err == nil || errors.Is(err, consume.ErrMoved) {
		t.Fatalf("got %v from a batch whose connection was shot", err)
	}
	wantCounts(t, url, counts{})
	if err := s.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, url, counts{rows: 50, in: 50, inserted: 50})
}

func TestABatchThatTakesTooLongIsHalved(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, slow, pgx.QueryExecModeSimpleProtocol)
	list := events(50, today())
	list[20].Title = "slow"
	done := make(chan error, 1)
	go func() { done <- s.Write(context.Background(), batch(part(0, 0, encoded(list...)...))) }()
	interrupt(t, url, "pg_cancel_backend") // the server says the same of a statement_timeout
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantCounts(t, url, counts{rows: 50, in: 50, inserted: 50})
	if n := pgtest.Get[int](t, url, "select count(*) from footfall.ledger"); n != 2 {
		t.Errorf("stored in %d transactions, want 2", n)
	}
}

// loseCommit makes the connection of a store's next commit end: before the server hears of
// it, or once it has answered.
func loseCommit(t *testing.T, s *Store, answered bool) {
	t.Helper()
	config := s.pool.Config()
	config.ConnConfig.TLSConfig, config.ConnConfig.Fallbacks = nil, nil
	dial := config.ConnConfig.DialFunc
	lost := &atomic.Bool{}
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return &lossy{Conn: c, lost: lost, answered: answered}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	s.pool.Close()
	s.pool = pool
}

type lossy struct {
	net.Conn
	lost     *atomic.Bool // by one of the pool's connections: the others are sound
	answered bool
	ends     bool
}

func (c *lossy) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("commit\x00")) && c.lost.CompareAndSwap(false, true) {
		c.ends = true
		if !c.answered {
			return len(b), c.Close()
		}
	}
	return c.Conn.Write(b)
}

func (c *lossy) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.ends {
		return 0, errors.Join(io.ErrUnexpectedEOF, c.Close())
	}
	return n, err
}

func TestThePositionTellsWhatBecameOfALostCommit(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	own(t, s, 0, 1)
	write(t, s, part(0, 0, encoded(events(3, today())...)...))
	lost := &lostCommit{errors.New("connection reset")}
	for name, c := range map[string]struct {
		parts []consume.Part
		check func(error) bool
	}{
		"committed": {[]consume.Part{{Partition: 0, From: 0, To: 3}},
			func(err error) bool { return err == nil }},
		"rolled back": {[]consume.Part{{Partition: 0, From: 3, To: 4}},
			func(err error) bool { return errors.Is(err, errRolledBack) }},
		"moved by another": {[]consume.Part{{Partition: 0, From: 1, To: 2}},
			func(err error) bool { return errors.Is(err, consume.ErrMoved) }},
		"one of two moved": {[]consume.Part{{Partition: 0, From: 0, To: 3},
			{Partition: 1, From: 0, To: 5}},
			func(err error) bool { return errors.Is(err, consume.ErrMoved) }},
	} {
		err := s.outcome(t.Context(), &work{Batch: batch(c.parts...), place: s}, lost)
		if !c.check(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
