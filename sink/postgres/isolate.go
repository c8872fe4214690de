package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// isolateMax bounds the records of a transaction that isolates bad rows: each row
// stored behind a savepoint of its own takes a place in the server's lock table,
// which all sessions share.
const isolateMax = 500

// isolateRows stores the staged rows of the numbers [from, to) run by run. A run that the
// database refuses is halved, until a bad row stands alone and becomes a dead letter. It
// keeps one savepoint, behind everything that is stored so far: a run that fails is undone
// to it, one that succeeds moves it.
func isolateRows(ctx context.Context, tx pgx.Tx, w *work, rows []*row, from, to int) error {
	if _, err := tx.Exec(ctx, "savepoint good"); err != nil {
		return fmt.Errorf("set savepoint: %w", err)
	}
	runs := [][2]int{{from, to}} // a stack: the first run on top
	for len(runs) > 0 {
		from, to := runs[len(runs)-1][0], runs[len(runs)-1][1]
		runs = runs[:len(runs)-1]
		if err := w.slow(); err != nil {
			return err
		}
		err := storeRun(ctx, tx, w, rows, from, to)
		next := "rollback to savepoint good"
		switch {
		case err == nil:
			next = "release savepoint good; savepoint good"
		case !ofRow(err):
			return err
		case to-from == 1:
			rows[from].refuseBy(err)
		default:
			half := (from + to) / 2
			runs = append(runs, [2]int{half, to}, [2]int{from, half})
		}
		if _, err := tx.Exec(ctx, next, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("move savepoint: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, "release savepoint good"); err != nil {
		return fmt.Errorf("release savepoint: %w", err)
	}
	return nil
}

// ofRow reports whether an error is one row's fault.
func ofRow(err error) bool {
	act := actionOf(err)
	return act == isolate || act == stage
}
