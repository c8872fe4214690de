package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

func homeOf(t *testing.T, url string, e *event.Event) string {
	t.Helper()
	return pgtest.Get[string](t, url, `select tableoid::regclass::text from footfall.events
		where event_id = $1`, [16]byte(e.EventID))
}

// insertStray puts a row where it lands without a partition.
func insertStray(t *testing.T, url string, then time.Time) {
	t.Helper()
	pgtest.Exec(t, url, `insert into footfall.events (event_id, schema, site, type, occurred_at,
		received_at, clock, bot, transport, gpc) values (gen_random_uuid(), 1, 's', 'click', $1,
		$1, 'client', false, 'api', false)`, then)
}

func TestRowsWithoutAPartitionAreDrainedIntoOne(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	day, far := today().Add(-100*24*time.Hour), today().Add(-900*24*time.Hour)
	insertStray(t, url, day)
	insertStray(t, url, far)
	e := at(day)
	write(t, s, part(0, 0, encoded(e, at(day))...))
	write(t, s, part(0, 2, encoded(at(day))...))
	if home := homeOf(t, url, e); home != "footfall.events_default" || s.meters.strayDays.Get() != 1 {
		t.Errorf("event lies in %s, stray days counted %d times, want once", home, s.meters.strayDays.Get())
	}
	s.tidy(t.Context(), time.Now())
	if home := homeOf(t, url, e); home != partitionName(dayOf(day)) {
		t.Errorf("drained event lies in %s", home)
	}
	wantCounts(t, url, counts{rows: 5, in: 3, inserted: 3})
	// The row of 900 days ago stays, and somebody has to hear of it.
	if w := s.Warning(); w == nil || !strings.Contains(w.Error(), "events_default holds 1 rows") || s.meters.strayRows.Get() != 1 {
		t.Errorf("warning is %v, metric %v", w, s.meters.strayRows.Get())
	}
	pgtest.Exec(t, url, "delete from footfall.events_default")
	s.tidy(t.Context(), time.Now())
	if w := s.Warning(); w != nil {
		t.Errorf("warning is %v after the last stray row went", w)
	}
}

