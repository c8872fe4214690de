package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/postgres"
	"footfall/sink/postgres/pgtest"
)

// stored makes a database that has taken in one good and one bad record.
func stored(t *testing.T) (url string) {
	t.Helper()
	url = pgtest.New(t)
	s, err := postgres.Open(t.Context(), postgres.Options{DatabaseURL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	topic := [16]byte{7}
	if _, err := s.Positions(t.Context(), "c", "footfall.events", topic, map[int32]int64{0: 0}); err != nil {
		t.Fatal(err)
	}
	id := event.NewUUID(time.Now())
	e := &event.Event{EventID: id, Schema: event.Some(event.Schema), Site: "shop", Type: event.Pageview,
		OccurredAt: id.Time(), ReceivedAt: id.Time(), Clock: event.ClockClient, Transport: event.TransportBeacon}
	err = s.Write(t.Context(), consume.Batch{ClusterID: "c", Topic: "footfall.events", TopicID: topic,
		Parts: []consume.Part{{Partition: 0, From: 0, To: 2, Records: []consume.Record{
			{Offset: 0, Value: e.AppendJSON(nil), Origin: event.Origin{Spool: id, Seq: 1, First: 1}},
			{Offset: 1, Key: []byte("shop/v"), Value: []byte("no record"), Origin: event.Origin{Spool: id, Seq: 2, First: 2}},
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// command runs a command and returns its exit status and what it printed.
func command(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	clean(t)
	var both bytes.Buffer
	status = run(context.Background(), args, &both, &both)
	return status, both.String()
}

func TestAuditTellsPeopleAndCron(t *testing.T) {
	url := stored(t)
	args := []string{"audit", "--data", t.TempDir(), "--database-url", url}
	status, out := command(t, args...)
	if status != exitOK || strings.Contains(out, "BAD") ||
		!strings.Contains(out, "2 records = 1 rows + 0 duplicates + 1 dead letters") ||
		!strings.Contains(out, "2 accepted (numbers from 1) = 2 arrived + 0 on the way + 0 missing") {
		t.Errorf("status %d, said\n%s", status, out)
	}
	pgtest.Exec(t, url, "delete from footfall.events")
	status, out = command(t, append(args, "--since", "1h")...)
	if status != exitProblem || !strings.Contains(out, "BAD  rows: site \"shop\"") ||
		!strings.Contains(out, "1 problem: the accounts do not add up.") {
		t.Errorf("status %d, said\n%s", status, out)
	}
	status, out = command(t, append(args, "--json")...)
	var got struct {
		Rows     int64
		Problems []struct{ Check string }
		Spools   []struct{ Spool string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || status != exitProblem ||
		len(got.Problems) != 1 || got.Problems[0].Check != "rows" || len(got.Spools) != 1 || len(got.Spools[0].Spool) != 36 {
		t.Errorf("status %d, %v, said\n%s", status, err, out)
	}
	for _, wrong := range [][]string{{"--within", "11m"}, {"--since", "soon"}, {"--database-url", "x"}} {
		if status, out = command(t, append(args, wrong...)...); status != exitUsage {
			t.Errorf("%v: status %d, said\n%s", wrong, status, out)
		}
	}
	if status, out = command(t, "audit", "--data", t.TempDir()); status != exitProblem || !strings.Contains(out, "no database") {
		t.Errorf("without a database: status %d, said\n%s", status, out)
	}
}

// TestAuditDoesNotKnowWhatAPartitionBehindHas is a sink that hangs with one of its
// partitions, while the numbers of the others go on: a number that is not here may wait
// there, and may as well be lost. Neither "missing" nor "all is well" would be true.
func TestAuditDoesNotKnowWhatAPartitionBehindHas(t *testing.T) {
	s := newRead(t, map[int32]int64{0: 10, 1: 10, 2: 4, 3: 10})
	pgtest.Exec(t, s.url, `insert into footfall.arrivals (spool_id, seqs, at)
		values (gen_random_uuid(), '{[1,5),[7,9)}', now() - interval '20 minutes')`)
	const missing, notKnown = "BAD spool: ", "?? spool: "
	out := s.run(exitProblem, "audit --within 0s")
	wantText(t, out, "6 records wait for the sink", "?? behind partitions 2:", notKnown, "numbers 5 to 6 were accepted",
		"8 accepted (numbers from 1) = 6 arrived + 0 on the way + 0 missing + 2 not known yet",
		"No problem is found, and one may be hidden. Not known yet: whether 2 numbers are missing or wait in partitions 2;")
	if strings.Contains(out, "BAD") || strings.Contains(out, "Every record") {
		t.Errorf("what is not known is judged:\n%s", out)
	}
	wantJSON(t, s.run(exitProblem, "audit --within 0s --json"), 0, 1)
	// A problem elsewhere is told beside it.
	pgtest.Exec(t, s.url, "insert into footfall.tallies (site, hour, n_inserted) values ('shop', now(), 1)")
	wantText(t, s.run(exitProblem, "audit --within 0s"), "BAD rows", notKnown, "the accounts do not add up. Not known yet:")
	pgtest.Exec(t, s.url, "delete from footfall.tallies")
	// What waits there is younger than ten minutes, and the numbers were passed before.
	wantText(t, s.run(exitProblem, "audit"), missing, "numbers 5 to 6 were accepted and are not here")
	wantJSON(t, s.run(exitProblem, "audit --json"), 1, 0)
	pgtest.Exec(t, s.url, "update footfall.sink_offsets set first_offset = 10, next_offset = 10")
	wantText(t, s.run(exitProblem, "audit --within 0s"), missing, "0 on the way + 2 missing")
	if status, out := command(t, "audit", "--data", t.TempDir(), "--database-url", s.url); status != exitProblem ||
		!strings.Contains(out, "more than 10m0s behind: --brokers tells") {
		t.Errorf("without brokers: status %d, said\n%s", status, out)
	}
}

// A partition that is behind is no problem by itself: nothing is overdue.
func TestAuditIsGreenBesideAPartitionBehindWhenNoNumberIsOverdue(t *testing.T) {
	s := newRead(t, map[int32]int64{0: 10, 1: 10, 2: 4, 3: 10})
	wantText(t, s.run(exitOK, "audit --within 0s"), "ok behind partitions 2:", "Every record that Kafka still had is a row")
}

func wantJSON(t *testing.T, out string, problems, notKnown int) {
	t.Helper()
	var got struct {
		Problems []any
		NotKnown []struct{ Check string } `json:"not_known"`
		Spools   []struct {
			Missing  int64
			NotKnown int64 `json:"not_known"`
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Problems == nil || len(got.Problems) != problems ||
		got.NotKnown == nil || len(got.NotKnown) != notKnown || len(got.Spools) != 1 ||
		got.Spools[0].Missing != int64(2*problems) || got.Spools[0].NotKnown != int64(2*notKnown) {
		t.Errorf("%v, said\n%s", err, out)
	}
}
