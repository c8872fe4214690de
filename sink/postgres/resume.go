package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/consume"
)

// Position is how far a partition is stored.
type Position struct {
	Cluster     string
	Topic       string
	TopicID     event.UUID
	Partition   int32
	First, Next int64 // offsets: where reading began, and what comes next
}

// AllPositions returns the positions of all topics that were ever read, in order.
func (s *Store) AllPositions(ctx context.Context) ([]Position, error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `select cluster_id, topic, topic_id, partition,
		coalesce(first_offset, next_offset), next_offset from footfall.sink_offsets order by 1, 2, 3, 4`)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", needs(err, roleReader))
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p Position, err error) {
		err = row.Scan(&p.Cluster, &p.Topic, (*[16]byte)(&p.TopicID), &p.Partition, &p.First, &p.Next)
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", needs(err, roleReader))
	}
	return list, nil
}

// newest bounds the lines of the ledger that Stood reads: the last minutes, at least, of the
// busiest sink, which writes some 60 a second.
const newest = 100_000

// Stood returns for how long each position of a topic has not moved, by partition, by the
// database's clock. Those that have no line among the newest of the ledger are left out.
func (s *Store) Stood(ctx context.Context, cluster string, topicID event.UUID) (map[int32]time.Duration, error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `select partition, clock_timestamp() - max(committed_at)
		from (select * from footfall.ledger order by committed_at desc limit $3) recent
		where cluster_id = $1 and topic_id = $2 group by 1`, cluster, [16]byte(topicID), newest)
	if err != nil {
		return nil, fmt.Errorf("read when positions moved: %w", needs(err, roleReader))
	}
	stood := map[int32]time.Duration{}
	var p int32
	var d time.Duration
	if _, err := pgx.ForEachRow(rows, []any{&p, &d}, func() error {
		stood[p] = d
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read when positions moved: %w", needs(err, roleReader))
	}
	return stood, nil
}

// Skip moves a position over the offsets from p.Next to to, which are gone, and writes
// them into the ledger as lost. It returns consume.ErrMoved when the position is not
// p.Next any more, and then has changed nothing, or ErrNotKnown.
func (s *Store) Skip(ctx context.Context, p Position, to int64) error {
	if to <= p.Next {
		return fmt.Errorf("skip to %d: the position is %d, and goes only forward", to, p.Next)
	}
	err := s.movePosition(ctx, p, to, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `insert into footfall.ledger (cluster_id, topic_id, partition,
			from_offset, to_offset, n_in, n_inserted, n_duplicate, n_dead, n_lost)
			values ($1, $2, $3, $4::bigint, $5::bigint, 0, 0, 0, 0, $5::bigint - $4::bigint)`,
			p.Cluster, [16]byte(p.TopicID), p.Partition, p.Next, to)
		return err
	})
	if err != nil {
		return fmt.Errorf("skip from %d to %d: %w", p.Next, to, needs(err, roleOwner))
	}
	return nil
}

// Restart moves a position to where another log of the same name starts. The accounts
// of the log that was stored are kept, under a cluster id that tells until when. What
// the new log has of the old one stays one row each. It returns consume.ErrMoved as
// Skip does.
func (s *Store) Restart(ctx context.Context, p Position, start int64) error {
	former := p.Cluster + " until " + time.Now().UTC().Format(time.RFC3339)
	err := s.movePosition(ctx, p, p.Next, func(tx pgx.Tx) error {
		// Not beside footfall.fold(), whose new lines the update of the ledger would not see.
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock(7381240860009000036)"); err != nil {
			return err
		}
		for _, table := range []string{"ledger", "dead_letters", "sink_offsets"} {
			_, err := tx.Exec(ctx, `update footfall.`+table+` set cluster_id = $4
				where cluster_id = $1 and topic_id = $2 and partition = $3`,
				p.Cluster, [16]byte(p.TopicID), p.Partition, former)
			if err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `insert into footfall.sink_offsets
			(cluster_id, topic_id, topic, partition, first_offset, next_offset)
			values ($1, $2, $3, $4, $5, $5)`, p.Cluster, [16]byte(p.TopicID), p.Topic, p.Partition, start)
		return err
	})
	if err != nil {
		return fmt.Errorf("restart at %d: %w", start, needs(err, roleOwner))
	}
	return nil
}

// movePosition moves a position, and does also in the same transaction. It may do that
// twice: once more after it has ended a session that stalled.
func (s *Store) movePosition(ctx context.Context, p Position, to int64, also func(pgx.Tx) error) error {
	err := s.tryMove(ctx, p, to, also)
	if lockTimeout(err) && s.endStalled(ctx, p.Cluster, p.TopicID, []int32{p.Partition}) > 0 {
		return s.tryMove(ctx, p, to, also)
	}
	return err
}

// tryMove has as long as a step of tidy: Restart rewrites a partition's whole ledger.
func (s *Store) tryMove(ctx context.Context, p Position, to int64, also func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.tables)
	defer cancel()
	limits := s.limits
	limits.statement = limits.tables
	err := s.inTransaction(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, limits.settings()); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `update footfall.sink_offsets set next_offset = $5
			where cluster_id = $1 and topic_id = $2 and partition = $3 and next_offset = $4`,
			p.Cluster, [16]byte(p.TopicID), p.Partition, p.Next, to)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return consume.ErrMoved
		}
		return also(tx)
	})
	if _, lost := errors.AsType[*lostCommit](err); lost {
		return fmt.Errorf("%w: look with footfall positions ls, and do the same again if the partition stands where it stood: %w",
			ErrNotKnown, err)
	}
	return err
}
