package postgres

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

func audited(t *testing.T, s *Store, o AuditOptions) *Audit {
	t.Helper()
	a, err := s.Audit(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// busy returns a database that has seen all kinds of records, in several batches: 40
// records of numbers 1 to 40 of a spool, in two partitions.
func busy(t *testing.T) (*Store, string, event.UUID) {
	t.Helper()
	s, url := open(t)
	own(t, s, 0, 1)
	spool := event.NewUUID(time.Now())
	list := encoded(events(40, today().Add(-24*time.Hour))...)
	list[3], list[17] = list[2], list[2] // duplicates
	list[5], list[21] = []byte("no record"), nil
	write(t, s, spooled(spool, 1, part(0, 0, list[:10]...)), spooled(spool, 11, part(1, 0, list[10:20]...)))
	write(t, s, spooled(spool, 21, part(0, 10, list[20:30]...)))
	write(t, s, spooled(spool, 31, part(1, 10, list[30:]...)))
	return s, url, spool
}

func TestAuditFindsNothingWhereNothingIs(t *testing.T) {
	t.Parallel()
	empty, _ := open(t)
	if a := audited(t, empty, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("an empty database has problems %q", a.Problems)
	}
	own(t, empty, 0)
	if a := audited(t, empty, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("a database with a position has problems %q", a.Problems)
	}
	s, url, _ := busy(t)
	for range 2 {
		for _, o := range []AuditOptions{{}, {Since: time.Now().Add(-time.Hour)}, {Since: time.Now().Add(time.Hour)},
			{Within: AuditWithin}} {
			if a := audited(t, s, o); len(a.Problems) > 0 {
				t.Errorf("%+v: problems %q", o, a.Problems)
			}
		}
		a := audited(t, s, AuditOptions{})
		if a.Rows != 36 || a.Counted != 36 || a.DeadWaiting != 2 || len(a.Partitions) != 2 || len(a.Spools) != 1 {
			t.Fatalf("audit is %+v", a)
		}
		if p := a.Partitions[1]; p.Topic != topic || p.In != 20 || p.Duplicate != 1 || p.Next != 20 || p.Lines != 2 {
			t.Errorf("partition 1 is %+v", p)
		}
		if sp := a.Spools[0]; sp.First != 1 || sp.Last != 40 || sp.Arrived != 40 || sp.Missing+sp.OnTheWay != 0 {
			t.Errorf("spool is %+v", sp)
		}
		pgtest.Exec(t, url, "select footfall.fold(); select footfall.recount()")
	}
}

// TestAuditFindsWhatWasTamperedWith damages a sound database in one way each, and wants
// the damage named, and only that.
func TestAuditFindsWhatWasTamperedWith(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, check, says string }{
		"a row is deleted": {`delete from footfall.events where ctid = (select min(ctid) from footfall.events)`,
			"rows", "rows were stored, and"},
		"a row is added": {`insert into footfall.events (event_id, schema, site, type, occurred_at, received_at,
			clock, bot, transport, gpc) values (gen_random_uuid(), 1, 'blog', 'click', now(), now(), 'client', false, 'api', false)`,
			"rows", `site "blog"`},
		"a row is of another site": {`update footfall.events set site = 'blog' where ctid = (select min(ctid) from footfall.events)`,
			"rows", `site "blog"`},
		"a partition is dropped": {`do $$ begin execute 'drop table footfall.events_' ||
			to_char((select min(hour) from footfall.tallies) at time zone 'UTC', 'YYYYMMDD'); end $$`,
			"rows", "dropped or detached"},
		"a ledger line is double": {`insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset,
			n_in, n_inserted, n_duplicate, n_dead) select cluster_id, topic_id, partition, from_offset, to_offset,
			n_in, 0, n_in, 0 from footfall.ledger where partition = 1 and from_offset = 0`, "ledger", "in two lines"},
		"the first ledger line is gone": {`delete from footfall.ledger where partition = 0 and from_offset = 0`,
			"ledger", "reading began at 0, and the ledger at 10"},
		"the last ledger line is gone": {`delete from footfall.ledger where partition = 0 and from_offset = 10`,
			"position", "the position is 20, and the ledger ends at 10"},
		"a ledger line is shorter": {`update footfall.ledger set to_offset = 9, n_in = 9, n_inserted = n_inserted - 1
			where partition = 1 and from_offset = 0`, "ledger", "no line has the offsets 9 to 9"},
		"a ledger line says something else": {`update footfall.ledger set n_inserted = n_inserted - 1
			where partition = 1 and from_offset = 0`, "ledger", "became 8 rows"},
		"a ledger line lies consistently": {`update footfall.ledger set n_inserted = n_inserted - 1,
			n_duplicate = n_duplicate + 1 where partition = 1 and from_offset = 0`, "sums", "count 35 rows"},
		"the position is moved on": {`update footfall.sink_offsets set next_offset = 25 where partition = 1`,
			"position", "the position is 25, and the ledger ends at 20"},
		"the position is moved back": {`update footfall.sink_offsets set next_offset = 10 where partition = 0`,
			"position", "the position is 10, and the ledger ends at 20"},
		"the position is gone": {`delete from footfall.sink_offsets where partition = 0`, "position", "there is no position"},
		"a dead letter is deleted": {`delete from footfall.dead_letters where record_offset = 5`,
			"dead", "the ledger counts 2 dead letters, and there are 1"},
		"numbers of the spool are missing": {`update footfall.arrivals set seqs = seqs - '{[12,15)}'::int8multirange`,
			"spool", "numbers 12 to 14 were accepted and are not here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url, _ := busy(t)
			pgtest.Exec(t, url, c.sql)
			a := audited(t, s, AuditOptions{})
			found := false
			for _, p := range a.Problems {
				found = found || p.Check == c.check && strings.Contains(p.Detail, c.says)
			}
			if !found {
				t.Errorf("problems are %q, want one of %s that says %q", a.Problems, c.check, c.says)
			}
			// What happened minutes ago is seen in the last hour too; but not what lies
			// before it, and the rows are of yesterday.
			recent := audited(t, s, AuditOptions{Since: time.Now().Add(-time.Hour)})
			if len(recent.Problems) == 0 && c.check != "rows" && !strings.Contains(name, "first") {
				t.Error("the audit of the last hour finds nothing")
			}
		})
	}
}

