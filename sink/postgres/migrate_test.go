package postgres

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// TestAnOlderProgramGoesOnWithANewerSchemaAndWire is a rollout: the migration of a field
// is through, the collectors send it, and a sink that knows neither goes on.
func TestAnOlderProgramGoesOnWithANewerSchemaAndWire(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	pgtest.Exec(t, url, `alter table footfall.events add column mood text;
		alter table footfall.tallies add column n_moods bigint not null default 0;
		update footfall.schema_version set version = version + 1`)
	s := openAt(t, url) // starts again meanwhile
	own(t, s, 0)
	newer := bytes.Replace(at(today()).AppendJSON(nil), []byte(`"schema":1`), []byte(`"schema":2,"mood":"good"`), 1)
	if !bytes.Contains(newer, []byte("mood")) {
		t.Fatalf("record is %s", newer)
	}
	older := encoded(at(today()))[0]
	write(t, s, part(0, 0, newer, older, newer)) // direct, then staged
	wantCounts(t, url, counts{rows: 2, in: 3, inserted: 2, duplicate: 1})
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("problems %q", a.Problems)
	}
	r, err := s.Check(t.Context())
	if err != nil || len(r.Problems()) > 0 {
		t.Errorf("problems %q, %v", r.Problems(), err)
	}
}

// TestANewerProgramTakesAnOlderWire reads a record that has only what the first version
// required.
func TestANewerProgramTakesAnOlderWire(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	id := at(today()).EventID
	then := strconv.FormatInt(id.Time().UnixMilli(), 10)
	record := `{"event_id":"` + id.String() + `","schema":1,"site":"shop","type":"pageview","occurred_at":` + then +
		`,"received_at":` + then + `,"clock":"client","transport":"beacon"}`
	write(t, s, part(0, 0, []byte(record)))
	wantCounts(t, url, counts{rows: 1, in: 1, inserted: 1})
}

// TestMigrationTakesWhatIsThere migrates a database that sinks have written to since its
// first version.
func TestMigrationTakesWhatIsThere(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	c := pgtest.Connect(t, url)
	defer c.Close(t.Context())
	for _, sql := range []string{firstSchema, allMigrations[0].SQL, `update footfall.schema_version set version = 1;
		insert into footfall.events (event_id, schema, site, type, occurred_at, received_at, clock, bot, transport, gpc)
			select gen_random_uuid(), 1, 'shop', 'click', now() - n * interval '1 hour', now(), 'client', false, 'api', false
			from generate_series(1, 5) n;
		insert into footfall.sink_offsets values ('c1', '01020300-0000-0000-0000-000000000000', 'footfall.events', 0, 19);
		insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset, n_in, n_inserted, n_duplicate, n_dead)
			values ('c1', '01020300-0000-0000-0000-000000000000', 0, 10, 15, 5, 4, 1, 0),
			('c1', '01020300-0000-0000-0000-000000000000', 0, 15, 19, 3, 1, 1, 1);
		insert into footfall.dead_letters (reason, cluster_id, topic_id, topic, partition, record_offset)
			values ('undecodable', 'c1', '01020300-0000-0000-0000-000000000000', 'footfall.events', 0, 16)`} {
		if _, err := c.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
	}
	s := openAt(t, url)
	if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Rows != 5 || a.Counted != 5 {
		t.Errorf("%d rows, problems %q", a.Rows, a.Problems)
	}
	// A collector of before: its first numbers were stored when nobody noted any.
	old, young := event.NewUUID(time.Now().Add(-time.Hour)), event.NewUUID(time.Now().Add(time.Second))
	write(t, s, spooled(old, 1000, part(0, 19, encoded(at(today()))...)))
	a := audited(t, s, AuditOptions{})
	if len(a.Problems) > 0 || a.Rows != 6 || a.Spools[0].First != 1000 {
		t.Errorf("%d rows, spools %+v, problems %q", a.Rows, a.Spools, a.Problems)
	}
	write(t, s, spooled(young, 3, part(0, 20, encoded(at(today()))...)))
	if a = audited(t, s, AuditOptions{}); len(a.Problems) != 1 || a.Spools[1].Missing != 2 {
		t.Errorf("spools %+v, problems %q", a.Spools, a.Problems)
	}
	// An audit of this version, before anybody has migrated.
	pgtest.Exec(t, url, `alter table footfall.schema_version drop column spools_whole_since;
		update footfall.schema_version set version = 3`)
	if a = audited(t, s, AuditOptions{}); len(a.Problems) > 0 {
		t.Errorf("without the migration, problems %q", a.Problems)
	}
}

func TestPendingIsWhatMigrateRuns(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s, err := Connect(t.Context(), Options{DatabaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	before, pending, err := s.Pending(t.Context())
	if err != nil || before == "" || len(pending) != migrationsWanted() {
		t.Fatalf("pending are %d, %q, %v", len(pending), before, err)
	}
	if n := pgtest.Get[int](t, url, "select count(*) from pg_namespace where nspname = 'footfall'"); n != 0 {
		t.Error("asking made the schema")
	}
	applied, err := s.Migrate(t.Context())
	if err != nil || len(applied) != len(pending) || !strings.HasPrefix(applied[0].Name, "001_") {
		t.Errorf("applied %d, %v", len(applied), err)
	}
	if before, pending, err = s.Pending(t.Context()); err != nil || before != "" || len(pending) > 0 {
		t.Errorf("still pending are %d, %q, %v", len(pending), before, err)
	}
}
