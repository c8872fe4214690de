package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// SpoolPosition returns the sequence number that is next to be stored of a spool,
// or false when nothing was ever said about that spool.
func (s *Store) SpoolPosition(ctx context.Context, id event.UUID) (next int64, ok bool, err error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, "select next_seq from footfall.spools where spool_id = $1",
		[16]byte(id)).Scan(&next)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("read spool position: %w", needs(err, roleIngest))
	}
	return next, true, nil
}

// SetSpoolPosition says that everything before next is stored. It only ever moves
// forward: a smaller number changes nothing.
func (s *Store) SetSpoolPosition(ctx context.Context, id event.UUID, next int64) error {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, `insert into footfall.spools as old (spool_id, next_seq)
		values ($1, $2) on conflict (spool_id) do update
		set next_seq = excluded.next_seq, updated_at = clock_timestamp()
		where old.next_seq < excluded.next_seq`, [16]byte(id), next)
	if err != nil {
		return fmt.Errorf("set spool position: %w", needs(err, roleIngest))
	}
	return nil
}
