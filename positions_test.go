package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/sink/consume"
	"footfall/sink/postgres"
	"footfall/sink/postgres/pgtest"
)

// readTopic is a topic of four partitions with ten records each, and a database that has
// their positions.
type readTopic struct {
	t       *testing.T
	broker  *kfake.Cluster
	url     string
	cluster string
	topicID [16]byte
}

func newRead(t *testing.T, positions map[int32]int64) *readTopic {
	t.Helper()
	return newReadAt(t, time.Now(), positions)
}

// newReadAt has records of that time, as Kafka knows it.
func newReadAt(t *testing.T, at time.Time, positions map[int32]int64) *readTopic {
	t.Helper()
	clean(t)
	s := &readTopic{t: t, url: pgtest.New(t)}
	var err error
	s.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, consume.Topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.broker.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(s.broker.ListenAddrs()...), kgo.DefaultProduceTopic(consume.Topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 40 {
		r := &kgo.Record{Partition: int32(i % 4), Value: fmt.Append(nil, i), Timestamp: at}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	meta, err := kadm.NewClient(client).Metadata(t.Context(), consume.Topic)
	if err != nil {
		t.Fatal(err)
	}
	s.cluster, s.topicID = meta.Cluster, meta.Topics[consume.Topic].ID
	store, err := postgres.Open(t.Context(), postgres.Options{DatabaseURL: s.url})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Positions(t.Context(), s.cluster, consume.Topic, s.topicID, positions); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *readTopic) run(wantStatus int, args string) string {
	s.t.Helper()
	var out, errs bytes.Buffer
	all := append(strings.Fields(args), "--brokers", strings.Join(s.broker.ListenAddrs(), ","), "--database-url", s.url)
	if status := run(s.t.Context(), all, &out, &errs); status != wantStatus {
		s.t.Errorf("footfall %s: status %d, want %d", args, status, wantStatus)
	}
	return out.String() + errs.String()
}

func (s *readTopic) position(partition int32) int64 {
	s.t.Helper()
	return pgtest.Get[int64](s.t, s.url, `select next_offset from footfall.sink_offsets
		where partition = $1 and cluster_id = $2`, partition, s.cluster)
}

func wantText(t *testing.T, got string, want ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(got), " ")
	for _, w := range want {
		if !strings.Contains(flat, w) {
			t.Errorf("not said: %s\nin: %s", w, got)
		}
	}
}

func TestAPersonLetsStoppedPartitionsGoOn(t *testing.T) {
	s := newRead(t, map[int32]int64{0: 2, 1: 10, 2: 12})
	if err := s.broker.DeleteRecords(consume.Topic, 0, 6); err != nil {
		t.Fatal(err)
	}
	const lost = "partition 0: 4 offsets are lost, from 2 to 5: footfall positions resume --partition 0 goes on behind them"
	const foreign = "partition 2: the position is 12 and the log ends at 10"
	wantText(t, s.run(exitProblem, "positions ls"), "0 2 6 10 4 stopped", "1 10 0 10 0 ok", "2 12 0 10 0 stopped",
		"3 - 0 10 10 never read", lost, foreign)
	wantText(t, s.run(exitProblem, "doctor"), "BAD positions", lost, foreign)
	wantText(t, s.run(exitProblem, "audit"), "BAD topic", lost, foreign)

	wantText(t, s.run(exitOK, "positions resume --partition 0"), "partition 0: goes on at 6; the offsets from 2 to 5 are lost")
	wantText(t, s.run(exitOK, "positions resume --partition 2"), "partition 2: is read from 0")
	wantText(t, s.run(exitOK, "positions ls"), "0 6 6 10 4 ok", "2 0 0 10 10 ok")
	wantText(t, s.run(exitOK, "doctor"), "ok positions", "3 of 4 partitions are read, 14 records wait")
	wantText(t, s.run(exitOK, "audit"), "lost 4 offsets were gone from Kafka",
		"begun records were gone from Kafka before a sink first came: footfall.events/0 of cluster "+s.cluster+" before 2,",
		"Every record that Kafka still had is a row")
}

// A sink that cannot unpack a batch knows so alone, and one that is not there says nothing:
// what anybody sees is that a position does not move.
func TestAPartitionThatStandsStillIsNotOK(t *testing.T) {
	s := newReadAt(t, time.Now().Add(-time.Hour), map[int32]int64{0: 2, 1: 2, 2: 10, 3: 2})
	moved := func(partition int, ago string) {
		pgtest.Exec(t, s.url, `insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset,
			n_in, n_inserted, n_duplicate, n_dead, committed_at)
			values ($1, $2, $3, 0, 2, 2, 2, 0, 0, now() - $4::text::interval)`, s.cluster, s.topicID, partition, ago)
	}
	moved(1, "10 minutes")
	moved(2, "10 minutes")
	moved(3, "10 seconds")
	const never = "partition 0: the position 2 has never moved, and older records wait there"
	const stood = "partition 1: the position 2 has not moved for 10m"
	out := s.run(exitProblem, "positions ls")
	wantText(t, out, "0 2 0 10 8 stands still", "1 2 0 10 8 stands still", "2 10 0 10 0 ok", "3 2 0 10 8 ok",
		never, stood, "footfall positions resume --partition 1 --at the offset behind it")
	if strings.Contains(out, "partition 2:") || strings.Contains(out, "partition 3:") {
		t.Errorf("all is well with 2 and 3: %s", out)
	}
	wantText(t, s.run(exitProblem, "doctor"), "BAD positions", never, stood)
}

// Since when a position stands may not be found.
// Neither listing nor moving positions depends on it.
func TestPositionsAreListedWithoutKnowingSinceWhenTheyStand(t *testing.T) {
	s := newReadAt(t, time.Now().Add(-time.Hour), map[int32]int64{0: 2, 1: 10})
	pgtest.Exec(t, s.url, "alter table footfall.ledger rename column committed_at to at_some_time")
	wantText(t, s.run(exitProblem, "positions ls"), "0 2 0 10 8 not known", "1 10 0 10 0 ok",
		"partition 0: older records wait at the position 2, and since when it has not moved is not known: read when")
	wantText(t, s.run(exitProblem, "doctor"), "BAD positions", "is not known")
	wantText(t, s.run(exitOK, "positions resume --partition 0 --at 5"), "goes on at 5")
}

func TestResumeMovesNothingThatIsNotStopped(t *testing.T) {
	s := newRead(t, map[int32]int64{0: 2})
	wantText(t, s.run(exitProblem, "positions resume --partition 0"), "it is not stopped by a loss: its position 2 is in the log")
	wantText(t, s.run(exitProblem, "positions resume --partition 0 --at 11"), "offset 11 is not in the log, which goes from 0 to 10")
	wantText(t, s.run(exitProblem, "positions resume --partition 0 --at 1"), "goes only forward")
	wantText(t, s.run(exitProblem, "positions resume --partition 7"), "the database has no position of it")
	wantText(t, s.run(exitUsage, "positions resume"), "--partition")
	wantText(t, s.run(exitUsage, "positions resume --partition x"), "is not the number of a partition")
	if n := s.position(0); n != 2 {
		t.Errorf("the position is %d", n)
	}
	// A batch that cannot be read.
	wantText(t, s.run(exitOK, "positions resume --partition 0 --at 5"), "goes on at 5; the offsets from 2 to 4 are lost")
	if n := s.position(0); n != 5 {
		t.Errorf("the position is %d, want 5", n)
	}
}
