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

// DeadLetter is a record that could not be stored.
type DeadLetter struct {
	ID        int64
	At        time.Time // when it was kept
	Reason    event.Reason
	SQLState  string // "" when the database had not seen it
	Detail    string
	Cluster   string
	Topic     string
	Partition int32
	Offset    int64
	Bytes     int         // of Value
	Outcome   DeadOutcome // "" while it waits
	Settled   time.Time   // zero while it waits
	// The record. Nil when the letter is settled, and in lists.
	Key, Value []byte
}

// DeadOutcome is how a dead letter was settled.
type DeadOutcome string

// The outcomes. A settled letter stays as a line without its bytes, because the ledger
// counted it.
const (
	DeadInserted  DeadOutcome = "inserted"  // replayed: it is a row
	DeadDuplicate DeadOutcome = "duplicate" // replayed: its event was a row already
	DeadDropped   DeadOutcome = "dropped"   // given up
)

// ErrNotWaiting says that there is no dead letter of this number that waits.
var ErrNotWaiting = errors.New("no such dead letter waits")

// ErrNotKnown says that nobody answered the commit of what a person wants: to settle a dead
// letter, to move a position. To do it once more does no harm: what is done then is
// ErrNotWaiting, or consume.ErrMoved.
var ErrNotKnown = errors.New("not known whether that is done")

// DeadFilter says which dead letters are listed.
type DeadFilter struct {
	Since   time.Time // kept since then
	Settled bool      // those that do not wait any more, too
}

const deadColumns = `id, at, reason, coalesce(sqlstate, ''), coalesce(detail, ''), cluster_id, topic,
	partition, record_offset, coalesce(length(value), 0), coalesce(outcome, ''),
	resolved_at`

func scanDead(row pgx.CollectableRow, more ...any) (d DeadLetter, err error) {
	var settled *time.Time
	err = row.Scan(append([]any{&d.ID, &d.At, &d.Reason, &d.SQLState, &d.Detail, &d.Cluster, &d.Topic,
		&d.Partition, &d.Offset, &d.Bytes, &d.Outcome, &settled}, more...)...)
	if settled != nil {
		d.Settled = settled.UTC()
	}
	d.At = d.At.UTC()
	return d, err
}

// EachDeadLetter calls fn with the dead letters, oldest first and without their records,
// until it returns an error (that one).
func (s *Store) EachDeadLetter(ctx context.Context, f DeadFilter, fn func(DeadLetter) error) error {
	rows, err := s.pool.Query(ctx, "select "+deadColumns+` from footfall.dead_letters
		where at >= $1 and (outcome is null or $2) order by id`, f.Since, f.Settled)
	if err != nil {
		return fmt.Errorf("list dead letters: %w", needs(err, roleEraser))
	}
	defer rows.Close()
	for rows.Next() {
		d, err := scanDead(rows)
		if err == nil {
			err = fn(d)
		}
		if err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("list dead letters: %w", needs(err, roleEraser))
	}
	return nil
}

// DeadLetter returns one with its record.
func (s *Store) DeadLetter(ctx context.Context, id int64) (DeadLetter, error) {
	d, err := s.deadLetter(ctx, id)
	return d, needs(err, roleEraser)
}

func (s *Store) deadLetter(ctx context.Context, id int64) (d DeadLetter, err error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, "select "+deadColumns+", key, value from footfall.dead_letters where id = $1", id)
	if err == nil {
		d, err = pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (DeadLetter, error) {
			var key, value []byte
			d, err := scanDead(row, &key, &value)
			d.Key, d.Value = key, value
			return d, err
		})
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return d, fmt.Errorf("there is no dead letter %d", id)
	}
	if err != nil {
		return d, fmt.Errorf("read dead letter %d: %w", id, err)
	}
	return d, nil
}

