package postgres

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

const topic = "footfall.events"

var topicID = [16]byte{1, 2, 3}

// open returns a store on a fresh database, and the database's URL.
func open(t testing.TB) (*Store, string) {
	t.Helper()
	url := pgtest.New(t)
	return openAt(t, url), url
}

func openAt(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{DatabaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// at returns an event that occurred then.
func at(then time.Time) *event.Event {
	id := event.NewUUID(then)
	return &event.Event{
		EventID: id, Schema: event.Some(event.Schema), Site: "shop", Type: event.Pageview,
		OccurredAt: id.Time(), ReceivedAt: id.Time().Add(time.Second), Clock: event.ClockClient,
		Transport: event.TransportBeacon, URL: "https://shop.example/a", Path: "/a",
	}
}

func today() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

func events(n int, then time.Time) []*event.Event {
	list := make([]*event.Event, n)
	for i := range list {
		list[i] = at(then.Add(time.Duration(i) * time.Millisecond))
	}
	return list
}

// part makes a run of records that begins at the offset from.
func part(partition int32, from int64, values ...[]byte) consume.Part {
	p := consume.Part{Partition: partition, From: from, To: from + int64(len(values))}
	for i, v := range values {
		p.Records = append(p.Records,
			consume.Record{Offset: from + int64(i), Key: []byte("shop/v"), Value: v})
	}
	return p
}

func encoded(list ...*event.Event) [][]byte {
	var values [][]byte
	for _, e := range list {
		values = append(values, e.AppendJSON(nil))
	}
	return values
}

func batch(parts ...consume.Part) consume.Batch {
	return consume.Batch{ClusterID: "c1", Topic: topic, TopicID: topicID, Parts: parts}
}

// own makes the positions of partitions, as a consumer does when it gets them.
func own(t testing.TB, s *Store, partitions ...int32) map[int32]int64 {
	t.Helper()
	starts := map[int32]int64{}
	for _, p := range partitions {
		starts[p] = 0
	}
	next, err := s.Positions(t.Context(), "c1", topic, topicID, starts)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func write(t testing.TB, s *Store, parts ...consume.Part) {
	t.Helper()
	if err := s.Write(t.Context(), batch(parts...)); err != nil {
		t.Fatal(err)
	}
}

type counts struct{ rows, in, inserted, duplicate, dead, letters int64 }

// counted reads what the database says about everything that was written.
func counted(t testing.TB, url string) (c counts) {
	t.Helper()
	conn := pgtest.Connect(t, url)
	defer conn.Close(context.Background())
	err := conn.QueryRow(context.Background(), `select (select count(*) from footfall.events),
		coalesce(sum(n_in), 0)::bigint, coalesce(sum(n_inserted), 0)::bigint,
		coalesce(sum(n_duplicate), 0)::bigint, coalesce(sum(n_dead), 0)::bigint,
		(select count(*) from footfall.dead_letters) from footfall.ledger`).Scan(
		&c.rows, &c.in, &c.inserted, &c.duplicate, &c.dead, &c.letters)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantCounts(t testing.TB, url string, want counts) {
	t.Helper()
	if got := counted(t, url); got != want {
		t.Fatalf("database holds %+v, want %+v", got, want)
	}
}

func TestSinksThatStartTogetherMigrateOnce(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	failed := make(chan error, 4)
	for range cap(failed) {
		go func() {
			s, err := Open(context.Background(), Options{DatabaseURL: url})
			if err == nil {
				s.Close()
			}
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	s := openAt(t, url)
	r, err := s.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Fsync = true // the server of the tests may do without
	if r.Migrations != r.MigrationsWanted || r.MigrationsWanted == 0 || len(r.Problems()) > 0 {
		t.Errorf("report is %+v, problems %q", r, r.Problems())
	}
	if d := time.Since(r.OldestPartition); d < 48*time.Hour || d > 72*time.Hour {
		t.Errorf("oldest partition is %v", r.OldestPartition)
	}
}

func TestOpenReturnsAnErrorWhenTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := Open(ctx, Options{DatabaseURL: "postgres://nobody@127.0.0.1:1/none"}); err == nil {
		t.Error("opened a database that is not there")
	}
}

func TestPartitionsFollowTheDaysOfTheEvents(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	now := today()
	ages := []time.Duration{0, 30 * 24 * time.Hour, 399 * 24 * time.Hour, 500 * 24 * time.Hour,
		-10 * 24 * time.Hour}
	var list []*event.Event
	for _, age := range ages {
		list = append(list, at(now.Add(-age)))
	}
	write(t, s, part(0, 0, encoded(list...)...))
	for i, e := range list {
		home := pgtest.Get[string](t, url, `select tableoid::regclass::text from footfall.events
			where event_id = $1`, [16]byte(e.EventID))
		want := "footfall.events_" + e.OccurredAt.Format("20060102")
		if ages[i] > 400*24*time.Hour || ages[i] < -9*24*time.Hour {
			want = "footfall.events_default"
		}
		if home != want {
			t.Errorf("event of %v lies in %s, want %s", e.OccurredAt, home, want)
		}
	}
}

func TestAPositionIsMadeOnceAndWhereItsLogStarts(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	// Records that go before anything was stored leave the position where it was.
	for _, starts := range []map[int32]int64{{0: 12, 1: 0}, {0: 20, 1: 5}} {
		next, err := s.Positions(t.Context(), "c1", topic, topicID, starts)
		if err != nil || len(next) != 2 || next[0] != 12 || next[1] != 0 {
			t.Fatalf("positions are %v, %v, want 12 and 0", next, err)
		}
	}
	write(t, s, part(0, 12, encoded(at(today()))...))
	next, err := s.Positions(t.Context(), "c1", topic, topicID, map[int32]int64{0: 20, 2: 7})
	if err != nil || len(next) != 2 || next[0] != 13 || next[2] != 7 {
		t.Errorf("positions are %v, %v, want 13 and 7", next, err)
	}
	other, err := s.Positions(t.Context(), "c2", topic, topicID, map[int32]int64{0: 3})
	if err != nil || other[0] != 3 {
		t.Errorf("positions of another cluster are %v, %v, want 3", other, err)
	}
	wantCounts(t, url, counts{rows: 1, in: 1, inserted: 1})
}

func TestSpoolPositionOnlyMovesForward(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	id := event.NewUUID(time.Now())
	if _, ok, err := s.SpoolPosition(t.Context(), id); ok || err != nil {
		t.Fatalf("unknown spool: known %v, error %v", ok, err)
	}
	for _, step := range []struct{ set, want int64 }{{5, 5}, {9, 9}, {7, 9}} {
		if err := s.SetSpoolPosition(t.Context(), id, step.set); err != nil {
			t.Fatal(err)
		}
		if n, ok, err := s.SpoolPosition(t.Context(), id); n != step.want || !ok || err != nil {
			t.Errorf("position is %d, %v, %v after setting %d", n, ok, err, step.set)
		}
	}
}

func TestMetricsCountWhatBecameOfRecords(t *testing.T) {
	t.Parallel()
	set := metrics.NewSet()
	s, err := Open(t.Context(), Options{DatabaseURL: pgtest.New(t), Metrics: set})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	own(t, s, 0)
	e := at(today())
	write(t, s, part(0, 0, append(encoded(e, e), []byte("no json"))...))
	var page bytes.Buffer
	set.WritePrometheus(&page)
	for _, line := range []string{"footfall_rows_inserted_total 1", "footfall_rows_duplicate_total 1",
		`footfall_dead_letters_total{reason="undecodable"} 1`,
		`footfall_dead_letters_total{reason="refused_by_database"} 0`,
		"footfall_batch_rows_count 1", "footfall_write_seconds_count 1",
		"footfall_freshness_seconds_count 2", `footfall_sink_errors_total{action="reconnect"} 0`} {
		if !bytes.Contains(page.Bytes(), []byte(line+"\n")) {
			t.Errorf("no line %q in\n%s", line, page.String())
		}
	}
}

func TestTuplesReadTheSameThroughAnyBuffer(t *testing.T) {
	t.Parallel()
	s := &Store{}
	w := s.prepare(batch(part(0, 0, encoded(events(5, today())...)...)))
	whole, err := io.ReadAll(&tuples{rows: w.live(), numbered: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 2, 7, 100} {
		var got bytes.Buffer
		if _, err := io.CopyBuffer(struct{ io.Writer }{&got},
			&tuples{rows: w.live(), numbered: true}, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), whole) {
			t.Errorf("a buffer of %d bytes reads another stream", size)
		}
	}
}
