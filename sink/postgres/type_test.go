package postgres

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// retyped returns events of today with something in each column that the tests below retype.
func retyped(n int) []*event.Event {
	list := events(n, today())
	for _, e := range list {
		e.ScrollPct, e.ScreenW, e.ASN, e.EngagedMS = event.Some(55), event.Some(800), event.Some(3320), event.Some(1234)
		e.Title, e.Revenue, e.IP, e.BotReasons = "hello", "12.50", "192.0.2.7", []string{"no_js"}
		e.Props = event.JSON(`{"a": 1}`)
	}
	return list
}

// TestAColumnOfAnotherTypeHoldsTheSameValue: COPY would take the bytes of one type for
// those of another. Some types refuse them, float8 and text make something else of them.
func TestAColumnOfAnotherTypeHoldsTheSameValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		column, as, want string
		direct           bool // COPY can do it
	}{
		{column: "scroll_pct", as: "integer", want: "55"},
		{column: "screen_w", as: "bigint", want: "800"},
		{column: "asn", as: "double precision", want: "3320"},
		{column: "engaged_ms", as: "numeric", want: "1234"},
		{column: "revenue", as: "double precision", want: "12.5"},
		{column: "props", as: "text", want: `{"a": 1}`},
		{column: "props", as: "json", want: `{"a": 1}`},
		{column: "ip", as: "text", want: "192.0.2.7/32"},
		{column: "bot_reasons", as: "varchar[]", want: "{no_js}"},
		{column: "title", as: "varchar", want: "hello", direct: true},
		{column: "title", as: "varchar(200)", want: "hello", direct: true},
		{column: "title", as: "footfall.heading", want: "hello", direct: true},
		{column: "title", as: "footfall.narrower", want: "hello", direct: true},
	} {
		t.Run(c.column+" "+c.as, func(t *testing.T) {
			t.Parallel()
			s, url := open(t)
			own(t, s, 0)
			pgtest.Exec(t, url, "create domain footfall.heading as text check (value <> 'bad')")
			pgtest.Exec(t, url, "create domain footfall.narrower as footfall.heading check (value <> 'worse')")
			pgtest.Exec(t, url, "alter table footfall.events alter column "+c.column+" type "+c.as)
			list := retyped(9)
			write(t, s, part(0, 0, encoded(append(list, list[2])...)...))
			write(t, s, part(0, 10, encoded(retyped(3)...)...))
			wantCounts(t, url, counts{rows: 12, in: 13, inserted: 12, duplicate: 1})
			if n := pgtest.Get[int](t, url, "select count(*) from footfall.events where "+c.column+"::text = $1", c.want); n != 12 {
				t.Errorf("%d rows hold %s, want 12", n, c.want)
			}
			r := createReplay(t, url, "again", 9)
			if err := r.Prepare(batch(part(0, 0, encoded(list...)...)))(t.Context()); err != nil {
				t.Error(err)
			}
			if n := pgtest.Get[int](t, url, "select count(*) from again where "+c.column+"::text = $1", c.want); n != 9 {
				t.Errorf("%d rows of the replay hold %s, want 9", n, c.want)
			}
			if n := s.meters.byAction[stage].Get(); (n == 0) != c.direct {
				t.Errorf("%d attempts went to the staging table", n)
			}
		})
	}
}

func TestValuesThatAnotherTypeCannotHoldAreDeadLetters(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, "alter table footfall.events alter column screen_w type smallint")
	list := retyped(20)
	for i := range spoilt {
		list[2*i].ScreenW = event.Some(40_000)
	}
	write(t, s, part(0, 0, encoded(append(list, list[1])...)...))
	wantCounts(t, url, counts{rows: 13, in: 21, inserted: 13, duplicate: 1, dead: spoilt, letters: spoilt})
	wantRefused(t, s, "22003", "smallint out of range")
}

// No row fits a type into which ours does not go: that is the schema's fault, and nothing
// is lost.
func TestATypeThatTakesNoneOfOursWaitsForAPerson(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	pgtest.Exec(t, url, "alter table footfall.events alter column title type jsonb using null")
	values := encoded(retyped(5)...)
	err := s.Write(t.Context(), batch(part(0, 0, values...)))
	if fault, ok := errors.AsType[*Fault](err); !ok || fault.Pause() != pauseLong {
		t.Fatalf("got %v, want a fault with a long pause", err)
	}
	wantCounts(t, url, counts{})
	pgtest.Exec(t, url, "alter table footfall.events alter column title type text")
	write(t, s, part(0, 0, values...))
	wantCounts(t, url, counts{rows: 5, in: 5, inserted: 5})
}

// A batch that waits for the end of ALTER TABLE finds the new type, and not the old one: also
// where a transaction would by itself see what was there before the lock. COPY then stored
// 1.6e-320 for 3320.
func TestATypeThatChangesMeanwhileIsSeen(t *testing.T) {
	t.Parallel()
	for _, isolation := range []string{"read committed", "repeatable read"} {
		t.Run(isolation, func(t *testing.T) {
			t.Parallel()
			first, url := open(t)
			first.Close()
			pgtest.Exec(t, url, `do $$ begin execute format('alter database %I set default_transaction_isolation = %L',
				current_database(), '`+isolation+`'); end $$`)
			s := openAt(t, url)
			own(t, s, 0)
			c := pgtest.Connect(t, url)
			defer c.Close(context.Background())
			if _, err := c.Exec(t.Context(), "begin; alter table footfall.events alter column asn type double precision",
				pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
			written := make(chan error, 1)
			go func() { written <- s.Write(context.Background(), batch(part(0, 0, encoded(retyped(5)...)...))) }()
			awaitLock(t, url)
			if _, err := c.Exec(t.Context(), "commit"); err != nil {
				t.Fatal(err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			if n := pgtest.Get[int](t, url, "select count(*) from footfall.events where asn = 3320"); n != 5 {
				t.Errorf("%d rows have the number, want 5", n)
			}
		})
	}
}
