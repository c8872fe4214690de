package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"footfall/event/eventtest"
	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

// selected is all of so many records in each of two partitions.
func selected(n int64) *consume.Selection {
	return &consume.Selection{ClusterID: "c1", Topic: topic, TopicID: topicID,
		Ranges: []consume.Range{{Partition: 0, To: n}, {Partition: 1, To: n}}}
}

func reader(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Connect(t.Context(), Options{DatabaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func createReplay(t *testing.T, url, name string, n int64) *Replay {
	t.Helper()
	r, err := reader(t, url).CreateReplay(t.Context(), name, selected(n))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rowsOf and lettersOf are queries that say in one text what a table holds, without when
// it came there, nor what the database said: that names its own table.
func rowsOf(table string) string {
	return fmt.Sprintf("select count(*) || ' ' || md5(string_agg(md5(row(%s)::text), '' order by event_id)) from %s", columns, table)
}

func lettersOf(table string) string {
	return `select count(*) || ' ' || md5(string_agg(md5(row(reason, sqlstate,
		case when sqlstate is null then detail end, cluster_id, topic_id, topic,
		partition, record_offset, key, value)::text), '' order by partition, record_offset)) from ` + table
}

// rest says what a replay must leave alone.
const rest = `select format('%s %s %s %s', (select array_agg(o) from footfall.sink_offsets o),
	(select count(*) from footfall.ledger), (select count(*) from footfall.tallies),
	(select count(*) from footfall.arrivals))`

func TestTheSameRecordsEndAsTheSameRows(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0, 1)
	pgtest.Exec(t, url, "create index on footfall.events (url, referrer)")
	pgtest.Exec(t, url, "alter table footfall.events add check (title is distinct from 'refused')")
	var values [][]byte
	good := events(len(eventtest.BadValues()), today())
	for i, v := range eventtest.BadValues() {
		values = append(values, v.In(t, good[i]))
	}
	for _, whole := range eventtest.BadRecords() {
		values = append(values, []byte(whole))
	}
	big, refused, full := at(today()), at(today()), golden()
	big.URL, big.Referrer, refused.Title = noise(2048), noise(2048), "refused"
	again := *good[0]
	again.Title, again.URL = "sent twice", "https://shop.example/again"
	values = append(values, encoded(big, full, full, refused, good[0], &again, at(today().AddDate(0, 0, -500)))...)
	other := encoded(events(300, today())...)
	write(t, s, part(0, 0, values...), part(1, 0, other...))
	before := pgtest.Get[string](t, url, rest)

	r := createReplay(t, url, "events_again", int64(len(values)))
	for at := 0; at < len(values); at += 37 { // other batches than the sink's
		parts := []consume.Part{part(0, int64(at), values[at:min(at+37, len(values))]...)}
		if at < len(other) {
			parts = append(parts, part(1, int64(at), other[at:min(at+37, len(other))]...))
		}
		if err := r.Prepare(batch(parts...))(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	for live, again := range map[string]string{rowsOf("footfall.events"): rowsOf("events_again"),
		lettersOf("footfall.dead_letters"): lettersOf("events_again_dead_letters")} {
		if want, got := pgtest.Get[string](t, url, live), pgtest.Get[string](t, url, again); got != want {
			t.Errorf("the replay has %s, the sink %s", got, want)
		}
	}
	was := counted(t, url)
	want := ReplayCounts{uint64(was.inserted), uint64(was.duplicate), uint64(was.dead)}
	if c := r.Counts(); c != want || c.Duplicate != 2 || c.Dead < 100 {
		t.Errorf("counts are %+v, the sink's %+v", c, want)
	}
	if after := pgtest.Get[string](t, url, rest); after != before {
		t.Errorf("the replay left %s, before it was %s", after, before)
	}
	var m mark
	if err := json.Unmarshal([]byte(pgtest.Get[string](t, url,
		"select obj_description('events_again'::regclass, 'pg_class')")), &m); err != nil {
		t.Fatal(err)
	}
	if m.Of != topic || m.Partitions[0].Next != int64(len(values)) || m.Partitions[1].Next != int64(len(other)) {
		t.Errorf("the table's comment is %+v", m)
	}
}

func TestAReplayWantsAFreshTable(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	pgtest.Exec(t, url, "create schema scratch")
	createReplay(t, url, "scratch.again", 10)
	for name, want := range map[string]string{
		"scratch.again":    "drop table if exists scratch.again, scratch.again_dead_letters",
		"nowhere.again":    `schema "nowhere" does not exist`,
		"footfall.again":   "take another, like public.again",
		"Again":            "is not a name like",
		"again; drop":      "is not a name like",
		"a.b.c":            "is not a name like",
		"":                 "is not a name like",
		`a"b`:              "is not a name like",
		"a." + string("ä"): "is not a name like",
	} {
		if _, err := s.CreateReplay(t.Context(), name, selected(10)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
	if _, err := reader(t, pgtest.New(t)).CreateReplay(t.Context(), "again", selected(10)); err == nil ||
		!strings.Contains(err.Error(), "footfall migrate") {
		t.Errorf("a database without a schema: %v", err)
	}
}

func TestAReplaySurvivesItsConnection(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	r := createReplay(t, url, "again", 100)
	pgtest.Exec(t, url, strings.ReplaceAll(slow, "insert on footfall.events", "insert on again"),
		pgx.QueryExecModeSimpleProtocol)
	list := events(50, today())
	list[20].Title = "slow"
	write := r.Prepare(batch(part(0, 0, encoded(list...)...)))
	failed := make(chan error, 1)
	go func() { failed <- write(context.Background()) }()
	interrupt(t, url, "pg_terminate_backend")
	var fault *Fault
	if err := <-failed; !errors.As(err, &fault) {
		t.Fatalf("got %v from a batch whose connection was shot, want a fault that passes", err)
	}
	if err := write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := pgtest.Get[int](t, url, "select count(*) from again"); n != 50 || r.Counts().Inserted != 50 {
		t.Errorf("%d rows, counts %+v", n, r.Counts())
	}
}

func TestTheCommentTellsWhatBecameOfALostCommit(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	r := createReplay(t, url, "again", 100)
	if err := r.Prepare(batch(part(0, 0, encoded(events(3, today())...)...)))(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost := &lostCommit{errors.New("connection reset")}
	of := func(from, to int64) error {
		return s.outcome(t.Context(), &work{Batch: batch(consume.Part{From: from, To: to}), place: r}, lost)
	}
	if err := of(0, 3); err != nil {
		t.Errorf("committed: %v", err)
	}
	if err := of(3, 4); !errors.Is(err, errRolledBack) {
		t.Errorf("rolled back: %v", err)
	}
	if err := of(1, 2); !errors.Is(err, consume.ErrMoved) {
		t.Errorf("moved: %v", err)
	}
}

// A table that is gone, or is not as the replay left it, does not come back by waiting.
func TestAReplayEndsWhenItsTableIsNotItsOwn(t *testing.T) {
	t.Parallel()
	_, url := open(t)
	r := createReplay(t, url, "again", 100)
	for _, step := range [][2]string{
		{"comment on table again is 'mine'", "does not say what was stored"},
		{"drop table again", `"again" does not exist`},
	} {
		sql, want := step[0], step[1]
		pgtest.Exec(t, url, sql)
		err := r.Prepare(batch(part(0, 0, encoded(at(today()))...)))(t.Context())
		if _, passes := errors.AsType[*Fault](err); passes || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("after %s: %v, want %q", sql, err, want)
		}
		if strings.HasPrefix(sql, "comment") && pgtest.Get[int](t, url, "select count(*) from again") != 0 {
			t.Error("a row was stored")
		}
	}
}
