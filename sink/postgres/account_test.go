package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

// spooled gives records numbers of a spool, from first on.
func spooled(spool event.UUID, first uint64, p consume.Part) consume.Part {
	for i := range p.Records {
		seq := first + uint64(i)
		p.Records[i].Origin = event.Origin{Spool: spool, Seq: seq, First: seq}
	}
	return p
}

// tallies reads the sums of footfall.site_hours, a line each.
func tallies(t *testing.T, url string) string {
	t.Helper()
	return pgtest.Get[string](t, url, `select coalesce(string_agg(format('%s %s: %s inserted %s duplicate %s dead %s erased',
		site, to_char(hour at time zone 'UTC', 'HH24'), n_inserted, n_duplicate, n_dead, n_erased),
		'; ' order by site, hour), '') from footfall.site_hours`)
}

func TestTalliesTellSitesAndHoursApart(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"direct", "sifted", "staged", "halved"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			s, url := open(t)
			own(t, s, 0)
			noon := time.Now().UTC().Truncate(24 * time.Hour).Add(-12 * time.Hour)
			a, b, c := at(noon), at(noon.Add(time.Minute)), at(noon.Add(time.Hour))
			b.Site = "blog"
			want := "blog 12: 1 inserted 0 duplicate 0 dead 0 erased; shop 12: 1 inserted 1 duplicate 0 dead 0 erased; shop 13: 1 inserted"
			list := []*event.Event{a, b, c, a}
			switch way {
			case "sifted":
				s.detour.begin(sifted)
			case "staged":
				s.detour.begin(staged)
			case "halved":
				pgtest.Exec(t, url, `create function footfall.sour() returns trigger language plpgsql as
					$$ begin raise 'sour'; end $$;
					create trigger sour before insert on footfall.events for each row
					when (new.title = 'bad') execute function footfall.sour()`)
				bad := at(noon.Add(2 * time.Hour))
				bad.Title = "bad"
				list = append(list, bad, bad, bad, bad, bad)
			}
			write(t, s, part(0, 0, encoded(list...)...))
			got := tallies(t, url)
			if !strings.HasPrefix(got, want) {
				t.Errorf("tallies are %s, want %s", got, want)
			}
			if dead := "shop 14: 0 inserted 0 duplicate 5 dead 0 erased"; way == "halved" && !strings.HasSuffix(got, dead) {
				t.Errorf("tallies are %s, want %s", got, dead)
			}
			pgtest.Exec(t, url, "select footfall.fold(); select footfall.fold()")
			if again := tallies(t, url); again != got {
				t.Errorf("folded, tallies are %s, were %s", again, got)
			}
		})
	}
}

func TestArrivalsNameEachNumberOnce(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0, 1)
	one, two := event.NewUUID(time.Now()), event.NewUUID(time.Now())
	list := encoded(events(10, today())...)
	write(t, s, spooled(one, 1, part(0, 0, list[:3]...)), spooled(two, 7, part(1, 0, list[3:5]...)))
	write(t, s, spooled(one, 3, part(0, 3, list[5:9]...)), spooled(one, 9, part(1, 2, []byte("no record"))))
	// Numbers 10 and 11 were of an append that failed.
	late := part(1, 3, list[9])
	late.Records[0].Origin = event.Origin{Spool: one, Seq: 12, First: 10}
	write(t, s, late)
	read := func() string {
		return pgtest.Get[string](t, url, `select string_agg(all_seqs::text, ' ' order by spool_id) from
			(select spool_id, range_agg(seqs) as all_seqs from footfall.arrivals group by 1) x`)
	}
	want := "{[1,7),[9,13)} {[7,9)}"
	if slices.Compare(one[:], two[:]) > 0 {
		want = "{[7,9)} {[1,7),[9,13)}"
	}
	if got := read(); got != want {
		t.Errorf("arrived are %s, want %s", got, want)
	}
	// Many more of the first, each apart from the last: folded in several steps.
	pgtest.Exec(t, url, `insert into footfall.arrivals (spool_id, seqs)
		select $1, int8multirange(int8range(n, n + 1)) from generate_series(13, 2000) n order by random()`, [16]byte(one))
	want = strings.Replace(want, "[9,13)", "[9,2001)", 1)
	pgtest.Exec(t, url, "update footfall.arrivals set at = at - interval '1 hour'")
	pgtest.Exec(t, url, "select footfall.fold()")
	if n := pgtest.Get[int](t, url, "select count(*) from footfall.arrivals"); n != 2 || read() != want {
		t.Errorf("folded, arrived are %s in %d lines, want %s in 2", read(), n, want)
	}
}

