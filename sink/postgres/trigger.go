package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// errLeftOut is about rows that a trigger before the insert kept out, without an error of
// the server's.
var errLeftOut = errors.New("a trigger of the table left it out")

// refuseLeftOut makes dead letters of those rows that were not inserted and are not in the
// table: ON CONFLICT says of neither kind why. It is a statement of its own, because one
// that was just committed beside us shows only in the next. A day at a time, which is a
// partition: the lookup then locks none but those that the insert has locked.
func refuseLeftOut(ctx context.Context, tx pgx.Tx, table string, rows []*row) (n int, err error) {
	for len(rows) > 0 {
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
		err := tx.QueryRow(ctx, `select coalesce(array_agg(n), '{}')
			from unnest($1::uuid[], $2::timestamptz[]) with ordinality x (id, at, n)
			where (select true from `+table+` e where e.occurred_at = x.at and e.event_id = x.id
				and e.occurred_at >= $3 and e.occurred_at < $4) is null`,
			ids, times, dayStart(day), dayStart(day+1)).Scan(&absent)
		if err != nil {
			return n, fmt.Errorf("look for %d events: %w", len(ids), err)
		}
		for _, i := range absent {
			rows[i-1].refuse(event.RefusedByDatabase, "", errLeftOut.Error())
		}
		n, rows = n+len(absent), rows[len(ids):]
	}
	return n, nil
}
