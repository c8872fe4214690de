package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// member makes a user of a role, for one test, and returns the database's URL as that
// user.
func member(t *testing.T, database, role string) string {
	t.Helper()
	name := "test_" + strings.ReplaceAll(event.NewUUID(time.Now()).String(), "-", "")
	in := ""
	if role != "" {
		in = " in role " + role
	}
	pgtest.Exec(t, database, fmt.Sprintf("create role %s login password 'x'%s", name, in))
	t.Cleanup(func() { pgtest.Exec(t, database, "drop role "+name) })
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, "x")
	return u.String()
}

func denied(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "42501"
}

// wantDenied runs each statement, and wants the server to say no.
func wantDenied(t *testing.T, url string, statements ...string) {
	t.Helper()
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	for _, sql := range statements {
		if _, err := c.Exec(context.Background(), sql, pgx.QueryExecModeSimpleProtocol); !denied(err) {
			t.Errorf("%s: %v, want no right to", sql, err)
		}
	}
}

// TestIngestHasTheRightsOfASinkAndNoOther runs everything that a sink does as a user of
// footfall_ingest, down each path, and then what a sink has no business with.
func TestIngestHasTheRightsOfASinkAndNoOther(t *testing.T) {
	t.Parallel()
	_, owner := open(t)
	as := member(t, owner, "footfall_ingest")
	s := openAt(t, as)
	own(t, s, 0)
	old := today().Add(-100 * 24 * time.Hour)
	insertStray(t, owner, old)
	list := encoded(events(20, today())...)
	spool := event.NewUUID(time.Now())
	write(t, s, spooled(spool, 1, part(0, 0, list[:10]...)))           // direct
	write(t, s, part(0, 10, list[5:15]...))                            // staged
	write(t, s, part(0, 20, []byte("no record")))                      // a dead letter
	write(t, s, part(0, 21, encoded(at(today().Add(-90*24*time.Hour)), // a new day
		at(old))...)) // a stray one
	pgtest.Exec(t, owner, `alter table footfall.events add constraint tidy check (title is distinct from 'bad')`)
	var bad []*event.Event
	for range 6 {
		e := at(today())
		e.Title = "bad"
		bad = append(bad, e)
	}
	write(t, s, part(0, 23, encoded(bad...)...)) // halved
	wantCounts(t, owner, counts{rows: 18, in: 29, inserted: 17, duplicate: 5, dead: 7, letters: 7})
	s.tidy(t.Context(), time.Now())
	if w := s.Warning(); w != nil {
		t.Errorf("after tidying: %v", w)
	}
	if err := s.SetSpoolPosition(t.Context(), spool, 5); err != nil {
		t.Error(err)
	}
	s.retention = func() (Retention, error) { return Retention{All: 24 * time.Hour}, nil }
	if err := s.expire(t.Context(), time.Now()); !denied(err) || !strings.Contains(err.Error(), "footfall_eraser") {
		t.Errorf("retention as a sink: %v", err)
	}
	wantDenied(t, as, "select url from footfall.events", "select event_id from footfall.events_default", "delete from footfall.events",
		"update footfall.events set site = 'x'", "truncate footfall.events", "drop table footfall.events",
		"delete from footfall.ledger", "update footfall.ledger set n_in = 0", "select * from footfall.ledger",
		"delete from footfall.sink_offsets", "select value from footfall.dead_letters",
		"delete from footfall.dead_letters", "delete from footfall.tallies", "delete from footfall.arrivals",
		"create table footfall.mine ()", "create table public.mine ()", "alter table footfall.events add column x text",
		"update footfall.schema_version set version = 0", "select footfall.drop_day('2026-01-01')",
		"select footfall.erase_day('shop', '2026-01-01')", "select footfall.recount()", "select footfall.grant_roles()")
}

