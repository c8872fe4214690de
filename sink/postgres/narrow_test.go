package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// narrowed are columns that an operator has made to hold less than an event may.
var narrowed = map[string]struct {
	ddl, state, detail string
	spoil              func(*event.Event)
}{
	"a shorter text": {"alter table footfall.events alter column title type varchar(3)",
		"22001", "value too long for type character varying(3)", func(e *event.Event) { e.Title = "long" }},
	"a smaller number": {"alter table footfall.events alter column revenue type numeric(6,2)",
		"22003", "numeric field overflow", func(e *event.Event) { e.Revenue = "9999.995" }},
	"a domain with a check": {`create domain footfall.heading as text check (value <> 'bad');
		alter table footfall.events alter column title type footfall.heading`,
		"23514", "value for domain footfall.heading violates check constraint", func(e *event.Event) { e.Title = "bad" }},
	"a domain of a shorter text": {`create domain footfall.heading as varchar(3) not null;
		alter table footfall.events alter column title type footfall.heading using ''`,
		"22001", "value too long for type character varying(3)", func(e *event.Event) { e.Title = "long" }},
}

const spoilt = 7 // more than are taken by line

// narrow returns records of which spoilt do not fit: good ones, one of them with spaces that
// any varchar drops, one duplicate of a good one, one of a bad one.
func narrow(spoil func(*event.Event)) (values [][]byte) {
	list := titled(strings.Split("ab c,ab ,abc   ,a,b,c,d,e,f,g,h,i,j,k,l,m", ",")[1:]...)
	for _, e := range list {
		e.Revenue = "9999.994"
	}
	for i := range spoilt {
		spoil(list[2*i+1])
	}
	return encoded(append(list, list[0], list[1])...)
}

var narrowCounts = counts{rows: 8, in: 17, inserted: 8, duplicate: 1, dead: 8, letters: 8}

func TestRowsThatANarrowedColumnRefusesAreDeadLetters(t *testing.T) {
	t.Parallel()
	for name, c := range narrowed {
		for _, way := range []path{direct, staged} {
			t.Run(fmt.Sprint(name, way), func(t *testing.T) {
				t.Parallel()
				s, url := open(t)
				own(t, s, 0)
				pgtest.Exec(t, url, c.ddl, pgx.QueryExecModeSimpleProtocol)
				if way == staged {
					s.detour.begin(staged)
				}
				values := narrow(c.spoil)
				write(t, s, part(0, 0, values...))
				wantCounts(t, url, narrowCounts)
				wantRefused(t, s, c.state, c.detail)
				if next := own(t, s, 0); next[0] != int64(len(values)) {
					t.Errorf("the position is %d, want %d", next[0], len(values))
				}
				if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
					t.Errorf("audit: %q", a.Problems)
				}
			})
		}
	}
}

func wantRefused(t *testing.T, s *Store, state, detail string) {
	t.Helper()
	for _, d := range listed(t, s, DeadFilter{}) {
		if d.Reason != event.RefusedByDatabase || d.SQLState != state || !strings.Contains(d.Detail, detail) {
			t.Errorf("dead letter is %+v, want %s: %s", d, state, detail)
		}
	}
}

func TestANarrowedColumnInAReplaysTable(t *testing.T) {
	t.Parallel()
	for name, c := range narrowed {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, url := open(t)
			pgtest.Exec(t, url, c.ddl, pgx.QueryExecModeSimpleProtocol)
			r := createReplay(t, url, "again", int64(narrowCounts.in))
			if err := r.Prepare(batch(part(0, 0, narrow(c.spoil)...)))(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got, want := r.Counts(), (ReplayCounts{Inserted: 8, Duplicate: 1, Dead: 8}); got != want {
				t.Errorf("counts are %+v, want %+v", got, want)
			}
		})
	}
}

// A batch with more bad rows than one transaction isolates is split on its way.
func TestANarrowedColumnInALargeBatch(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	c := narrowed["a shorter text"]
	pgtest.Exec(t, url, c.ddl)
	list := events(3*isolateMax, today())
	for i := 0; i < len(list); i += 3 {
		c.spoil(list[i])
	}
	write(t, s, part(0, 0, encoded(list...)...))
	wantCounts(t, url, counts{rows: 2 * isolateMax, in: 3 * isolateMax, inserted: 2 * isolateMax, dead: isolateMax, letters: isolateMax})
	wantRefused(t, s, c.state, c.detail)
}

// What not even the staging table takes is found by line, however much of it there is.
func TestRowsThatAreNotWellFormedAreDeadLetters(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	values := encoded(titled(strings.Split(strings.Repeat("well ", 20), " ")[:20]...)...)
	w := s.prepare(batch(part(0, 0, values...)))
	for i := range 2 * spoilt {
		r := &w.rows[i]
		r.body = []byte(strings.Replace(string(r.body), "well", "\xff\xfe\x00!", 1))
	}
	if err := s.writeWork(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	wantCounts(t, url, counts{rows: 6, in: 20, inserted: 6, dead: 14, letters: 14})
	wantRefused(t, s, "22021", "invalid byte sequence")
}
