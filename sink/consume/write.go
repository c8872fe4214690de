package consume

import (
	"context"
	"errors"
	"time"
)

const shutdownMax = 5 * time.Second // for the batch in hand when the sink stops

type pauser interface {
	error
	Pause() time.Duration
}

// write stores a batch, however often it takes, unless the runs that it was cut from
// die meanwhile or the session ends.
func (l *lane) write(ctx context.Context, j job) {
	defer l.release(j)
	for failures := 0; ctx.Err() == nil; failures++ {
		if l.anyDead(j) {
			l.drop(j) // of the others the position did not move either
			break
		}
		writing, cancel := grace(ctx, shutdownMax)
		err := j.write(writing)
		cancel()
		switch {
		case err == nil:
			l.noteLane(l.index, nil)
			l.advance(j)
			return
		case errors.Is(err, ErrMoved):
			l.o.Logger.Info("positions moved under a batch", "partitions", len(j.batch.Parts))
			l.noteLane(l.index, nil)
			l.drop(j)
			return
		}
		l.noteLane(l.index, err)
		l.o.Logger.Warn("batch is not stored yet", "attempts", failures+1, "err", err)
		least := time.Duration(0)
		if p, ok := errors.AsType[pauser](err); ok {
			least = p.Pause()
		}
		sleep(ctx, backoff(failures, least))
	}
	l.noteLane(l.index, nil)
}

// release gives back the room of a batch.
func (l *lane) release(j job) {
	l.owned.Lock()
	defer l.owned.Unlock()
	l.held -= j.bytes
	l.changed()
}

func (l *lane) anyDead(j job) bool {
	l.owned.Lock()
	defer l.owned.Unlock()
	for _, r := range j.runs {
		if r.dead {
			return true
		}
	}
	return false
}

// drop ends the runs of a batch; the poller reads their positions again.
func (l *lane) drop(j job) {
	l.owned.Lock()
	defer l.owned.Unlock()
	for _, r := range j.runs {
		if !r.dead {
			l.moved = append(l.moved, r.partition)
			l.kill(r)
		}
	}
	l.wake()
}

// advance takes note of a stored batch.
func (l *lane) advance(j job) {
	next := make(map[int32]int64, len(j.batch.Parts))
	l.owned.Lock()
	for i, p := range j.batch.Parts {
		next[p.Partition] = p.To
		if !j.runs[i].dead {
			l.next[p.Partition] = p.To
		}
	}
	l.owned.Unlock()
	l.tell(next)
}

// tell passes positions that are stored on to Committed. Partitions can be assigned
// while a batch of others is being written.
func (s *session) tell(next map[int32]int64) {
	if len(next) == 0 {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	s.o.Committed(s.topicID, next)
}
