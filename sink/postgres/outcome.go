package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"footfall/sink/consume"
)

// lostCommit says that nobody answered a commit: it took place, or it did not.
type lostCommit struct{ err error }

func (e *lostCommit) Error() string { return "commit got no answer: " + e.err.Error() }

func (e *lostCommit) Unwrap() error { return e.err }

// errRolledBack is the outcome of a lost commit that did not take place.
var errRolledBack = errors.New("commit did not take place")

const (
	outcomeTries = 5
	outcomePause = 200 * time.Millisecond
)

// outcome asks the positions, on another connection, whether a commit took place.
// It returns nil when it did, consume.ErrMoved when another consumer has moved on,
// and else an error after which the batch may be written again: should the old
// commit still come through, the compare-and-set of the next attempt notices.
func (s *Store) outcome(ctx context.Context, w *work, lost *lostCommit) error {
	for try := range outcomeTries {
		asking, cancel := s.ask(ctx)
		next, err := w.place.stored(asking, w)
		cancel()
		if err == nil {
			return judge(w, next, lost)
		}
		select {
		case <-ctx.Done():
			return lost
		case <-time.After(outcomePause << try):
		}
	}
	return lost
}

func judge(w *work, next map[int32]int64, lost *lostCommit) error {
	before, after := 0, 0
	for _, p := range w.Parts {
		switch next[p.Partition] {
		case p.To:
			after++
		case p.From:
			before++
		}
	}
	switch len(w.Parts) {
	case after:
		return nil
	case before:
		return fmt.Errorf("%w: %w", errRolledBack, lost.err)
	}
	return consume.ErrMoved
}