func TestMultirangeIsShort(t *testing.T) {
	t.Parallel()
	for want, in := range map[string][][2]uint64{
		"{[5,6)}":              {{5, 5}},
		"{[1,6)}":              {{5, 5}, {3, 3}, {1, 2}, {4, 4}, {4, 4}},
		"{[1,2),[3,5),[9,12)}": {{9, 11}, {3, 3}, {1, 1}, {4, 4}, {10, 10}},
	} {
		var origins []event.Origin
		for _, r := range in {
			origins = append(origins, event.Origin{First: r[0], Seq: r[1]})
		}
		if got := multirange(origins); got != want {
			t.Errorf("%v is written %s, want %s", in, got, want)
		}
	}
}

func TestFoldKeepsTheLedgersGaps(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	line := func(partition, from, to int, at string) {
		pgtest.Exec(t, url, fmt.Sprintf(`insert into footfall.ledger (cluster_id, topic_id, partition,
			from_offset, to_offset, n_in, n_inserted, n_duplicate, n_dead, committed_at)
			values ('c', '%s', %d, %d, %d, %[4]d - %[3]d, %[4]d - %[3]d, 0, 0,
			date_trunc('hour', clock_timestamp()) - interval '%[5]s')`, event.UUID{1}, partition, from, to, at))
	}
	for i := range 5 {
		line(0, 10*i, 10*i+10, "9 days") // touch
		line(1, 20*i, 20*i+10, "9 days") // do not
		line(2, 10*i, 10*i+10, "1 day")  // are young
	}
	pgtest.Exec(t, url, "select footfall.fold()")
	got := pgtest.Get[string](t, url, `select string_agg(format('%s: %s lines %s in', partition, n, n_in), '; ' order by partition)
		from (select partition, count(*) as n, sum(n_in) as n_in from footfall.ledger group by 1) x`)
	if want := "0: 1 lines 50 in; 1: 5 lines 50 in; 2: 5 lines 50 in"; got != want {
		t.Errorf("ledger has %s, want %s", got, want)
	}
}

// A ledger grows by a line a batch and partition: to add up its old hours must not take a
// reading of all of it.
func TestFoldDoesNotReadTheWholeLedger(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	pgtest.Exec(t, url, `insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset,
		n_in, n_inserted, n_duplicate, n_dead, committed_at)
		select 'c1', gen_random_uuid(), 0, n, n + 1, 1, 1, 0, 0, now() - n * interval '1 second'
		from generate_series(1, 50000) n`)
	const hour = "date_trunc('hour', now()) - interval '8 days'"
	pgtest.Exec(t, url, `insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset,
		n_in, n_inserted, n_duplicate, n_dead, committed_at)
		select 'c1', '01020300-0000-0000-0000-000000000000', 0, n, n + 1, 1, 1, 0, 0, `+hour+`
		from generate_series(1, 3) n`)
	pgtest.Exec(t, url, "analyze footfall.ledger")
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), "select footfall.fold()"); err != nil {
		t.Fatal(err)
	}
	var whole, lines int
	if err := tx.QueryRow(t.Context(), `select seq_scan, (select count(*) from footfall.ledger
		where committed_at = `+hour+`) from pg_stat_xact_user_tables
		where relid = 'footfall.ledger'::regclass`).Scan(&whole, &lines); err != nil {
		t.Fatal(err)
	}
	if whole != 0 || lines != 1 {
		t.Errorf("read the whole ledger %d times, left %d lines of an old hour, want 0 and 1", whole, lines)
	}
}
