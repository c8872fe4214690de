package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// Each calls fn for every row whose occurred_at lies in [from, to), in no order and in
// one snapshot, until fn returns an error (that one). The event is fn's until it
// returns.
func (s *Store) Each(ctx context.Context, from, to time.Time, fn func(*event.Event) error) error {
	rows, err := s.pool.Query(ctx, "select "+selection+` from footfall.events
		where occurred_at >= $1 and occurred_at < $2`, from, to)
	if err != nil {
		return fmt.Errorf("read rows: %w", needs(err, roleReader))
	}
	defer rows.Close()
	var e event.Event
	into := targets(&e)
	for rows.Next() {
		e = event.Event{}
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("read rows: %w", needs(err, roleReader))
		}
		if err := fn(&e); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read rows: %w", needs(err, roleReader))
	}
	return nil
}

// Next returns every stored position, by cluster id, topic id and partition with
// slashes between them.
func (s *Store) Next(ctx context.Context) (map[string]int64, error) {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, `select cluster_id || '/' || topic_id || '/' || partition, next_offset
		from footfall.sink_offsets`)
	if err != nil {
		return nil, fmt.Errorf("read positions: %w", needs(err, roleReader))
	}
	next := map[string]int64{}
	var place string
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&place, &n}, func() error {
		next[place] = n
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read positions: %w", needs(err, roleReader))
	}
	return next, nil
}
