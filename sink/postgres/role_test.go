package postgres

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
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

// readme returns what follows a text in README.md.
func readme(t *testing.T, text string) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), text)
	if !found {
		t.Fatalf("README.md has no %q", text)
	}
	return rest
}

var inTicks = regexp.MustCompile("`([^`]+)`")

// documentedNeeds is README.md's table of which command needs which roles; none: the owner.
func documentedNeeds(t *testing.T) map[string][]string {
	t.Helper()
	needs := map[string][]string{}
	table, _, _ := strings.Cut(readme(t, "| command | needs |\n|---|---|\n"), "\n\n")
	for line := range strings.SplitSeq(table, "\n") {
		cells := strings.Split(line, "|")
		var roles []string
		for _, role := range inTicks.FindAllStringSubmatch(cells[2], -1) {
			roles = append(roles, role[1])
		}
		if roles == nil && strings.TrimSpace(cells[2]) != "the owner" {
			t.Fatalf("README.md says nothing in %q", line)
		}
		for _, command := range inTicks.FindAllStringSubmatch(cells[1], -1) {
			needs[command[1]] = roles
		}
	}
	return needs
}

// caller is a user who tries commands on the database of admin.
type caller struct {
	*testing.T
	admin, url string
	roles      []string // none: the owner
}

// give makes the user of a URL the owner of a database: no superuser.
func give(t *testing.T, database, to string) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	name := u.User.Username()
	pgtest.Exec(t, database, fmt.Sprintf("do $$ begin execute format('alter database %%I owner to %s', current_database()); end $$", name))
	t.Cleanup(func() {
		pgtest.Exec(t, database, fmt.Sprintf("reassign owned by %s to current_user; drop owned by %[1]s", name))
	})
}

func (c caller) sink(retention *Retention) error {
	s, err := Open(c.Context(), Options{DatabaseURL: c.url})
	if err != nil {
		return err
	}
	defer s.Close()
	next, err := s.Positions(c.Context(), "c1", topic, topicID, map[int32]int64{0: 0})
	if err != nil {
		return err
	}
	err = s.Write(c.Context(), batch(part(0, next[0], append(encoded(at(today())), []byte("no record"))...)))
	if err == nil && retention != nil {
		s.retention = func() (Retention, error) { return *retention, nil }
		err = s.expire(c.Context(), time.Now())
	}
	return err
}

// letter makes a dead letter that could be a row.
func (c caller) letter() int64 {
	return pgtest.Get[int64](c.T, c.admin, `insert into footfall.dead_letters (reason, cluster_id, topic_id, topic,
		partition, record_offset, value) values ('undecodable', 'c1', $1, $2, 0, 0, $3) returning id`,
		topicID, topic, encoded(at(today()))[0])
}

func (c caller) resume(s *Store) error {
	// Read by another: the command begins with what positions ls does.
	all, err := reader(c.T, c.admin).AllPositions(c.Context())
	if err != nil {
		return err
	}
	p := all[slices.IndexFunc(all, func(p Position) bool { return p.Cluster == "c1" && p.Partition == 1 })]
	if err := s.Skip(c.Context(), p, p.Next+1); err != nil {
		return err
	}
	p.Next++
	return s.Restart(c.Context(), p, 0)
}

func (c caller) replay(s *Store) error {
	const name = "events_again"
	r, err := s.CreateReplay(c.Context(), name, selected(2))
	if err != nil {
		return err
	}
	defer pgtest.Exec(c.T, c.admin, "drop table "+name+", "+name+DeadSuffix)
	return r.Prepare(batch(part(0, 0, append(encoded(at(today())), []byte("no record"))...)))(c.Context())
}

// migrate takes an empty database, which the owner owns too.
func (c caller) migrate() error {
	fresh := pgtest.New(c.T)
	if c.roles == nil {
		give(c.T, fresh, c.url)
	}
	u, err := url.Parse(fresh)
	if err != nil {
		return err
	}
	as, err := url.Parse(c.url)
	if err != nil {
		return err
	}
	u.User = as.User
	_, err = reader(c.T, u.String()).Migrate(c.Context())
	return err
}

