package consume

import (
	"context"
	"maps"
	"slices"
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
			s.lag.Set(float64(s.behind(ends)))
			s.look(ctx)
			s.hint(ctx, false)
		}
		if !sleep(ctx, monitorEvery) {
			return
		}
	}
}

// look asks the store about the positions, for those who idle too: whether they write
// nothing because there is nothing, or because nobody answers, only this tells.
func (s *session) look(ctx context.Context) {
	err := s.review(ctx)
	if err == nil {
		err = s.recheck(ctx)
	}
	if ctx.Err() != nil {
		return
	}
	s.note(&s.looking, err)
	if err != nil {
		s.o.Logger.Warn("positions are not looked at", "err", err)
	}
}

// recheck reads positions again where the store went back behind us. After a failover to
// a standby that lacked the newest commits it does, and a partition that gets no record
// would not notice: what was lost there would wait in Kafka until retention.
func (s *session) recheck(ctx context.Context) error {
	s.owned.Lock()
	known := maps.Clone(s.next)
	s.owned.Unlock()
	if len(known) == 0 {
		return nil
	}
	starts, err := s.starts(ctx, slices.Sorted(maps.Keys(known)))
	if err != nil {
		return err
	}
	stored, err := s.store.Positions(ctx, s.cluster, s.o.Topic, s.topicID, starts)
	if err != nil {
		return err
	}
	s.owned.Lock()
	defer s.owned.Unlock()
	for p, next := range known {
		// A position that we know is one that was stored: only a store that went back has
		// less. One that has more was written meanwhile.
		if r := s.runOf(p); r != nil && !r.dead && stored[p] < next {
			s.o.Logger.Warn("stored position went back", "topic", s.o.Topic, "partition", p,
				"from", next, "to", stored[p])
			s.moved = append(s.moved, p)
			s.kill(r)
		}
	}
	if len(s.moved) > 0 {
		s.wake()
	}
	return nil
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
