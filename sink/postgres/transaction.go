package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"footfall/failpoint"
	"footfall/sink/consume"
)

// attempt is the transaction.
func (s *Store) attempt(ctx context.Context, w *work) error {
	w.late = time.Now().Add(s.limits.statement)
	err := s.inTransaction(ctx, func(tx pgx.Tx) error {
		if err := w.place.claim(ctx, tx, w); err != nil {
			return err
		}
		if err := storeRows(ctx, tx, w); err != nil {
			return err
		}
		w.settle()
		if err := w.place.record(ctx, tx, w); err != nil {
			return err
		}
		failpoint.Hit(failpoint.SinkCopied)
		return nil
	})
	if err == nil {
		failpoint.Hit(failpoint.SinkCommitted)
	}
	return err
}

// inTransaction commits what fn does, or nothing of it. An error that is a lostCommit leaves
// open which of the two.
func (s *Store) inTransaction(ctx context.Context, fn func(pgx.Tx) error) error {
	// Whatever the role or the database have as their own: what is looked up in a transaction
	// has to be as of that moment, behind the locks that it waited for.
	tx, err := s.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer s.rollBack(ctx, tx) // no-op after a commit
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		pg, ok := errors.AsType[*pgconn.PgError](err)
		if errors.Is(err, pgx.ErrTxCommitRollback) || ok && pg.Severity == "ERROR" {
			return fmt.Errorf("commit: %w", err)
		}
		return &lostCommit{err}
	}
	return nil
}

// rollBack ends a transaction also when ctx is over. A connection that does not answer
// is closed, and the pool drops it.
func (s *Store) rollBack(ctx context.Context, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.rollback)
	defer cancel()
	tx.Rollback(ctx)
}

// claim moves the positions, first of all: whoever else wants them waits here, and
// then finds them moved, instead of copying in vain.
// After a wait in vain it looks whether the other is still alive.
func (s *Store) claim(ctx context.Context, tx pgx.Tx, w *work) error {
	err := s.movePositions(ctx, tx, w)
	if lockTimeout(err) {
		s.endStalled(ctx, w.ClusterID, w.TopicID, w.partitions())
	}
	return err
}

func (s *Store) movePositions(ctx context.Context, tx pgx.Tx, w *work) error {
	batch := &pgx.Batch{}
	batch.Queue(s.limits.settings())
	batch.Queue("set constraints all immediate")
	for _, p := range w.Parts {
		batch.Queue(`update footfall.sink_offsets set next_offset = $5
			where cluster_id = $1 and topic_id = $2 and partition = $3 and next_offset = $4`,
			w.ClusterID, w.TopicID, p.Partition, p.From, p.To)
	}
	results := tx.SendBatch(ctx, batch)
	defer results.Close()
	for i := range batch.Len() {
		tag, err := results.Exec()
		if err != nil {
			return fmt.Errorf("move positions: %w", err)
		}
		if i >= 2 && tag.RowsAffected() == 0 {
			return consume.ErrMoved
		}
	}
	if err := results.Close(); err != nil {
		return fmt.Errorf("move positions: %w", err)
	}
	return nil
}

func storeRows(ctx context.Context, tx pgx.Tx, w *work) error {
	rows := w.live()
	if len(rows) == 0 {
		return nil
	}
	if w.path <= sifted {
		return storeDirect(ctx, tx, w, rows)
	}
	if err := createStage(ctx, tx); err != nil {
		return fmt.Errorf("make staging table: %w", err)
	}
	store := storeRun
	if w.path == halved {
		store = isolateRows
		if _, err := tx.Exec(ctx, "create index on pg_temp.footfall_stage (seq)"); err != nil {
			return fmt.Errorf("index staging table: %w", err)
		}
	}
	// The duplicate of a refused row may be a good one: it gets its turn too.
	for turn := 0; len(rows) > 0; turn, rows = turn+1, w.live() {
		if err := w.slow(); err != nil {
			return err
		}
		if err := stageRows(ctx, tx, rows, turn > 0); err != nil {
			return fmt.Errorf("stage %d events: %w", len(rows), err)
		}
		if err := store(ctx, tx, w, rows, 0, len(rows)); err != nil {
			return err
		}
	}
	return nil
}

// storeDirect stores rows by COPY into the table, sifted ones after a look for their keys.
func storeDirect(ctx context.Context, tx pgx.Tx, w *work, rows []*row) error {
	if err := checkTypes(ctx, tx, w.place.table()); err != nil {
		return err
	}
	if w.path == sifted {
		var err error
		if rows, err = sift(ctx, tx, w, rows); err != nil || len(rows) == 0 {
			return err
		}
	}
	for _, r := range rows {
		w.tally[r.part].inserted++
		r.inserted = true
	}
	if err := copyRows(ctx, tx, w.place.table(), rows); err != nil {
		return fmt.Errorf("copy %d events: %w", len(rows), err)
	}
	return nil
}

// storeRun stores the staged rows of the numbers [from, to).
func storeRun(ctx context.Context, tx pgx.Tx, w *work, rows []*row, from, to int) error {
	inserted, filtered, err := unstage(ctx, tx, w.place.table(), from, to)
	if err != nil {
		return fmt.Errorf("store %d staged events: %w", to-from, err)
	}
	for _, seq := range inserted {
		w.tally[rows[seq].part].inserted++
		rows[seq].inserted = true
	}
	rows = rows[from:to]
	if filtered && len(inserted) < len(rows) {
		missing := make([]*row, 0, len(rows)-len(inserted))
		for _, r := range rows {
			if !r.inserted {
				missing = append(missing, r)
			}
		}
		n, err := refuseLeftOut(ctx, tx, w, missing)
		if err != nil {
			return err
		}
		w.leftOut += n
	}
	for _, r := range rows {
		if r.state != refused {
			r.state = stored
		}
	}
	return nil
}

// record writes what became of the batch: the ledger and the dead letters.
func (s *Store) record(ctx context.Context, tx pgx.Tx, w *work) error {
	batch := &pgx.Batch{}
	for i, p := range w.Parts {
		t := w.tally[i]
		batch.Queue(`insert into footfall.ledger (cluster_id, topic_id, partition,
			from_offset, to_offset, n_in, n_inserted, n_duplicate, n_dead)
			values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			w.ClusterID, w.TopicID, p.Partition, p.From, p.To,
			len(p.Records), t.inserted, t.duplicate, t.dead)
	}
	queueDead(batch, w, "footfall.dead_letters")
	account(batch, w)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

func queueDead(batch *pgx.Batch, w *work, table string) {
	for i := range w.rows {
		r := &w.rows[i]
		if r.state != refused {
			continue
		}
		batch.Queue("insert into "+table+` (reason, sqlstate, detail, cluster_id,
			topic_id, topic, partition, record_offset, key, value)
			values ($1, nullif($2, ''), $3, $4, $5, $6, $7, $8, $9, $10)`,
			string(r.reason), r.sqlstate, r.detail, w.ClusterID, w.TopicID, w.Topic,
			w.Parts[r.part].Partition, r.record.Offset, r.record.Key, r.record.Value)
	}
}
