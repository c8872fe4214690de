package consume

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const monitorEvery = 3 * time.Second

// hint tells Kafka the positions, for tools that show a group's lag. Nothing
// depends on it, so its errors are of no interest.
func (s *session) hint(ctx context.Context, wait bool) {
	offsets := map[int32]kgo.EpochOffset{}
	s.owned.Lock()
	for p, n := range s.next {
		if n > 0 {
			offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: n}
		}
	}
	s.owned.Unlock()
	topics := map[string]map[int32]kgo.EpochOffset{s.o.Topic: offsets}
	if wait {
		s.client.CommitOffsetsSync(ctx, topics, nil)
		return
	}
	s.client.CommitOffsets(ctx, topics, nil)
}

// monitor watches whether Kafka answers and how far behind the positions are, also
// while nothing is polled.
func (s *session) monitor(ctx context.Context) {
	for {
		asking, cancel := context.WithTimeout(ctx, askMax)
		ends, err := s.admin.ListEndOffsets(asking, s.o.Topic)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = ends.Error()
		}
		s.note(&s.kafka, s.client.Explain(err))
		if err == nil {
			s.owned.Lock()
			grown := s.ends != nil && len(ends[s.o.Topic]) > len(s.ends[s.o.Topic])
			if !s.shrunk(ends) { // else they are of another log
				s.ends = ends
			}
			s.owned.Unlock()
			if grown {
				s.client.ForceMetadataRefresh() // else partitions are found within a minute
			}
			err = s.review(ctx)
			if err != nil && ctx.Err() == nil {
				s.o.Logger.Warn("stopped partitions are not looked at", "err", err)
			}
			s.lag.Set(float64(s.behind(ends)))
			s.hint(ctx, false)
		}
		if !sleep(ctx, monitorEvery) {
			return
		}
	}
}

// shrunk reports whether a log ends before where it ended. The caller holds owned.
func (s *session) shrunk(ends kadm.ListedOffsets) (shrunk bool) {
	s.ends.Each(func(before kadm.ListedOffset) {
		now, ok := ends.Lookup(before.Topic, before.Partition)
		shrunk = shrunk || !ok || now.Offset < before.Offset
	})
	return shrunk
}

func (s *session) behind(ends kadm.ListedOffsets) (n int64) {
	s.owned.Lock()
	defer s.owned.Unlock()
	for p, next := range s.next {
		if end, ok := ends.Lookup(s.o.Topic, p); ok {
			n += max(0, end.Offset-next)
		}
	}
	return n
}
