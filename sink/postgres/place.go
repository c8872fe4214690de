package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// place is where a batch goes: footfall.events, which is the Store itself, or the table
// of a Replay. Both move positions in the transaction of the rows.
type place interface {
	// table is its name in SQL.
	table() string
	// ready prepares for rows before the transaction.
	ready(ctx context.Context, w *work, now time.Time) error
	// claim moves the positions of the batch, or returns consume.ErrMoved.
	claim(ctx context.Context, tx pgx.Tx, w *work) error
	// record writes down what became of the batch.
	record(ctx context.Context, tx pgx.Tx, w *work) error
	// stored are the positions of the batch's partitions, outside of any transaction.
	stored(ctx context.Context, w *work) (map[int32]int64, error)
}

func (s *Store) table() string { return "footfall.events" }

func (s *Store) ready(ctx context.Context, w *work, now time.Time) error {
	return s.ensureDays(ctx, w.days(now))
}

func (s *Store) stored(ctx context.Context, w *work) (map[int32]int64, error) {
	return s.positions(ctx, w.ClusterID, w.TopicID, w.partitions())
}
