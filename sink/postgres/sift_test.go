package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// noteInserts has a trigger note the first word of what inserts rows: copy, or the with of
// the statement that empties the staging table.
const noteInserts = `create table public.inserts (query text);
	create function public.note() returns trigger language plpgsql as
	$$ begin insert into public.inserts values (left(current_query(), 4)); return null; end $$;
	create trigger note after insert on footfall.events execute function public.note()`

func TestABatchOfStoredEventsIsSiftedAndTheRestCopied(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, noteInserts, pgx.QueryExecModeSimpleProtocol)
	// Of three days, one of them without a partition, so that its rows lie in the default one.
	list := append(events(20, today()), events(20, today().AddDate(0, 0, -1))...)
	list = append(list, events(5, today().AddDate(-9, 0, 0))...)
	pgtest.Exec(t, url, "truncate public.inserts")
	write(t, s, part(0, 0, encoded(list[:30]...)...))
	write(t, s, part(0, 30, encoded(append(list[25:], list[0], list[44])...)...))
	wantCounts(t, url, counts{rows: 45, in: 52, inserted: 45, duplicate: 7})
	if n := s.meters.byAction[stage].Get(); n != 1 {
		t.Errorf("%d COPYs found a duplicate, want 1", n)
	}
	// As long as duplicates come, no COPY is in vain, and none goes by the staging table.
	from := int64(52)
	for i := range 3 {
		write(t, s, part(0, from, encoded(append(events(9, today()), list[i])...)...))
		from += 10
	}
	write(t, s, part(0, from, encoded(list[:10]...)...)) // nothing but duplicates
	wantCounts(t, url, counts{rows: 72, in: 92, inserted: 72, duplicate: 20})
	if n := s.meters.byAction[stage].Get(); n != 1 {
		t.Errorf("%d COPYs found a duplicate, want 1", n)
	}
	if n := pgtest.Get[int](t, url, "select count(*) from public.inserts where query <> 'copy'"); n > 0 {
		t.Errorf("%d batches were inserted from the staging table", n)
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("audit: %q", a.Problems)
	}
}

func TestSiftingEndsWhenNoDuplicateComes(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	own(t, s, 0)
	e := at(today())
	write(t, s, part(0, 0, encoded(e)...))
	write(t, s, part(0, 1, encoded(e)...))
	for i := range int64(detourFor) {
		if got := s.detour.path(); got != sifted {
			t.Fatalf("batch %d begins with path %d, want %d", i, got, sifted)
		}
		write(t, s, part(0, 2+i, encoded(at(today()))...))
	}
	if got := s.detour.path(); got != direct {
		t.Errorf("after %d batches without a duplicate path is %d", detourFor, got)
	}
}

// What another transaction stores between the look and COPY is met by COPY, and left out by
// the staging table.
func TestAnEventStoredBehindTheLookIsADuplicate(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	list := events(3, today())
	other := pgtest.Connect(t, url)
	defer other.Close(context.Background())
	if _, err := other.Exec(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), insertBare, [16]byte(list[1].EventID), list[1].OccurredAt); err != nil {
		t.Fatal(err)
	}
	s.detour.begin(sifted)
	stored := make(chan error, 1)
	go func() { stored <- s.Write(t.Context(), batch(part(0, 0, encoded(list...)...))) }()
	awaitLock(t, url)
	if _, err := other.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	wantCounts(t, url, counts{rows: 3, in: 3, inserted: 2, duplicate: 1})
	if n := s.meters.byAction[stage].Get(); n != 1 {
		t.Errorf("COPY met %d times what was stored behind the look, want 1", n)
	}
}

// What the look found may have gone before the next attempt, by a failover to a standby that
// lagged behind.
func TestWhatTheLookFoundIsForgottenWithTheAttempt(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	list := events(4, today())
	write(t, s, part(0, 0, encoded(list[:2]...)...))
	s.detour.begin(sifted)
	w := s.prepare(batch(part(0, 2, encoded(list...)...)))
	pgtest.Exec(t, url, "alter table footfall.ledger add check (from_offset < 2)")
	if err := s.writeWork(t.Context(), w); err == nil {
		t.Fatal("a batch without its ledger was stored")
	}
	pgtest.Exec(t, url, "delete from footfall.events; alter table footfall.ledger drop constraint ledger_from_offset_check",
		pgx.QueryExecModeSimpleProtocol)
	if err := s.writeWork(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.Get[int](t, url, "select count(*) from footfall.events"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

func TestATriggerThatChangesTheKeyIsSaid(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, `create function public.rekey() returns trigger language plpgsql as
		$$ begin new.event_id = gen_random_uuid(); return new; end $$;
		create trigger rekey before insert on footfall.events for each row execute function public.rekey()`,
		pgx.QueryExecModeSimpleProtocol)
	s.detour.begin(staged)
	p := part(0, 0, encoded(events(3, today())...)...)
	err := s.Write(t.Context(), batch(p))
	fault, ok := errors.AsType[*Fault](err)
	if !ok || fault.Pause() != pauseLong || !strings.Contains(err.Error(), "changes event_id") {
		t.Fatalf("got %v", err)
	}
	wantCounts(t, url, counts{})
	pgtest.Exec(t, url, "drop trigger rekey on footfall.events")
	write(t, s, p)
	wantCounts(t, url, counts{rows: 3, in: 3, inserted: 3})
}

// slowToRead has each row that a sink reads take so many seconds.
const slowToRead = `create function public.slow(t timestamptz) returns boolean language plpgsql as
		$$ begin perform pg_sleep(%g); return true; end $$;
	alter table footfall.events enable row level security;
	create policy slow on footfall.events using (public.slow(occurred_at)) with check (true)`

// The look takes its time, too: a batch for which it takes too long is halved like others.
func TestABatchWhoseKeysAreSlowToFindIsHalved(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	list := encoded(events(40, today())...)
	write(t, s, part(0, 0, list[:20]...))
	pgtest.Exec(t, url, fmt.Sprintf(slowToRead, 0.01), pgx.QueryExecModeSimpleProtocol)
	sink := openAt(t, member(t, url, "footfall_ingest"))
	sink.limits.statement = 120 * time.Millisecond
	sink.detour.begin(sifted)
	write(t, sink, part(0, 20, list...))
	wantCounts(t, url, counts{rows: 40, in: 60, inserted: 40, duplicate: 20})
	if sink.meters.byAction[smaller].Get() == 0 {
		t.Error("the look for 20 rows of 10 ms each fits into 120 ms")
	}
}

// So is one whose look takes no statement too long, and all of them together.
func TestABatchOfManyDaysWhoseKeysAreSlowToFindIsHalved(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	var list []*event.Event
	for day := range 20 {
		list = append(list, events(5, today().AddDate(0, 0, -day))...)
	}
	write(t, s, part(0, 0, encoded(list...)...))
	pgtest.Exec(t, url, fmt.Sprintf(slowToRead, 0.02), pgx.QueryExecModeSimpleProtocol)
	sink := openAt(t, member(t, url, "footfall_ingest"))
	sink.limits.statement, sink.limits.task = 500*time.Millisecond, 1500*time.Millisecond
	sink.detour.begin(sifted)
	write(t, sink, part(0, 100, encoded(list...)...)) // 2 s; a look of a day 0.1 s
	wantCounts(t, url, counts{rows: 100, in: 200, inserted: 100, duplicate: 100})
}
