package postgres

import (
	"context"
	"errors"
	"testing"

	"footfall/sink/postgres/pgtest"
)

// readOnly makes every connection that idles one to a server that takes no writes, as
// that of a primary is that was demoted behind a proxy.
func readOnly(t *testing.T, s *Store) {
	t.Helper()
	idle := s.pool.AcquireAllIdle(context.Background())
	if len(idle) == 0 {
		t.Fatal("no connection idles")
	}
	for _, c := range idle {
		if _, err := c.Exec(context.Background(), "set session characteristics as transaction read only"); err != nil {
			t.Error(err)
		}
		c.Release()
	}
}

func TestAServerThatTakesNoWritesIsLeft(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	list := encoded(events(4, today())...)
	write(t, s, part(0, 0, list[:2]...))
	readOnly(t, s)
	err := s.Write(t.Context(), batch(part(0, 2, list[2:]...)))
	if f, ok := errors.AsType[*Fault](err); !ok || f.action != reconnect {
		t.Fatalf("a read only server: %v", err)
	}
	write(t, s, part(0, 2, list[2:]...))
	readOnly(t, s)
	// A sink without a record to write reads its positions now and then.
	if _, err := s.Positions(t.Context(), "c1", topic, topicID, map[int32]int64{0: 0}); err == nil {
		t.Fatal("made positions on a read only server")
	}
	if next := own(t, s, 0); next[0] != 4 {
		t.Errorf("positions are %v", next)
	}
	if n := pgtest.Get[int](t, url, "select count(*) from footfall.events"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}