func TestIngestMakesNoDaysButThoseOfUse(t *testing.T) {
	t.Parallel()
	_, owner := open(t)
	as := member(t, owner, "footfall_ingest")
	for _, c := range []struct {
		days int
		want string
	}{{-daysPast, "made"}, {-daysPast - 2, "made"}, {-daysPast - 3, "stray"}, {-100_000, "stray"},
		{daysAhead, "attached"}, {daysAhead + 2, "made"}, {daysAhead + 3, "stray"}, {100_000, "stray"}} {
		day := dayStart(dayOf(time.Now()) + int64(c.days))
		if got := pgtest.Get[string](t, as, "select footfall.make_day($1)", day); got != c.want {
			t.Errorf("the day in %d days is %s, want %s", c.days, got, c.want)
		}
	}
	far := today().Add(-900 * 24 * time.Hour)
	insertStray(t, owner, far)
	if n := pgtest.Get[int](t, as, "select footfall.drain_day($1)", far); n != 0 {
		t.Errorf("%d rows moved into a partition of 900 days ago", n)
	}
}

func TestReaderReadsAndAudits(t *testing.T) {
	t.Parallel()
	_, owner, _ := busy(t)
	as := member(t, owner, "footfall_reader")
	s, err := Connect(t.Context(), Options{DatabaseURL: as})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 36 {
		t.Errorf("%d rows, problems %q", a.Rows, a.Problems)
	}
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if rows, _, err := s.Recent(t.Context(), "", 10); err != nil || len(rows) != 10 {
		t.Errorf("%d recent rows, %v", len(rows), err)
	}
	wantDenied(t, as, "insert into footfall.tallies (site, hour) values ('', now())", "delete from footfall.events",
		"select value from footfall.dead_letters", "select footfall.make_day('2026-01-01')", "select footfall.fold()")
}

func TestEraserErases(t *testing.T) {
	t.Parallel()
	_, owner, _ := busy(t)
	as := member(t, owner, "footfall_eraser")
	yesterday := today().Add(-24 * time.Hour).Format(time.DateOnly)
	if n := pgtest.Get[int](t, as, "select footfall.erase_day('shop', $1)", yesterday); n != 36 {
		t.Errorf("%d rows erased, want 36", n)
	}
	if !pgtest.Get[bool](t, as, "select footfall.drop_day($1)", yesterday) {
		t.Error("no day was dropped")
	}
	wantDenied(t, as, "delete from footfall.ledger", "delete from footfall.tallies", "insert into footfall.ledger default values",
		"update footfall.sink_offsets set next_offset = 0", "drop table footfall.events", "select footfall.recount()")
}

func TestAUserWithoutARoleMayNothing(t *testing.T) {
	t.Parallel()
	_, owner := open(t)
	as := member(t, owner, "")
	if _, err := Open(t.Context(), Options{DatabaseURL: as}); !denied(err) {
		t.Errorf("opened: %v", err)
	}
	wantDenied(t, as, "select count(*) from footfall.events", "select footfall.fold()")
}

// TestAnOwnerWhoMayNotMakeRolesMigrates is a managed database: the schema is there, the
// roles are an administrator's to make.
func TestAnOwnerWhoMayNotMakeRolesMigrates(t *testing.T) {
	t.Parallel()
	admin := pgtest.New(t)
	owner := member(t, admin, "")
	u, err := url.Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pgtest.Exec(t, admin, "drop owned by "+u.User.Username()) })
	pgtest.Exec(t, admin, "create schema footfall authorization "+u.User.Username())
	s := openAt(t, owner)
	own(t, s, 0)
	write(t, s, part(0, 0, encoded(at(today()))...))
	wantCounts(t, owner, counts{rows: 1, in: 1, inserted: 1})
}

func TestASinkThatMayNotMigrateSaysWhoHasTo(t *testing.T) {
	t.Parallel()
	_, owner := open(t)
	pgtest.Exec(t, owner, "update footfall.schema_version set version = 1")
	as := member(t, owner, "footfall_ingest")
	_, err := Open(t.Context(), Options{DatabaseURL: as})
	if err == nil || !strings.Contains(err.Error(), "run footfall migrate as its owner") {
		t.Errorf("opened: %v", err)
	}
}
