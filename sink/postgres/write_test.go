package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

func TestDuplicatesWithinABatchAreOneRow(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0, 1)
	a, b := at(today()), at(today())
	write(t, s, part(0, 0, encoded(a, b, a)...), part(1, 0, encoded(b)...))
	wantCounts(t, url, counts{rows: 2, in: 4, inserted: 2, duplicate: 2})
}

func TestDuplicatesAcrossBatchesAreOneRow(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0, 1)
	list := events(10, today())
	write(t, s, part(0, 0, encoded(list...)...))
	more := events(3, today().Add(time.Second))
	write(t, s, part(0, 10, encoded(append(more[:1], list[:4]...)...)...),
		part(1, 0, encoded(list[5], at(today()), at(today()), list[5])...))
	wantCounts(t, url, counts{rows: 13, in: 19, inserted: 13, duplicate: 6})
	if n := pgtest.Get[int](t, url, `select n_duplicate from footfall.ledger
		where partition = 1`); n != 2 {
		t.Errorf("partition 1 counts %d duplicates, want 2", n)
	}
	write(t, s, part(0, 15, encoded(at(today()))...))
	if next := own(t, s, 0, 1); next[0] != 16 || next[1] != 4 {
		t.Errorf("positions are %v", next)
	}
}

func TestAZombieGetsErrMovedAndWritesNothing(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	zombie := openAt(t, url)
	own(t, s, 0, 1)
	own(t, zombie, 0, 1)
	first, second := encoded(events(5, today())...), encoded(events(7, today())...)
	write(t, s, part(0, 0, first...))
	err := zombie.Write(t.Context(), batch(part(0, 0, second...), part(1, 0, second...)))
	if !errors.Is(err, consume.ErrMoved) {
		t.Fatalf("zombie got %v", err)
	}
	wantCounts(t, url, counts{rows: 5, in: 5, inserted: 5})
	if next := own(t, zombie, 0, 1); next[0] != 5 || next[1] != 0 {
		t.Errorf("positions are %v", next)
	}
}

func TestOfManyWritersOfOneBatchOneWins(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	other := openAt(t, url)
	own(t, s, 0, 1, 2)
	values := encoded(events(300, today())...)
	var mu sync.Mutex
	won := 0
	var writers sync.WaitGroup
	for i := range 6 {
		writers.Go(func() {
			store := []*Store{s, other}[i%2]
			err := store.Write(context.Background(),
				batch(part(2, 0, values[:100]...), part(0, 0, values[100:]...)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, consume.ErrMoved) {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	writers.Wait()
	if won != 1 {
		t.Errorf("%d writers won", won)
	}
	wantCounts(t, url, counts{rows: 300, in: 300, inserted: 300})
}

func TestUnreadableRecordsBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	badAddress := at(today())
	badAddress.IP = "300.1.2.3"
	bad := [][]byte{nil, {}, []byte("\xff\x00\xfe{"), []byte(`{"site":"\u0000`), []byte(`[]`),
		[]byte(strings.Repeat("x", 3000)), badAddress.AppendJSON(nil)}
	values := append(encoded(at(today())), bad...)
	write(t, s, part(0, 0, append(values, encoded(at(today()))...)...))
	wantCounts(t, url, counts{rows: 2, in: 9, inserted: 2, dead: 7, letters: 7})
	n := pgtest.Get[int](t, url, `select count(*) from footfall.dead_letters
		where reason = 'undecodable' and sqlstate is null and detail <> '' and cluster_id = 'c1'
		and topic = 'footfall.events' and partition = 0 and key = 'shop/v'
		and record_offset between 1 and 7`)
	if n != 7 {
		t.Errorf("%d dead letters are as expected, want 7", n)
	}
	if v := pgtest.Get[[]byte](t, url, `select value from footfall.dead_letters
		where record_offset = 3`); string(v) != string(bad[2]) {
		t.Errorf("dead letter holds %q, want %q", v, bad[2])
	}
}

func TestSinkKeepsTheRestOfABatchWhenOneRowIsBad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule  string
		state string
	}{
		"a check that COPY reports with its line": {
			`alter table footfall.events add constraint tidy check (title is distinct from 'bad')`,
			"23514"},
		"a trigger that raises": {
			`create function footfall.f() returns trigger language plpgsql as $$ begin
				if new.title = 'bad' then raise exception 'no %', new.title; end if; return new; end $$;
			create trigger f before insert on footfall.events for each row execute function
				footfall.f()`, "P0001"},
		"a trigger after the statement's rows, without a line": {
			`create function footfall.f() returns trigger language plpgsql as $$ begin
				if new.title = 'bad' then perform 1 / 0; end if; return null; end $$;
			create constraint trigger f after insert on footfall.events deferrable
				initially deferred for each row execute function footfall.f()`, "22012"},
		"an index row that is too big": {
			`create index on footfall.events (title, user_agent, url, referrer, query)`, "54000"},
	} {
		for _, bad := range []int{1, 5} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s, url := open(t)
				own(t, s, 0, 1)
				pgtest.Exec(t, url, c.rule, pgx.QueryExecModeSimpleProtocol)
				list := events(200, today())
				for i := range bad {
					spoil(list[i*37])
				}
				list[150] = list[3] // and a duplicate on the way
				write(t, s, part(0, 0, encoded(list[:90]...)...),
					part(1, 0, encoded(list[90:]...)...))
				n := int64(bad)
				wantCounts(t, url, counts{rows: 199 - n, in: 200, inserted: 199 - n, duplicate: 1,
					dead: n, letters: n})
				if k := pgtest.Get[int64](t, url, `select count(*) from footfall.dead_letters
					where reason = 'refused_by_database' and sqlstate = $1
					and convert_from(value, 'UTF8')::jsonb->>'title' = 'bad'`, c.state); k != n {
					t.Errorf("%d dead letters are the bad rows, want %d", k, n)
				}
			})
		}
	}
}