// commands are what each command does in the database.
var commands = map[string]func(c caller, s *Store) error{
	"sink":             func(c caller, _ *Store) error { return c.sink(nil) },
	"sink --retention": func(c caller, _ *Store) error { return c.sink(&Retention{All: 24 * time.Hour}) },
	"up --database-url": func(c caller, s *Store) error {
		spool := event.NewUUID(time.Now())
		_, _, reads := s.SpoolPosition(c.Context(), spool)
		_, _, recent := s.Recent(c.Context(), "", 10)
		return errors.Join(c.sink(nil), reads, s.SetSpoolPosition(c.Context(), spool, 2), recent)
	},
	"site": func(c caller, s *Store) error {
		_, _, err := s.Recent(c.Context(), "", 10)
		return err
	},
	"doctor": func(c caller, s *Store) error {
		_, err := s.Check(c.Context())
		_, list := s.AllPositions(c.Context())
		_, stood := s.Stood(c.Context(), "c1", topicID)
		_, _, find := s.Find(c.Context(), topicID, time.Now())
		return errors.Join(err, list, stood, find)
	},
	"audit": func(c caller, s *Store) error {
		_, err := s.Audit(c.Context(), AuditOptions{})
		_, next := s.Next(c.Context())
		return errors.Join(err, next, s.Each(c.Context(), time.Time{}, time.Now(), func(*event.Event) error { return nil }))
	},
	"positions ls": func(c caller, s *Store) error {
		_, err := s.AllPositions(c.Context())
		_, stood := s.Stood(c.Context(), "c1", topicID)
		return errors.Join(err, stood)
	},
	"positions resume": caller.resume,
	"dead ls": func(c caller, s *Store) error {
		return s.EachDeadLetter(c.Context(), DeadFilter{Settled: true}, func(DeadLetter) error { return nil })
	},
	"dead show": func(c caller, s *Store) error {
		_, err := s.DeadLetter(c.Context(), c.letter())
		return err
	},
	"dead drop": func(c caller, s *Store) error { return s.DropDead(c.Context(), c.letter()) },
	"dead replay": func(c caller, s *Store) error {
		_, err := s.ReplayDead(c.Context(), c.letter())
		return err
	},
	"sink --into": caller.replay,
	"migrate":     func(c caller, _ *Store) error { return c.migrate() },
}

// TestEachCommandNeedsTheRolesThatTheReadmeSays tries all of them as all users. Who may not
// hears of a role that is missing.
func TestEachCommandNeedsTheRolesThatTheReadmeSays(t *testing.T) {
	t.Parallel()
	documented := documentedNeeds(t)
	admin := pgtest.New(t)
	owner := member(t, admin, "")
	give(t, admin, owner)
	own(t, openAt(t, owner), 0, 1)
	callers := []caller{{t, admin, owner, nil}}
	for _, roles := range [][]string{{roleIngest}, {roleReader}, {roleEraser}, {roleIngest, roleReader},
		{roleIngest, roleEraser}, {roleReader, roleEraser}} {
		callers = append(callers, caller{t, admin, member(t, admin, strings.Join(roles, ", ")), roles})
	}
	for command, try := range commands {
		needs, found := documented[command]
		if !found {
			t.Errorf("README.md does not say what footfall %s needs", command)
		}
		for _, c := range callers {
			missing := slices.DeleteFunc(slices.Clone(needs), func(role string) bool { return slices.Contains(c.roles, role) })
			if needs == nil {
				missing = []string{"owner"}
			}
			err := try(c, reader(t, c.url))
			if c.roles == nil || len(missing) == 0 {
				if err != nil {
					t.Errorf("footfall %s as %q: %v", command, c.roles, err)
				}
				continue
			}
			if !denied(err) {
				t.Errorf("footfall %s as %q: %v, want no right to", command, c.roles, err)
				continue
			}
			if !slices.ContainsFunc(missing, func(role string) bool { return strings.Contains(err.Error(), role) }) {
				t.Errorf("footfall %s as %q: %v; nothing is said of %q", command, c.roles, err, missing)
			}
		}
	}
	if len(documented) != len(commands) {
		t.Errorf("README.md has %d commands, tried are %d", len(documented), len(commands))
	}
}

func TestAnEraserForgetsAPersonAsTheReadmeSays(t *testing.T) {
	t.Parallel()
	s, owner := open(t)
	own(t, s, 0)
	list := events(6, today())
	for i, user := range []string{"u7", "u8", "u7", "", "u7"} {
		list[i].UserID = user
	}
	list[2].Site = "blog"
	write(t, s, part(0, 0, encoded(list...)...))
	sql, _, _ := strings.Cut(readme(t, "what there is of a person with:\n\n```sql\n"), "```")
	pgtest.Exec(t, member(t, owner, roleEraser), sql)
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 3 || a.Erased != 3 {
		t.Errorf("%d rows, %d erased, problems %q", a.Rows, a.Erased, a.Problems)
	}
}