func TestAuditWaitsForWhatIsOnTheWay(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	spool := event.NewUUID(time.Now())
	list := encoded(events(30, today())...)
	write(t, s, spooled(spool, 1, part(0, 0, list[:10]...)))
	write(t, s, spooled(spool, 21, part(0, 10, list[20:]...)))
	a := audited(t, s, AuditOptions{Within: AuditWithin})
	if sp := a.Spools[0]; len(a.Problems) > 0 || sp.OnTheWay != 10 || sp.Missing != 0 {
		t.Errorf("spool is %+v, problems %q", sp, a.Problems)
	}
	if a = audited(t, s, AuditOptions{}); len(a.Problems) != 1 || a.Spools[0].Missing != 10 {
		t.Errorf("at rest, spool is %+v, problems %q", a.Spools[0], a.Problems)
	}
	pgtest.Exec(t, url, "update footfall.arrivals set at = at - interval '11 minutes'; select footfall.fold()")
	if a = audited(t, s, AuditOptions{Within: AuditWithin}); len(a.Problems) != 1 || a.Spools[0].Missing != 10 {
		t.Errorf("later, spool is %+v, problems %q", a.Spools[0], a.Problems)
	}
	write(t, s, spooled(spool, 11, part(0, 20, list[10:20]...)))
	if a = audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("after a replay of the spool, problems %q", a.Problems)
	}
}