// hold begins a transaction that has copied a row of each time, as a sink does.
func hold(t *testing.T, url string, times ...time.Time) (commit func()) {
	t.Helper()
	c := pgtest.Connect(t, url)
	tx, err := c.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var w work
	s := &Store{}
	for i, then := range times {
		w = *s.prepare(batch(part(0, int64(i), encoded(at(then))...)))
		if err := copyRows(context.Background(), tx, s.table(), w.live()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return func() {
		if err := tx.Commit(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestDrainingWaitsForWritersAndLosesNothing(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	day := today().Add(-50 * 24 * time.Hour)
	insertStray(t, url, day)
	commit := hold(t, url, day, time.Now()) // copied into events_default, not committed
	if err := s.drain(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "55P03") {
		t.Errorf("draining beside a writer: %v, want a lock timeout", err)
	}
	commit()
	if err := s.drain(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.Get[int](t, url, "select count(*) from "+partitionName(dayOf(day))); n != 2 {
		t.Errorf("%d rows in the new partition, want 2", n)
	}
}

// TestDDLWhileBatchesAreWritten drops, detaches, makes and drains partitions as fast as
// it goes while batches of those days are written: every batch is stored, and what is
// missing from the table at the end is what was dropped or detached.
func TestDDLWhileBatchesAreWritten(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	days := []time.Time{today().Add(-20 * 24 * time.Hour), today().Add(-21 * 24 * time.Hour)}
	ctx, stop := context.WithCancel(t.Context())
	gone := make(chan int64, 1)
	go func() {
		c := pgtest.Connect(t, url)
		defer c.Close(context.Background())
		var n int64
		for i := 0; ctx.Err() == nil; i++ {
			n += ddl(t, c, days[i%2], i%4 < 2)
			s.tidy(context.Background(), time.Now())
		}
		gone <- n
	}()
	offset, batches := int64(0), 0
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); batches++ {
		list := encoded(at(days[0]), at(days[1]), at(time.Now()))
		var err error
		for range 50 { // as a sink would
			if err = s.Write(context.Background(), batch(part(0, offset, list...))); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		offset += 3
	}
	stop()
	lost := <-gone
	s.tidy(t.Context(), time.Now())
	c := counted(t, url)
	if c.inserted != offset || c.rows+lost != offset || c.dead != 0 || lost == 0 {
		t.Errorf("%d records in %d batches: ledger counts %d rows, table has %d, %d went with their partitions",
			offset, batches, c.inserted, c.rows, lost)
	}
}

// ddl drops or detaches a partition by hand and returns how many rows went with it.
func ddl(t *testing.T, c *pgx.Conn, day time.Time, detach bool) (n int64) {
	name := partitionName(dayOf(day))
	err := pgx.BeginFunc(context.Background(), c, func(tx pgx.Tx) error {
		ctx := context.Background()
		var state *string
		if err := tx.QueryRow(ctx, "select footfall.day_state($1)", dayStart(dayOf(day))).Scan(&state); err != nil ||
			state == nil || *state != "attached" {
			return err
		}
		if _, err := tx.Exec(ctx, "lock table footfall.events in access exclusive mode"); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "select count(*) from "+name).Scan(&n); err != nil {
			return err
		}
		sql := "drop table " + name
		if detach {
			sql = fmt.Sprintf("alter table footfall.events detach partition %s; alter table %[1]s rename to gone_%d",
				name, time.Now().UnixNano())
		}
		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		t.Logf("ddl: %v", err) // a deadlock with its own doing; the rows are where they were
		return 0
	}
	return n
}

func TestADetachedTableKeepsItsName(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	name := partitionName(dayOf(time.Now()))
	pgtest.Exec(t, url, "alter table footfall.events detach partition "+name)
	s.forgetDays()
	e := at(today())
	write(t, s, part(0, 0, encoded(e)...))
	if home := homeOf(t, url, e); home != "footfall.events_default" {
		t.Errorf("event lies in %s", home)
	}
	s.tidy(t.Context(), time.Now())
	if s.Warning() == nil {
		t.Error("nobody is told of the row in events_default")
	}
	pgtest.Exec(t, url, "drop table "+name)
	s.tidy(t.Context(), time.Now())
	if home := homeOf(t, url, e); home != name {
		t.Errorf("event lies in %s", home)
	}
}

func TestRetentionDropsDaysAndErasesSites(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	var list []*event.Event
	for days := range 10 {
		for _, site := range []string{"shop", "blog"} {
			e := at(today().Add(-time.Duration(days) * 24 * time.Hour))
			e.Site = site
			list = append(list, e)
		}
	}
	write(t, s, part(0, 0, encoded(list...)...))
	const day = 24 * time.Hour
	s.retention = func() (Retention, error) {
		return Retention{All: 7 * day, Sites: map[string]time.Duration{"blog": 3 * day, "shop": 0}}, nil
	}
	for range 2 {
		s.tidy(t.Context(), time.Now())
		got := pgtest.Get[string](t, url, `select string_agg(format('%s %s', site, n), ', ' order by site) from
			(select site, count(*) as n from footfall.events group by 1) x`)
		if got != "blog 4, shop 8" { // of today and three, seven days
			t.Errorf("there are %s", got)
		}
		if n := pgtest.Get[int](t, url, `select count(*) from pg_partition_tree('footfall.events') where isleaf`); n != 7+1+7+1 {
			t.Errorf("%d partitions", n)
		}
		if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Erased != 8 {
			t.Errorf("erased %d, problems %q", a.Erased, a.Problems)
		}
	}
	// An event of a dropped day makes that day again, until the next time.
	late := at(today().Add(-9 * day))
	write(t, s, part(0, 20, encoded(late)...))
	if home := homeOf(t, url, late); home != partitionName(dayOf(late.OccurredAt)) {
		t.Errorf("late event lies in %s", home)
	}
	s.tidy(t.Context(), time.Now())
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 12 {
		t.Errorf("%d rows, problems %q", a.Rows, a.Problems)
	}
}

// What no partition has is not kept longer than what one has: rows of before any day that
// gets one, and of a day whose table was detached.
func TestRetentionReachesRowsWithoutAPartition(t *testing.T) {
	t.Parallel()
	_, owner := open(t)
	as := member(t, owner, "footfall_ingest, footfall_eraser")
	s := openAt(t, as)
	own(t, s, 0)
	const day = 24 * time.Hour
	far, days := today().Add(-900*day), today().Add(-20*day)
	write(t, s, part(0, 0, encoded(at(today()), at(far), at(far), at(far.Add(-40*day)), at(days))...))
	pgtest.Exec(t, owner, fmt.Sprintf("alter table footfall.events detach partition %s", partitionName(dayOf(days))))
	s.forgetDays()
	write(t, s, part(0, 5, encoded(at(days), at(days))...))
	// What somebody attached under another name is theirs, whatever its days.
	pgtest.Exec(t, owner, `create table footfall.archive partition of footfall.events
		for values from ('2001-01-01') to ('2001-02-01')`)
	insertStray(t, owner, time.Date(2001, 1, 15, 0, 0, 0, 0, time.UTC))
	if n := pgtest.Get[int](t, owner, "select count(*) from footfall.events_default"); n != 5 {
		t.Fatalf("%d rows without a partition, want 5", n)
	}
	keep := 10 * day
	s.retention = func() (Retention, error) { return Retention{All: keep}, nil }
	for range 2 {
		if err := s.expire(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	got := pgtest.Get[string](t, owner, `select string_agg(site, ' ' order by site) || ', ' ||
		(select count(*) from footfall.events_default) from footfall.events`)
	if got != "s shop, 0" {
		t.Errorf("there are %s, want the event of today and the one in the archive", got)
	}
	a := audited(t, openAt(t, owner), AuditOptions{Since: today().Add(-1000 * day)})
	if a.Erased != 5 {
		t.Errorf("%d are written down as erased, want 5", a.Erased)
	}
	for _, p := range a.Problems { // the table that was detached had a row
		if p.Check != "rows" || !strings.Contains(p.Detail, "detached") {
			t.Errorf("problem %q", p)
		}
	}
	if len(a.Problems) != 1 {
		t.Errorf("problems %q, want the one of the detached table", a.Problems)
	}
}

// Behind somebody who has the default partition in use, each partition takes a second to be
// given up. A batch must not wait that for each of its days.
func TestABatchOfManyDaysDoesNotWaitForEach(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), "begin; select count(*) from footfall.events_default",
		pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	var list []*event.Event
	for i := range 90 {
		list = append(list, at(today().AddDate(0, 0, -20-i)))
	}
	s.limits.task = 60 * time.Second // 90 times a second do not fit
	write(t, s, part(0, 0, encoded(list...)...))
	if home := homeOf(t, url, list[0]); home != "footfall.events_default" {
		t.Errorf("a row of a day that could not be made lies in %s", home)
	}
	if _, err := c.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	s.forgetDays() // as tidy does, sooner than the pause
	later := at(today().AddDate(0, 0, -150))
	write(t, s, part(0, 90, encoded(later)...))
	if home := homeOf(t, url, later); home != partitionName(dayOf(later.OccurredAt)) {
		t.Errorf("behind the reader a row lies in %s", home)
	}
}
