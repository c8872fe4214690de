package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// dead returns a database with the dead letters 1 (a good event that a constraint was
// against), 2 (the same once more) and 3 (no record), and the constraint gone.
func dead(t *testing.T) (*Store, string, *event.Event) {
	t.Helper()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, `alter table footfall.events add constraint tidy check (title is distinct from 'bad')`)
	e := at(today())
	e.Title = "bad"
	write(t, s, part(0, 0, append(encoded(e, at(today()), e), []byte("no record\x00\xff"))...))
	pgtest.Exec(t, url, `alter table footfall.events drop constraint tidy`)
	wantCounts(t, url, counts{rows: 1, in: 4, inserted: 1, dead: 3, letters: 3})
	return s, url, e
}

func listed(t *testing.T, s *Store, f DeadFilter) (list []DeadLetter) {
	t.Helper()
	if err := s.EachDeadLetter(t.Context(), f, func(d DeadLetter) error {
		list = append(list, d)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAReplayedDeadLetterIsOneRowAndTheSumsHold(t *testing.T) {
	t.Parallel()
	s, url, e := dead(t)
	list := listed(t, s, DeadFilter{})
	if len(list) != 3 || list[0].Reason != event.RefusedByDatabase || list[0].SQLState != "23514" ||
		list[0].Bytes == 0 || list[0].Value != nil || list[2].Reason != event.Undecodable || list[2].Offset != 3 {
		t.Fatalf("dead letters are %+v", list)
	}
	for i, want := range []DeadOutcome{DeadInserted, DeadDuplicate} {
		if got, err := s.ReplayDead(t.Context(), list[i].ID); got != want || err != nil {
			t.Errorf("replay of %d: %q, %v, want %q", list[i].ID, got, err, want)
		}
		if got, err := s.ReplayDead(t.Context(), list[i].ID); !errors.Is(err, ErrNotWaiting) {
			t.Errorf("replay of %d once more: %q, %v", list[i].ID, got, err)
		}
	}
	if home := homeOf(t, url, e); home != partitionName(dayOf(e.OccurredAt)) {
		t.Errorf("the event lies in %s", home)
	}
	_, err := s.ReplayDead(t.Context(), list[2].ID)
	if err == nil || !strings.Contains(err.Error(), "stays one: undecodable") {
		t.Errorf("replay of no record: %v", err)
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 2 || a.DeadWaiting != 1 || a.DeadSettled != 2 {
		t.Errorf("audit: %d rows, %d wait, %d settled, problems %q", a.Rows, a.DeadWaiting, a.DeadSettled, a.Problems)
	}
	if err := s.DropDead(t.Context(), list[2].ID); err != nil {
		t.Error(err)
	}
	if err := s.DropDead(t.Context(), list[0].ID); !errors.Is(err, ErrNotWaiting) {
		t.Errorf("drop of a replayed one: %v", err)
	}
	if n := len(listed(t, s, DeadFilter{})); n != 0 {
		t.Errorf("%d still wait", n)
	}
	for i, d := range listed(t, s, DeadFilter{Settled: true}) {
		if want := []DeadOutcome{DeadInserted, DeadDuplicate, DeadDropped}[i]; d.Outcome != want || d.Settled.IsZero() {
			t.Errorf("dead letter %d is %q, settled %v, want %q", d.ID, d.Outcome, d.Settled, want)
		}
	}
	if n := pgtest.Get[int](t, url, "select count(*) from footfall.dead_letters where key is not null or value is not null"); n > 0 {
		t.Errorf("%d settled letters still have their record", n)
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.DeadWaiting != 0 {
		t.Errorf("audit at the end: %d wait, problems %q", a.DeadWaiting, a.Problems)
	}
	pgtest.Exec(t, url, "select footfall.recount(), footfall.fold()")
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("audit after a recount: problems %q", a.Problems)
	}
}

func TestADeadLetterThatIsRefusedAgainStays(t *testing.T) {
	t.Parallel()
	s, url, _ := dead(t)
	pgtest.Exec(t, url, `alter table footfall.events add constraint tidy check (title is distinct from 'bad')`)
	id := listed(t, s, DeadFilter{})[0].ID
	_, err := s.ReplayDead(t.Context(), id)
	if err == nil || !strings.Contains(err.Error(), "tidy") {
		t.Errorf("replay: %v", err)
	}
	if d, err := s.DeadLetter(t.Context(), id); err != nil || d.Outcome != "" || len(d.Value) == 0 {
		t.Errorf("letter is %+v, %v", d, err)
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 1 {
		t.Errorf("%d rows, problems %q", a.Rows, a.Problems)
	}
}

func TestOfManyReplaysOfOneLetterOneStoresIt(t *testing.T) {
	t.Parallel()
	s, _, _ := dead(t)
	id := listed(t, s, DeadFilter{})[0].ID
	var mu sync.Mutex
	won := 0
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			outcome, err := s.ReplayDead(t.Context(), id)
			mu.Lock()
			defer mu.Unlock()
			if outcome == DeadInserted {
				won++
			} else if !errors.Is(err, ErrNotWaiting) {
				t.Errorf("replay: %q, %v", outcome, err)
			}
		})
	}
	all.Wait()
	if a := audited(t, s, AuditOptions{}); won != 1 || len(a.Problems) > 0 {
		t.Errorf("%d replays stored it, problems %q", won, a.Problems)
	}
}

// Nobody knows what became of a letter whose commit got no answer, so nobody says that it
// stays one. The next try tells.
func TestALostCommitOfADeadLetterIsNotCalledARefusal(t *testing.T) {
	t.Parallel()
	settle := map[string]func(*Store, int64) error{
		"replay": func(s *Store, id int64) error {
			_, err := s.ReplayDead(context.Background(), id)
			return err
		},
		"drop": func(s *Store, id int64) error { return s.DropDead(context.Background(), id) },
	}
	for name, settle := range settle {
		for _, committed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, committed), func(t *testing.T) {
				t.Parallel()
				s, _, _ := dead(t)
				id := listed(t, s, DeadFilter{})[0].ID
				loseCommit(t, s, committed)
				err := settle(s, id)
				if !errors.Is(err, ErrNotKnown) || strings.Contains(err.Error(), "stays one") ||
					!strings.Contains(err.Error(), fmt.Sprintf("footfall dead show %d", id)) {
					t.Errorf("at first: %v", err)
				}
				if err := settle(s, id); committed != errors.Is(err, ErrNotWaiting) || !committed && err != nil {
					t.Errorf("once more: %v", err)
				}
				a := audited(t, s, AuditOptions{})
				if rows := map[string]int64{"replay": 2, "drop": 1}[name]; len(a.Problems) > 0 || a.Rows != rows || a.DeadSettled != 1 {
					t.Errorf("%d rows, %d settled, problems %q", a.Rows, a.DeadSettled, a.Problems)
				}
			})
		}
	}
}