// spoil makes a row bad under each rule of the test above. Random text, so that it
// cannot be compressed into an index row.
func spoil(e *event.Event) {
	var long strings.Builder
	for long.Len() < 2000 {
		long.WriteString(event.NewUUID(time.Now()).String())
	}
	e.Title, e.URL, e.Referrer, e.Query = "bad", long.String(), long.String(), long.String()[7:]
}

func TestADuplicateOfARefusedRowGetsItsTurn(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, `alter table footfall.events add check (title is distinct from 'bad')`)
	list := events(4, today())
	good := *list[1]
	list[1].Title = "bad"
	for _, path := range []string{"found by line", "found by halving"} {
		if path == "found by halving" {
			s.detour.begin(staged)
			list = events(4, today().Add(time.Second))
			good = *list[1]
			list[1].Title = "bad"
		}
		from := own(t, s, 0)[0]
		write(t, s, part(0, from, encoded(append(list, &good, &good)...)...))
	}
	wantCounts(t, url, counts{rows: 8, in: 12, inserted: 8, duplicate: 2, dead: 2, letters: 2})
}

func TestFaultsOfTheSchemaAreNeverDeadLetters(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, "alter table footfall.events rename column title to heading")
	err := s.Write(t.Context(), batch(part(0, 0, encoded(at(today()))...)))
	fault, ok := errors.AsType[*Fault](err)
	if !ok || fault.Pause() != pauseLong {
		t.Fatalf("got %v, pause %v", err, fault)
	}
	pgtest.Exec(t, url, "alter table footfall.events rename column heading to title")
	write(t, s, part(0, 0, encoded(at(today()))...))
	wantCounts(t, url, counts{rows: 1, in: 1, inserted: 1})
}

func TestGapsBetweenOffsetsAreKept(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	p := part(0, 0, encoded(events(3, today())...)...)
	p.Records[0].Offset, p.Records[1].Offset, p.Records[2].Offset, p.To = 4, 9, 10, 11
	write(t, s, p)
	if next := own(t, s, 0); next[0] != 11 {
		t.Errorf("next offset is %d, want 11", next[0])
	}
	wantCounts(t, url, counts{rows: 3, in: 3, inserted: 3})
}

func TestHalvesOfABatchTouch(t *testing.T) {
	t.Parallel()
	values := encoded(events(9, today())...)
	whole := batch(part(0, 5, values[:2]...), part(1, 0, values[2:8]...), part(2, 7, values[8:]...))
	first, second, ok := halves(whole)
	if !ok || len(first.Parts) != 2 || len(second.Parts) != 2 {
		t.Fatalf("halves are %v and %v", first.Parts, second.Parts)
	}
	head, tail := first.Parts[1], second.Parts[0]
	if len(head.Records) != 2 || head.From != 0 || head.To != 2 || tail.From != 2 || tail.To != 6 {
		t.Errorf("split at [%d,%d) and [%d,%d)", head.From, head.To, tail.From, tail.To)
	}
	if _, _, ok := halves(batch(part(0, 0, values[:1]...))); ok {
		t.Error("one record was halved")
	}
}

// The halves of what takes too long must not share the time that the whole had: then no
// size would ever fit, and the batch would be tried again for ever.
func TestABatchOfSlowRowsIsHalvedUntilItFits(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, `create function public.slow() returns trigger language plpgsql as
			$$ begin perform pg_sleep(0.03); return new; end $$;
		create trigger slow before insert on footfall.events for each row execute function public.slow()`)
	s.limits.statement, s.limits.task = 500*time.Millisecond, 1500*time.Millisecond
	write(t, s, part(0, 0, encoded(events(80, today())...)...)) // 2.4 s; five runs fit
	wantCounts(t, url, counts{rows: 80, in: 80, inserted: 80})
}

// Each attempt has its own time too: the hits by line and the look for the other bad rows would
// else use up what the first one has, and be forgotten with it.
func TestABatchOfSlowRowsSomeOfThemBadIsStored(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, `create function public.slow() returns trigger language plpgsql as
			$$ begin perform pg_sleep(0.006); if new.title = 'bad' then raise 'bad'; end if; return new; end $$;
		create trigger slow before insert on footfall.events for each row execute function public.slow()`,
		pgx.QueryExecModeSimpleProtocol)
	s.limits.statement, s.limits.task = time.Second, 3*time.Second // as one minute to three
	list := events(130, today())
	for _, e := range list[120:] {
		e.Title = "bad"
	}
	write(t, s, part(0, 0, encoded(list...)...))
	wantCounts(t, url, counts{rows: 120, in: 130, inserted: 120, dead: 10, letters: 10})
}