// A collector ran for longer than Kafka kept its records before a sink first came.
func TestAuditMissesWhatWasGoneBeforeTheFirstArrival(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	s, err := Open(t.Context(), Options{DatabaseURL: pgtest.New(t), Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	spool := event.NewUUID(time.Now().Add(-time.Hour)) // older than the database
	for range 2 {
		if _, err := s.Positions(t.Context(), "c1", topic, topicID, map[int32]int64{0: 20, 1: 0}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, s, spooled(spool, 31, part(0, 20, encoded(events(10, today())...)...)))
	a := audited(t, s, AuditOptions{Within: AuditWithin})
	if sp := a.Spools[0]; len(a.Problems) > 0 || sp.First != 1 || sp.OnTheWay != 30 {
		t.Errorf("at first, spool is %+v, problems %q", sp, a.Problems)
	}
	a = audited(t, s, AuditOptions{})
	if sp := a.Spools[0]; sp.Missing != 30 || len(a.Problems) != 1 || a.Problems[0].Check != "spool" ||
		!strings.Contains(a.Problems[0].Detail, "numbers 1 to 30 were accepted and are not here, nor any before them") {
		t.Errorf("spool is %+v, problems %q", sp, a.Problems)
	}
	if a.Partitions[0].Began != 20 || a.Partitions[1].Began != 0 {
		t.Errorf("partitions are %+v", a.Partitions)
	}
	if n := strings.Count(said.String(), "gone before a sink came"); n != 1 || !strings.Contains(said.String(), "partition=0 position=20") {
		t.Errorf("the log says %d times: %s", n, said.String())
	}
	// As the README has it.
	if _, err := s.pool.Exec(t.Context(), `insert into footfall.arrivals (spool_id, seqs, note)
		values ($1, '{[1,31)}', 'of before the sink')`, [16]byte(spool)); err != nil {
		t.Fatal(err)
	}
	if a = audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("explained, problems %q", a.Problems)
	}
}

// What a collector keeps aside is told in its place, and so has arrived.
func TestWhatIsKeptAsideIsADeadLetterAndNotMissing(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	spool := event.NewUUID(time.Now())
	list := encoded(events(3, today())...)
	list[1] = event.AppendAside(nil, spool, 2, 3<<20)
	write(t, s, spooled(spool, 1, part(0, 0, list...)))
	wantCounts(t, url, counts{rows: 2, in: 3, inserted: 2, dead: 1, letters: 1})
	detail := pgtest.Get[string](t, url, "select reason || ': ' || detail from footfall.dead_letters")
	if !strings.HasPrefix(detail, "undecodable: the collector keeps the record aside") {
		t.Errorf("dead letter says %s", detail)
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Spools[0].Arrived != 3 {
		t.Errorf("spool is %+v, problems %q", a.Spools[0], a.Problems)
	}
}

func TestAuditTakesAnExplanation(t *testing.T) {
	t.Parallel()
	s, url, spool := busy(t)
	pgtest.Exec(t, url, "update footfall.arrivals set seqs = seqs - '{[12,15)}'::int8multirange")
	pgtest.Exec(t, url, `insert into footfall.arrivals (spool_id, seqs, note)
		values ($1, '{[12,15)}', 'disk of collector 3 died')`, [16]byte(spool))
	pgtest.Exec(t, url, "select footfall.fold()")
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("problems %q", a.Problems)
	}
	if n := pgtest.Get[int](t, url, "select count(*) from footfall.arrivals where note is not null"); n != 1 {
		t.Errorf("%d notes, want the one", n)
	}
}

func TestRecountWaitsForNobodyAndCountsRightBesideWriters(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	commit := hold(t, url, time.Now()) // a row behind the tallies' back, not there yet
	pgtest.Exec(t, url, "set lock_timeout = '1s'; select footfall.recount()", pgx.QueryExecModeSimpleProtocol)
	commit()
	pgtest.Exec(t, url, "select footfall.recount()")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 {
			pgtest.Exec(t, url, "select footfall.recount()")
			s.tidy(context.Background(), time.Now()) // folds
		}
	}()
	for offset, going := int64(0), true; going; offset += 20 {
		write(t, s, part(0, offset, encoded(events(20, today())...)...))
		select {
		case <-done:
			going = false
		default:
		}
	}
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("problems %q", a.Problems)
	}
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	_, err := c.Exec(t.Context(), "begin isolation level repeatable read; select footfall.recount()", pgx.QueryExecModeSimpleProtocol)
	if err == nil || !strings.Contains(err.Error(), "read committed") {
		t.Errorf("in an older snapshot: %v", err)
	}
}

func TestRecountTakesTheTableAsItIs(t *testing.T) {
	t.Parallel()
	s, url, _ := busy(t)
	pgtest.Exec(t, url, `delete from footfall.events where ctid = (select min(ctid) from footfall.events);
		insert into footfall.events (event_id, schema, site, type, occurred_at, received_at,
			clock, bot, transport, gpc) values (gen_random_uuid(), 1, 'blog', 'click', now(), now(), 'client', false, 'api', false);
		delete from footfall.tallies where n_dead > 0 and n_inserted = 0`)
	if a := audited(t, s, AuditOptions{}); len(a.Problems) == 0 {
		t.Fatal("nothing is found")
	}
	pgtest.Exec(t, url, "select footfall.recount()")
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("problems %q, tallies %s", a.Problems, tallies(t, url))
	}
}
