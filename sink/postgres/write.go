package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"footfall/event"
	"footfall/sink/consume"
)

const (
	hitsMax  = 3 // bad rows of the table taken by line number before halving
	triesMax = 5 // attempts at once after a deadlock and the like
)

// Write stores a batch, each record as a row, a duplicate of one or a dead letter,
// and moves its positions in the same transaction. On an error nothing is stored:
// consume.ErrMoved, or a *Fault after which the same batch may be written again.
// Only a batch that takes too long, or has bad rows that are hard to find, is split
// into several transactions; when a later one then fails, another attempt gets
// consume.ErrMoved, and the stored positions tell what is left.
func (s *Store) Write(ctx context.Context, b consume.Batch) error { return s.Prepare(b)(ctx) }

// Prepare decodes and encodes a batch, and returns what then writes it, see Write. It
// speaks with no database. The encoded rows take about the room of the records.
func (s *Store) Prepare(b consume.Batch) func(context.Context) error {
	w := s.prepare(b)
	return func(ctx context.Context) error { return s.writeWork(ctx, w) }
}

// writeWork writes a batch. Each attempt, and each of its halves, has a task of its own: a
// batch of rows that take long has to come down to a size that fits, whatever that needs in
// all. Only an answer of the server's leads to another attempt, so a silent network ends it.
func (s *Store) writeWork(ctx context.Context, w *work) error {
	started := time.Now()
	w.begin()
	w.path = s.detour.path()
	if err := s.within(ctx, func(task context.Context) error { return w.place.ready(task, w, started) }); err != nil {
		return s.faultf(err, "write %d records", len(w.rows))
	}
	for {
		err := s.within(ctx, func(task context.Context) error { return s.attempt(task, w) })
		if lost, ok := errors.AsType[*lostCommit](err); ok {
			err = s.within(ctx, func(task context.Context) error { return s.outcome(task, w, lost) })
		}
		if err == nil {
			s.detour.learn(w)
			s.meters.stored(w, started)
			return nil
		}
		act := s.act(err)
		next := s.goOn(w, act, err)
		if act == smaller || next && w.path == halved && len(w.rows) > isolateMax {
			if first, second, ok := halves(w.Batch); ok {
				return s.writeBoth(ctx, w.place, first, second)
			}
		}
		if !next {
			return faultf(act, err, "write %d records", len(w.rows))
		}
	}
}

func (s *Store) writeBoth(ctx context.Context, to place, first, second consume.Batch) error {
	for _, b := range []consume.Batch{first, second} {
		w := s.prepare(b)
		w.place = to
		if err := s.writeWork(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

// goOn prepares the batch for another attempt at once, or reports that there is no
// use in one.
func (s *Store) goOn(w *work, act action, err error) bool {
	bad, _ := errors.AsType[*rowsError](err)
	w.restart()
	switch act {
	case again:
		w.tries++
		return w.tries <= triesMax
	case partition:
		s.forgetDays()
		return false
	case stage, isolate:
		if act == stage && w.path < staged {
			// A key that was stored beside us since the look shows at COPY once more.
			if w.path == direct && hasState(err, "23505") {
				w.path = sifted
			} else {
				w.path = staged
			}
			return true
		}
		// ON CONFLICT has left every duplicate out. What still is in the way, a trigger wrote
		// or another unique index holds, and the row is a bad one like others.
		// Among halves only the staging table tells a line: of a row that it does not take,
		// so that no run has its turn before the row is gone.
		if r := bad.at(); r != nil && (w.path == halved || w.hits < hitsMax) {
			w.hits++
			r.refuseBy(bad)
			return true
		}
		if w.path != halved {
			w.path = halved
			return true
		}
	}
	return false
}

func (r *row) refuseBy(err error) {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		r.refuse(event.RefusedByDatabase, pg.Code, pg.Message)
		return
	}
	r.refuse(event.RefusedByDatabase, "", err.Error())
}
