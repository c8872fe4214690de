package postgres

import (
	"strings"
	"testing"

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
