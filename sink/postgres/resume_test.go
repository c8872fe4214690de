package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

func positionOf(t *testing.T, s *Store, partition int32) Position {
	t.Helper()
	list, err := s.AllPositions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		if p.Partition == partition {
			return p
		}
	}
	t.Fatalf("no position of partition %d in %+v", partition, list)
	return Position{}
}

func TestWhatIsSkippedStandsInTheLedgerAsLost(t *testing.T) {
	t.Parallel()
	s, url, _ := busy(t)
	p := positionOf(t, s, 0)
	if p.Next != 20 || p.Topic != topic || p.Cluster == "" || p.TopicID == (event.UUID{}) {
		t.Fatalf("position is %+v", p)
	}
	if err := s.Skip(t.Context(), p, 27); err != nil {
		t.Fatal(err)
	}
	if err := s.Skip(t.Context(), p, 30); !errors.Is(err, consume.ErrMoved) {
		t.Errorf("a position that is not there is moved: %v", err)
	}
	if err := s.Skip(t.Context(), positionOf(t, s, 0), 12); err == nil {
		t.Error("a position is moved back")
	}
	write(t, s, part(0, 27, encoded(events(3, today())...)...))
	for range 2 {
		a := audited(t, s, AuditOptions{})
		if len(a.Problems) > 0 || a.Partitions[0].Lost != 7 || a.Partitions[0].Next != 30 || a.Partitions[1].Lost != 0 {
			t.Errorf("problems %q, partitions %+v", a.Problems, a.Partitions)
		}
		pgtest.Exec(t, url, `update footfall.ledger set committed_at = date_trunc('hour', committed_at) - interval '8 days';
			select footfall.fold()`)
	}
}

func TestARestartKeepsTheAccountsOfTheFormerLog(t *testing.T) {
	t.Parallel()
	s, url, _ := busy(t)
	if err := s.Restart(t.Context(), positionOf(t, s, 0), 4); err != nil {
		t.Fatal(err)
	}
	write(t, s, part(0, 4, encoded(events(3, today())...)...))
	a := audited(t, s, AuditOptions{})
	if len(a.Problems) > 0 || len(a.Partitions) != 3 {
		t.Errorf("problems %q, partitions %+v", a.Problems, a.Partitions)
	}
	if n := pgtest.Get[int64](t, url, `select next_offset from footfall.sink_offsets
		where partition = 0 and cluster_id not like '% until %'`); n != 7 {
		t.Errorf("position is %d, want 7", n)
	}
}

func TestALostCommitOfASkipIsNotKnown(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{false, true} {
		s, _, _ := busy(t)
		p := positionOf(t, s, 0)
		loseCommit(t, s, committed)
		if err := s.Skip(t.Context(), p, 27); !errors.Is(err, ErrNotKnown) || !strings.Contains(err.Error(), "footfall positions ls") {
			t.Errorf("at first: %v", err)
		}
		if err := s.Skip(t.Context(), p, 27); committed != errors.Is(err, consume.ErrMoved) || !committed && err != nil {
			t.Errorf("committed %t, once more: %v", committed, err)
		}
		if a := audited(t, s, AuditOptions{}); len(a.Problems) > 0 || a.Partitions[0].Lost != 7 {
			t.Errorf("problems %q, %d lost, want 7", a.Problems, a.Partitions[0].Lost)
		}
	}
}

// Stood reads the newest lines, however long the ledger is.
func TestStoodReadsTheNewestLines(t *testing.T) {
	t.Parallel()
	s, url, _ := busy(t)
	pgtest.Exec(t, url, `update footfall.ledger set committed_at = committed_at - interval '1 hour' where partition = 1`)
	stood, err := s.Stood(t.Context(), "c1", topicID)
	if err != nil || stood[0] > time.Minute || stood[1] < time.Hour || stood[1] > time.Hour+time.Minute {
		t.Errorf("positions stood %v, %v", stood, err)
	}
	pgtest.Exec(t, url, `insert into footfall.ledger (cluster_id, topic_id, partition, from_offset, to_offset,
		n_in, n_inserted, n_duplicate, n_dead) select 'other', gen_random_uuid(), 0, i, i + 1, 1, 1, 0, 0
		from generate_series(1, $1::int) i`, newest)
	if stood, err = s.Stood(t.Context(), "c1", topicID); err != nil || len(stood) != 0 {
		t.Errorf("behind %d newer lines positions stood %v, %v", newest, stood, err)
	}
}

// Lines that fold() puts in the place of others must not stay with the log that is read now.
func TestARestartWaitsForFolding(t *testing.T) {
	t.Parallel()
	s, url, _ := busy(t)
	p := positionOf(t, s, 0)
	pgtest.Exec(t, url, `update footfall.ledger set committed_at = date_trunc('hour', committed_at) - interval '8 days'`)
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), "begin; select footfall.fold()", pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	restarted := make(chan error, 1)
	go func() { restarted <- s.Restart(context.Background(), p, 0) }()
	awaitLock(t, url)
	if _, err := c.Exec(t.Context(), "commit"); err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	if n := pgtest.Get[int](t, url, `select count(*) from footfall.ledger where partition = 0 and cluster_id not like '% until %'`); n != 0 {
		t.Errorf("%d lines of the former log stay with the new one", n)
	}
}
