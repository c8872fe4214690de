package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// sift returns the rows whose event is not in the table, in their order, and makes the
// others stored, which settle counts as duplicates.
func sift(ctx context.Context, tx pgx.Tx, w *work, rows []*row) ([]*row, error) {
	absent, err := absentRows(ctx, tx, w, rows)
	if err != nil {
		return nil, err
	}
	next := 0
	for _, r := range rows {
		if next < len(absent) && absent[next] == r {
			next++
			continue
		}
		r.state = stored
	}
	return absent, nil
}

// absentRows returns those of rows whose event is not in the table, in their order, which
// is that of the id. It asks for a day at a time, which is a partition: the lookup then locks
// none but those that the insert locks, and the default one.
func absentRows(ctx context.Context, tx pgx.Tx, w *work, rows []*row) ([]*row, error) {
	var list []*row
	for len(rows) > 0 {
		if err := w.slow(); err != nil {
			return nil, err
		}
		day := dayOf(rows[0].id.Time())
		var ids [][16]byte
		var times []time.Time
		for _, r := range rows {
			if dayOf(r.id.Time()) != day {
				break
			}
			ids, times = append(ids, r.id), append(times, r.id.Time())
		}
		var absent []int64
		// A subquery and no join, which could read the whole day for a few rows.
		err := tx.QueryRow(ctx, `select coalesce(array_agg(n order by n), '{}')
			from unnest($1::uuid[], $2::timestamptz[]) with ordinality x (id, at, n)
			where (select true from `+w.place.table()+` e where e.occurred_at = x.at and e.event_id = x.id
				and e.occurred_at >= $3 and e.occurred_at < $4) is null`,
			ids, times, dayStart(day), dayStart(day+1)).Scan(&absent)
		if err != nil {
			return nil, &rowsError{fmt.Errorf("look for %d events: %w", len(ids), err), nil}
		}
		for _, i := range absent {
			list = append(list, rows[i-1])
		}
		rows = rows[len(ids):]
	}
	return list, nil
}
