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

// isolateRows stores rows run by run, each run behind a savepoint. A run that the
// database refuses is halved, until a bad row stands alone and becomes a dead
// letter.
func isolateRows(ctx context.Context, tx pgx.Tx, w *work, rows []*row) error {
	const index = "create index on pg_temp.footfall_stage (seq)"
	if _, err := tx.Exec(ctx, index); err != nil {
		return fmt.Errorf("index staging table: %w", err)
	}
	// The duplicate of a refused row may be a good one: it gets its turn too.
	for ; len(rows) > 0; rows = w.live() {
		if _, err := tx.Exec(ctx, "truncate pg_temp.footfall_stage"); err != nil {
			return fmt.Errorf("empty staging table: %w", err)
		}
		if err := stageRows(ctx, tx, rows); err != nil {
			return fmt.Errorf("stage %d events: %w", len(rows), err)
		}
		if err := storeRuns(ctx, tx, w, rows); err != nil {
			return err
		}
	}
	return nil
}

// storeRuns keeps one savepoint, behind everything that is stored so far: a run
// that fails is undone to it, one that succeeds moves it.
func storeRuns(ctx context.Context, tx pgx.Tx, w *work, rows []*row) error {
	if _, err := tx.Exec(ctx, "savepoint good"); err != nil {
		return fmt.Errorf("set savepoint: %w", err)
	}
	runs := [][2]int{{0, len(rows)}} // a stack: the first run on top
	for len(runs) > 0 {
		from, to := runs[len(runs)-1][0], runs[len(runs)-1][1]
		runs = runs[:len(runs)-1]
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
