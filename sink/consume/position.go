package consume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var errRecreated = errors.New("topic was made anew")

// assigned is asked where to begin with partitions that have become ours. It keeps
// trying while the store is away, for as long as they are ours.
func (s *session) assigned(ctx context.Context, offsets map[string]map[int32]kgo.Offset) (
	map[string]map[int32]kgo.Offset, error) {
	<-s.ready
	partitions := slices.Sorted(maps.Keys(offsets[s.o.Topic]))
	for failures := 0; ; failures++ {
		start, err := s.load(ctx, s.runsOf(partitions))
		if err == nil {
			s.note(&s.group, nil)
			s.note(&s.writing, nil)
			begin := make(map[int32]kgo.Offset, len(start))
			for p, at := range start {
				begin[p] = kgo.NewOffset().At(at).WithEpoch(-1)
			}
			s.o.Logger.Info("partitions assigned", "topic", s.o.Topic, "positions", start)
			return map[string]map[int32]kgo.Offset{s.o.Topic: begin}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, errRecreated) {
			s.fail(err)
			return nil, err
		}
		s.note(&s.writing, err)
		s.o.Logger.Warn("positions are not known yet", "attempts", failures+1, "err", err)
		if !sleep(ctx, backoff(failures, 0)) {
			return nil, ctx.Err()
		}
	}
}

// takenAway forgets partitions. A batch of theirs that is being written either
// wins against the next owner or gets ErrMoved.
func (s *session) takenAway(_ context.Context, client *kgo.Client, topics map[string][]int32) {
	partitions := topics[s.o.Topic]
	if len(partitions) == 0 {
		return
	}
	client.ResumeFetchPartitions(topics) // a pause would outlast the ownership
	s.owned.Lock()
	for _, p := range partitions {
		s.end(p)
	}
	s.owned.Unlock()
	for _, p := range partitions {
		s.forgetStop(p) // whoever has it now says so
	}
	s.o.Logger.Info("partitions taken away", "topic", s.o.Topic, "partitions", partitions)
}

// runsOf returns the runs of partitions as they are: nil where there is none.
func (s *session) runsOf(partitions []int32) map[int32]*run {
	s.owned.Lock()
	defer s.owned.Unlock()
	runs := make(map[int32]*run, len(partitions))
	for _, p := range partitions {
		runs[p] = s.runOf(p)
	}
	return runs
}

// load reads the stored positions, takes the partitions as ours, tells Committed, and
// returns where to fetch from. A partition whose records are gone is stopped and left
// out of all that: where a log ends before its position, the records that come there
// now are not the ones that were stored. So is one whose run is not the given one any
// more: it was taken away meanwhile.
func (s *session) load(ctx context.Context, runs map[int32]*run) (map[int32]int64, error) {
	partitions := slices.Sorted(maps.Keys(runs))
	starts, err := s.starts(ctx, partitions)
	if err != nil {
		return nil, err
	}
	next, err := s.store.Positions(ctx, s.cluster, s.o.Topic, s.topicID, starts)
	if err != nil {
		return nil, err
	}
	// After the positions: the log only grows, so an end before one is no race.
	ends, err := s.endsOf(ctx, partitions)
	if err != nil {
		return nil, err
	}
	now := s.runsOf(partitions)
	begin := make(map[int32]int64, len(partitions))
	for _, p := range partitions {
		if now[p] == runs[p] && s.within(p, next[p], starts[p], ends[p]) {
			begin[p] = next[p]
		}
	}
	s.owned.Lock()
	s.begin(begin)
	s.owned.Unlock()
	s.tell(begin)
	return begin, nil
}

func (s *session) endsOf(ctx context.Context, partitions []int32) (map[int32]int64, error) {
	listed, err := s.admin.ListEndOffsets(ctx, s.o.Topic)
	if err != nil {
		return nil, fmt.Errorf("list end offsets: %w", err)
	}
	return offsetsOf(listed, s.o.Topic, partitions)
}

// starts asks where the logs of partitions start. It returns errRecreated when the
// topic is not the session's.
func (s *session) starts(ctx context.Context, partitions []int32) (map[int32]int64, error) {
	listed, err := s.admin.ListStartOffsets(ctx, s.o.Topic)
	if err != nil {
		return nil, fmt.Errorf("list start offsets: %w", err)
	}
	// After the starts, which can become positions: an id never comes back, so they are
	// this topic's.
	cluster, id, err := identify(ctx, s.admin, s.o.Topic)
	if err != nil {
		return nil, err
	}
	if id != s.topicID || cluster != s.cluster {
		return nil, fmt.Errorf("topic %s: %w", s.o.Topic, errRecreated)
	}
	return offsetsOf(listed, s.o.Topic, partitions)
}

func offsetsOf(listed kadm.ListedOffsets, topic string, partitions []int32) (
	map[int32]int64, error) {
	offsets := make(map[int32]int64, len(partitions))
	for _, p := range partitions {
		o, ok := listed.Lookup(topic, p)
		if !ok {
			return nil, fmt.Errorf("list offsets of partition %d: no answer", p)
		}
		if o.Err != nil {
			return nil, fmt.Errorf("list offsets of partition %d: %w", p, o.Err)
		}
		offsets[p] = o.Offset
	}
	return offsets, nil
}

// reposition goes on from where the store is with partitions whose runs are dead, those
// that are still ours.
func (s *session) reposition(ctx context.Context, partitions []int32) error {
	runs := s.runsOf(partitions)
	maps.DeleteFunc(runs, func(_ int32, r *run) bool { return r == nil })
	if len(runs) == 0 {
		return nil
	}
	begin, err := s.load(ctx, runs)
	if err != nil {
		return err
	}
	s.fetchFrom(begin)
	return nil
}

// outOfRange looks why a log has nothing where runs end. What they hold was in the log
// before, and is stored all the same: only what follows it can be lost.
func (s *session) outOfRange(ctx context.Context, partitions []int32) error {
	runs := s.runsOf(partitions)
	maps.DeleteFunc(runs, func(_ int32, r *run) bool { return r == nil })
	if len(runs) == 0 {
		return nil
	}
	partitions = slices.Sorted(maps.Keys(runs))
	starts, err := s.starts(ctx, partitions)
	if err != nil {
		return err
	}
	ends, err := s.endsOf(ctx, partitions)
	if err != nil {
		return err
	}
	again := map[int32]int64{}
	for p, r := range runs {
		s.owned.Lock()
		at, inHand, dead := r.to, r.to > s.next[p], r.dead
		s.owned.Unlock()
		switch {
		case dead: // its position is to be read again
		case inHand && (at < starts[p] || at > ends[p]):
			s.outside(p, at, starts[p], ends[p], true)
		case s.within(p, at, starts[p], ends[p]):
			again[p] = at
		}
	}
	s.fetchFrom(again)
	return nil
}

// fetchFrom moves the client.
func (s *session) fetchFrom(begin map[int32]int64) {
	offsets := make(map[int32]kgo.EpochOffset, len(begin))
	for p, at := range begin {
		offsets[p] = kgo.EpochOffset{Epoch: -1, Offset: at}
	}
	s.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{s.o.Topic: offsets})
}
