package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

func ids(rows []Row) []event.UUID {
	list := make([]event.UUID, len(rows))
	for i := range rows {
		list[i] = rows[i].EventID
	}
	return list
}

func recent(t *testing.T, s *Store, cursor string, limit int) ([]Row, string) {
	t.Helper()
	rows, next, err := s.Recent(t.Context(), cursor, limit)
	if err != nil {
		t.Fatal(err)
	}
	return rows, next
}

func TestRecentPagesThroughEveryRowOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	own(t, s, 0)
	rows, cursor := recent(t, s, "", 10)
	if len(rows) != 0 || cursor != "" {
		t.Fatalf("an empty table gave %d rows, cursor %q", len(rows), cursor)
	}
	list := events(25, today())
	write(t, s, part(0, 0, encoded(list[:5]...)...))
	rows, cursor = recent(t, s, "", 3)
	if got := ids(rows); len(got) != 3 || got[0] != list[2].EventID || got[2] != list[4].EventID {
		t.Fatalf("the newest three are %v", got)
	}
	write(t, s, part(0, 5, encoded(list[5:]...)...))
	for want := list[5:]; len(want) > 0; {
		rows, cursor = recent(t, s, cursor, 7)
		if len(rows) == 0 {
			t.Fatalf("%d rows are missing", len(want))
		}
		for _, id := range ids(rows) {
			if id != want[0].EventID {
				t.Fatalf("got %v, want %v", id, want[0].EventID)
			}
			want = want[1:]
		}
	}
	if rows, again := recent(t, s, cursor, 7); len(rows) != 0 || again != cursor {
		t.Errorf("behind the end are %d rows, cursor %q", len(rows), again)
	}
	if _, _, err := s.Recent(t.Context(), "nonsense", 1); !errors.Is(err, ErrCursor) {
		t.Errorf("a strange cursor gave %v", err)
	}
}

func TestRecentDoesNotPassOverATransactionThatCommitsLate(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	write(t, s, part(0, 0, encoded(at(today()))...))
	_, cursor := recent(t, s, "", 10)

	late, lateEvent := pgtest.Connect(t, url), at(today())
	defer late.Close(context.Background())
	ctx := context.Background()
	tx, err := late.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `insert into footfall.events (event_id, schema, site, type,
		occurred_at, received_at, clock, bot, transport, gpc) values ($1, 1, 's', 'click', $2, $2,
		'client', false, 'api', false)`, [16]byte(lateEvent.EventID), lateEvent.OccurredAt); err != nil {
		t.Fatal(err)
	}
	after := at(today())
	write(t, s, part(0, 1, encoded(after)...))
	if rows, next := recent(t, s, cursor, 10); len(rows) != 0 || next != cursor {
		t.Fatalf("%d rows came before an older one that is not committed", len(rows))
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	rows, _ := recent(t, s, cursor, 10)
	if got := ids(rows); len(got) != 2 || got[0] != lateEvent.EventID || got[1] != after.EventID {
		t.Errorf("got %v, want %v and %v", got, lateEvent.EventID, after.EventID)
	}
}

func TestRecentReadsLittleOfABigTable(t *testing.T) {
	if testing.Short() {
		t.Skip("loads 500,000 rows; leave out -short")
	}
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	// loaded_at as it would be after ten hours of such rows, one after the other.
	pgtest.Exec(t, url, `insert into footfall.events (event_id, schema, site, type, occurred_at,
		received_at, clock, bot, transport, gpc, url, loaded_at)
		select gen_random_uuid(), 1, 's', 'click', t, t, 'client', false, 'beacon', false,
		repeat('u', 300), t from (select now() - (500000 - i) * interval '72 ms' as t
		from generate_series(1, 500000) i) x`)
	pgtest.Exec(t, url, "vacuum analyze footfall.events")
	fresh := events(20, today())
	write(t, s, part(0, 0, encoded(fresh...)...))

	conn := pgtest.Connect(t, url)
	defer conn.Close(context.Background())
	total := pgtest.Get[int64](t, url, `select sum(pg_relation_size(relid)) / 8192
		from pg_partition_tree('footfall.events') where isleaf`)
	var plans []byte
	if err := conn.QueryRow(t.Context(), `explain (analyze, buffers, format json) select `+
		selection+`, loaded_at from footfall.events where loaded_at >= now() - interval '2 s'
		and loaded_at < now() order by loaded_at desc, event_id desc limit 10`).Scan(&plans); err != nil {
		t.Fatal(err)
	}
	var plan []struct {
		Plan struct {
			Hit  int64 `json:"Shared Hit Blocks"`
			Read int64 `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(plans, &plan); err != nil {
		t.Fatal(err)
	}
	touched := plan[0].Plan.Hit + plan[0].Plan.Read
	t.Logf("%d of %d pages", touched, total)
	if touched*20 > total {
		t.Errorf("Recent touches %d of %d pages:\n%s", touched, total, plans)
	}
	start := time.Now()
	if rows, _ := recent(t, s, "", 10); len(rows) != 10 {
		t.Errorf("%d rows", len(rows))
	}
	t.Logf("newest 10 took %v", time.Since(start))
}
