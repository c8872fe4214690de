package postgres

import (
	"context"
	"slices"
	"sync"
	"testing"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

const insertBare = `insert into footfall.events (event_id, schema, site, type, occurred_at,
	received_at, clock, bot, transport, gpc)
	values ($1, 1, 's', 'click', $2, $2, 'client', false, 'api', false)`

func TestADeadlockEndsInOneRowEach(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	list := events(2, today())
	other := pgtest.Connect(t, url)
	defer other.Close(context.Background())
	insert := func(e *event.Event) error {
		_, err := other.Exec(t.Context(), insertBare, [16]byte(e.EventID), e.OccurredAt)
		return err
	}
	// The other session looks for deadlocks late, so that ours is the one to give way.
	if _, err := other.Exec(t.Context(), "set deadlock_timeout = '1min'; begin"); err != nil {
		t.Fatal(err)
	}
	if err := insert(list[1]); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Write(t.Context(), batch(part(0, 0, encoded(list...)...))) }()
	awaitLock(t, url)
	if err := insert(list[0]); err != nil {
		t.Fatalf("the other session gave way: %v", err)
	}
	if _, err := other.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	// On a busy machine the second attempt may be faster than the other session, and meet
	// it once more.
	if n := s.meters.byAction[again].Get(); n == 0 || n > triesMax {
		t.Errorf("%d deadlocks are counted", n)
	}
	wantCounts(t, url, counts{rows: 2, in: 2, duplicate: 2})
}

// awaitLock waits until a session of the database waits for another's lock, or transaction.
func awaitLock(t *testing.T, url string) {
	t.Helper()
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	for n := 0; n == 0; {
		if err := c.QueryRow(t.Context(), `select count(*) from pg_stat_activity
			where datname = current_database() and wait_event_type = 'Lock'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

// The same events in several partitions, as when a sender repeats them under another
// visitor: transactions that wait for each other's keys must do so in one direction.
func TestTransactionsWithTheSameEventsDoNotDeadlock(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	const lanes, rounds, rows = 4, 5, 400
	own(t, s, 0, 1, 2, 3)
	for round := range int64(rounds) {
		list := encoded(events(rows, today())...)
		var writing sync.WaitGroup
		for p := range int32(lanes) {
			values := slices.Clone(list)
			if p%2 == 1 {
				slices.Reverse(values)
			}
			s.detour.begin([]path{direct, staged, sifted}[round%3])
			writing.Go(func() {
				if err := s.Write(t.Context(), batch(part(p, round*rows, values...))); err != nil {
					t.Error(err)
				}
			})
		}
		writing.Wait()
	}
	if n := s.meters.byAction[again].Get(); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
	wantCounts(t, url, counts{rows: rounds * rows, in: lanes * rounds * rows,
		inserted: rounds * rows, duplicate: (lanes - 1) * rounds * rows})
}
