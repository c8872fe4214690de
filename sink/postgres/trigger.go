package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"footfall/event"
)

// errLeftOut is about rows that a trigger before the insert kept out, without an error of
// the server's.
var errLeftOut = errors.New("a trigger of the table left it out")

// refuseLeftOut makes dead letters of those rows that were not inserted and are not in the
// table: ON CONFLICT says of neither kind why. It is a statement of its own, because one
// that was just committed beside us shows only in the next.
func refuseLeftOut(ctx context.Context, tx pgx.Tx, w *work, rows []*row) (n int, err error) {
	absent, err := absentRows(ctx, tx, w, rows)
	for _, r := range absent {
		r.refuse(event.RefusedByDatabase, "", errLeftOut.Error())
	}
	return len(absent), err
}
