package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// titled returns events of today with these titles.
func titled(titles ...string) []*event.Event {
	list := events(len(titles), today())
	for i, title := range titles {
		list[i].Title = title
	}
	return list
}

// TestAUniqueIndexOfAnOperatorsMakesDeadLettersNotDuplicates: a row that another row's
// title keeps out is stored nowhere, so it must not count as a duplicate.
func TestAUniqueIndexOfAnOperatorsMakesDeadLettersNotDuplicates(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	first := titled("a", "b")
	write(t, s, part(0, 0, encoded(first...)...))
	pgtest.Exec(t, url, "create unique index once on "+partitionName(dayOf(first[0].OccurredAt))+" (title)")
	// A taken title, one twice in the batch, and a duplicate, which has a taken title too.
	more := append(titled("c", "a", "d", "d", "e"), first[1])
	write(t, s, part(0, 2, encoded(more...)...))
	wantCounts(t, url, counts{rows: 5, in: 8, inserted: 5, duplicate: 1, dead: 2, letters: 2})
	letters := listed(t, s, DeadFilter{})
	for i, title := range []string{"a", "d"} {
		d, err := s.DeadLetter(t.Context(), letters[i].ID)
		if err != nil || d.SQLState != "23505" || !strings.Contains(d.Detail, `"once"`) ||
			!strings.Contains(string(d.Value), `"title":"`+title+`"`) {
			t.Errorf("dead letter is %+v, %v, want the one of %s", d, err, title)
		}
	}
	if _, err := s.ReplayDead(t.Context(), letters[0].ID); err == nil || !strings.Contains(err.Error(), `"once"`) {
		t.Errorf("replay against the index: %v", err)
	}
	if d, err := s.DeadLetter(t.Context(), letters[0].ID); err != nil || d.Outcome != "" || len(d.Value) == 0 {
		t.Errorf("after a replay in vain the letter is %+v, %v", d, err)
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("audit: %q", a.Problems)
	}
	pgtest.Exec(t, url, "drop index footfall.once")
	for _, d := range letters {
		if got, err := s.ReplayDead(t.Context(), d.ID); got != DeadInserted || err != nil {
			t.Errorf("replay without the index: %q, %v", got, err)
		}
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 7 {
		t.Errorf("audit at the end: %d rows, %q", a.Rows, a.Problems)
	}
}

// leaveOut has a trigger that leaves rows out without a word.
const leaveOut = `create function footfall.f() returns trigger language plpgsql as $$ begin
	if new.title = 'bad' then return null; end if; return new; end $$;
	create trigger f before insert on footfall.events for each row execute function footfall.f()`

// TestWhatATriggerLeavesOutIsADeadLetter goes down each path: where COPY tells a count that
// is too small, where duplicates are about, and where a bad row has to be found.
func TestWhatATriggerLeavesOutIsADeadLetter(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	sink := openAt(t, member(t, url, "footfall_ingest"))
	own(t, sink, 0)
	pgtest.Exec(t, url, leaveOut, pgx.QueryExecModeSimpleProtocol)
	first := titled("a", "bad", "b")
	write(t, sink, part(0, 0, encoded(first...)...))
	want := counts{rows: 2, in: 3, inserted: 2, dead: 1, letters: 1}
	wantCounts(t, url, want)

	// A good event under the id of one that is left out, a duplicate of another day, and
	// one of a row that is there.
	good := *first[1]
	good.Title = "good"
	old := at(today().AddDate(0, 0, -20))
	old.Title = "bad"
	write(t, sink, part(0, 3, encoded(first[1], &good, &good, first[0], old, at(today()))...))
	want = counts{rows: 4, in: 9, inserted: 4, duplicate: 2, dead: 3, letters: 3}
	wantCounts(t, url, want)

	pgtest.Exec(t, url, "alter table footfall.events add check (title <> 'worse')")
	write(t, sink, part(0, 9, encoded(append(titled("c", "bad", "worse", "worse", "worse", "worse", "worse", "bad"), &good)...)...))
	want = counts{rows: 5, in: 18, inserted: 5, duplicate: 3, dead: 10, letters: 10}
	wantCounts(t, url, want)

	if n := sink.meters.byAction[reconnect].Get() + sink.meters.byAction[wait].Get(); n > 0 {
		t.Errorf("the database was blamed %d times", n)
	}
	left := 0
	var waiting []int64
	for _, d := range listed(t, s, DeadFilter{}) {
		if d.Detail == "a trigger of the table left it out" && d.Reason == event.RefusedByDatabase && d.SQLState == "" {
			left++
			waiting = append(waiting, d.ID)
		}
	}
	if left != 5 {
		t.Errorf("%d letters say that a trigger left them out, want 5", left)
	}
	if _, err := s.ReplayDead(t.Context(), waiting[2]); err == nil || !strings.Contains(err.Error(), "stays one: refused_by_database: a trigger of the table left it out") {
		t.Errorf("replay against the trigger: %v", err)
	}
	if d, err := s.DeadLetter(t.Context(), waiting[2]); err != nil || d.Outcome != "" || len(d.Value) == 0 {
		t.Errorf("after a replay in vain the letter is %+v, %v", d, err)
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("audit: %q", a.Problems)
	}
	pgtest.Exec(t, url, "drop trigger f on footfall.events")
	for i, outcome := range []DeadOutcome{DeadDuplicate, DeadDuplicate, DeadInserted, DeadInserted, DeadInserted} {
		if got, err := s.ReplayDead(t.Context(), waiting[i]); got != outcome || err != nil {
			t.Errorf("replay of letter %d without the trigger: %q, %v, want %q", i, got, err, outcome)
		}
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 8 {
		t.Errorf("audit at the end: %d rows, %q", a.Rows, a.Problems)
	}
}

// TestATriggerOnAReplaysTable is the same where the table has no partitions.
func TestATriggerOnAReplaysTable(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	r := createReplay(t, url, "again", 3)
	pgtest.Exec(t, url, strings.ReplaceAll(leaveOut, "on footfall.events", "on again"), pgx.QueryExecModeSimpleProtocol)
	if err := r.Prepare(batch(part(0, 0, encoded(titled("a", "bad", "b")...)...)))(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Counts(), (ReplayCounts{Inserted: 2, Dead: 1}); got != want {
		t.Errorf("counts are %+v, want %+v", got, want)
	}
}

// What a trigger says of a row in the words of a partition that is missing, or does to it that
// the server does not support, is the row's fault.
func TestRowsThatATriggerMakesImpossibleAreDeadLetters(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ does, state string }{
		"raises check_violation":  {"raise check_violation using message = 'no such title'", "23514"},
		"moves it to another day": {"new.occurred_at = new.occurred_at - interval '1 day'", "0A000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := open(t)
			own(t, s, 0)
			pgtest.Exec(t, url, `create function public.f() returns trigger language plpgsql as
				$$ begin if new.title = 'bad' then `+c.does+`; end if; return new; end $$;
				create trigger f before insert on footfall.events for each row execute function public.f()`,
				pgx.QueryExecModeSimpleProtocol)
			write(t, s, part(0, 0, encoded(titled("a", "bad", "b")...)...))
			wantCounts(t, url, counts{rows: 2, in: 3, inserted: 2, dead: 1, letters: 1})
			if d := listed(t, s, DeadFilter{}); d[0].SQLState != c.state {
				t.Errorf("the letter says %+v, want SQLSTATE %s", d[0], c.state)
			}
		})
	}
}

// A rule on the table makes ON CONFLICT impossible, for good rows and bad: the batch waits for a
// person instead of becoming dead letters.
func TestARuleOnTheTableIsNoFaultOfRows(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, `alter table footfall.events add check (title <> 'bad');
		create rule only_append as on update to footfall.events do instead nothing`, pgx.QueryExecModeSimpleProtocol)
	p := part(0, 0, encoded(titled("a", "bad", "b", "bad", "c", "bad", "bad", "bad", "d", "e", "f")...)...)
	err := s.Write(t.Context(), batch(p))
	if fault, ok := errors.AsType[*Fault](err); !ok || fault.Pause() != pauseLong || !strings.Contains(err.Error(), "rules") {
		t.Errorf("got %v", err)
	}
	wantCounts(t, url, counts{})
	pgtest.Exec(t, url, "drop rule only_append on footfall.events")
	write(t, s, p)
	wantCounts(t, url, counts{rows: 6, in: 11, inserted: 6, dead: 5, letters: 5})
}
