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

// write stores a batch, however often it takes. It returns an error only to end
// the session.
func (s *session) write(ctx context.Context, b Batch) error {
	for failures := 0; ; failures++ {
		losses := s.losses.Load()
		writing, cancel := grace(ctx, shutdownMax)
		err := s.store.Write(writing, b)
		cancel()
		switch {
		case err == nil:
			s.note(&s.writing, nil)
			s.advance(b)
			return nil
		case errors.Is(err, ErrMoved):
			s.note(&s.writing, nil)
			s.o.Logger.Info("positions moved under a batch", "partitions", len(b.Parts))
			return s.reposition(ctx, partitionsOf(b))
		}
		s.note(&s.writing, err)
		s.o.Logger.Warn("batch is not stored yet", "attempts", failures+1, "err", err)
		least := time.Duration(0)
		if p, ok := errors.AsType[pauser](err); ok {
			least = p.Pause()
		}
		s.client.AllowRebalance()
		if !sleep(ctx, backoff(failures, least)) {
			return context.Cause(ctx)
		}
		if s.losses.Load() != losses {
			return s.reposition(ctx, partitionsOf(b))
		}
	}
}

func partitionsOf(b Batch) []int32 {
	list := make([]int32, len(b.Parts))
	for i, p := range b.Parts {
		list[i] = p.Partition
	}
	return list
}

// advance takes note of a stored batch.
func (s *session) advance(b Batch) {
	next := make(map[int32]int64, len(b.Parts))
	s.owned.Lock()
	for _, p := range b.Parts {
		next[p.Partition] = p.To
		if _, ours := s.next[p.Partition]; ours {
			s.next[p.Partition] = p.To
		}
	}
	s.owned.Unlock()
	s.tell(next)
}

// tell passes positions that are stored on to Committed. Partitions can be assigned
// while a batch of others is being written.
func (s *session) tell(next map[int32]int64) {
	if len(next) == 0 {
		return
	}
	s.telling.Lock()
	defer s.telling.Unlock()
	s.o.Committed(next)
}