// ReplayDead puts a dead letter on the way of all records once more. As soon as it is a
// row or a duplicate of one it is settled, in the same transaction. The error says why it
// is not: ErrNotWaiting, what is still wrong with it, or that the database is away; then
// nothing has changed. Or ErrNotKnown.
func (s *Store) ReplayDead(ctx context.Context, id int64) (DeadOutcome, error) {
	ctx, cancel := s.task(ctx)
	defer cancel()
	d, err := s.deadLetter(ctx, id)
	if err != nil {
		return "", needs(err, roleIngest, roleEraser)
	}
	if d.Outcome != "" {
		return "", fmt.Errorf("dead letter %d is %s: %w", id, d.Outcome, ErrNotWaiting)
	}
	w := s.prepare(consume.Batch{Parts: []consume.Part{{
		Records: []consume.Record{{Offset: d.Offset, Key: d.Key, Value: d.Value}}}}})
	r := &w.rows[0]
	if r.state == refused {
		return "", fmt.Errorf("dead letter %d stays one: %s: %s", id, r.reason, r.detail)
	}
	if err := s.ensureDays(ctx, w.days(time.Now())); err != nil {
		return "", needs(err, roleIngest, roleEraser)
	}
	outcome, err := s.settle(ctx, id, func(tx pgx.Tx, batch *pgx.Batch) (DeadOutcome, error) {
		w.path = staged
		if err := storeRows(ctx, tx, w); err != nil {
			return "", err
		}
		if r.state == refused {
			return "", fmt.Errorf("%s: %s", r.reason, r.detail)
		}
		w.settle()
		account(batch, w)
		if r.inserted {
			return DeadInserted, nil
		}
		return DeadDuplicate, nil
	})
	if errors.Is(err, ErrNotKnown) {
		return "", fmt.Errorf("replay dead letter %d: %w", id, err)
	}
	if err != nil {
		return "", fmt.Errorf("dead letter %d stays one: %w", id, needs(err, roleIngest, roleEraser))
	}
	return outcome, nil
}

// DropDead gives a dead letter up, and forgets its record. Its errors are ErrNotWaiting,
// ErrNotKnown, and that the database is away.
func (s *Store) DropDead(ctx context.Context, id int64) error {
	ctx, cancel := s.task(ctx)
	defer cancel()
	_, err := s.settle(ctx, id, func(pgx.Tx, *pgx.Batch) (DeadOutcome, error) { return DeadDropped, nil })
	if err != nil {
		return fmt.Errorf("drop dead letter %d: %w", id, needs(err, roleEraser))
	}
	return nil
}

// settle marks a letter as what fn makes of it, in the transaction and the batch of fn.
func (s *Store) settle(ctx context.Context, id int64,
	fn func(pgx.Tx, *pgx.Batch) (DeadOutcome, error)) (outcome DeadOutcome, err error) {
	err = s.inTransaction(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, s.limits.settings()); err != nil {
			return err
		}
		// First of all: whoever else settles it waits here, and then finds it settled.
		if err := lockDead(ctx, tx, id); err != nil {
			return err
		}
		batch := &pgx.Batch{}
		if outcome, err = fn(tx, batch); err != nil {
			return err
		}
		queueSettled(batch, id, outcome)
		return tx.SendBatch(ctx, batch).Close()
	})
	if _, lost := errors.AsType[*lostCommit](err); lost {
		return "", fmt.Errorf("%w: do the same again, or look with footfall dead show %d: %w", ErrNotKnown, id, err)
	}
	return outcome, err
}

func lockDead(ctx context.Context, tx pgx.Tx, id int64) error {
	var waits bool
	err := tx.QueryRow(ctx, "select outcome is null from footfall.dead_letters where id = $1 for update",
		id).Scan(&waits)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !waits {
		return ErrNotWaiting
	}
	return err
}

func queueSettled(batch *pgx.Batch, id int64, outcome DeadOutcome) {
	batch.Queue(`update footfall.dead_letters set outcome = $2, resolved_at = clock_timestamp(),
		key = null, value = null where id = $1`, id, string(outcome))
}
