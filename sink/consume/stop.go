package consume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stop is why a partition waits for a person, who decides by moving its position.
type stop struct {
	why error
	at  int64 // the position, or the offset of the batch that cannot be read
	// batch says that it is one: what lies before it is still being stored, and only a
	// position behind at is a decision.
	batch bool
}

func (s *stop) decided(next int64) bool {
	if s.batch {
		return next > s.at
	}
	return next != s.at
}

// errDecided ends a session whose stopped partition may go on.
var errDecided = errors.New("position of a stopped partition was moved")

// log names a partition of one topic: its offsets mean nothing in another.
type log struct {
	topicID   [16]byte
	partition int32
}

// within reports whether the log still has what follows a position, and stops the
// partition if not.
func (s *session) within(p int32, next, start, end int64) bool {
	switch {
	case next < start:
		s.countLost(p, next, start)
		s.stopPartition(p, &stop{at: next, why: fmt.Errorf("position is %d, but the log starts at %d: "+
			"%d offsets are lost; to go on behind them: %s",
			next, start, start-next, s.o.Resume(p, start, false))})
		return false
	case next > end:
		s.stopPartition(p, &stop{at: next, why: fmt.Errorf("position is %d, but the log ends at %d: "+
			"it is not the log that was stored; to read it from its start: %s",
			next, end, s.o.Resume(p, start, false))})
		return false
	}
	if s.forgetStop(p) {
		s.client.ResumeFetchPartitions(map[string][]int32{s.o.Topic: {p}})
	}
	return true
}

// countLost counts offsets once, however often they are found missing.
func (s *session) countLost(p int32, from, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := log{s.topicID, p}
	if from = max(from, s.counted[l]); to > from {
		s.lost.AddInt64(to - from)
		s.counted[l] = to
	}
}

// stopPartition lets a partition wait for a person.
func (s *session) stopPartition(p int32, why *stop) {
	if !why.batch {
		s.owned.Lock()
		s.end(p)
		s.owned.Unlock()
	}
	s.client.PauseFetchPartitions(map[string][]int32{s.o.Topic: {p}})
	s.mu.Lock()
	_, known := s.stopped[p]
	s.stopped[p] = why
	s.mu.Unlock()
	if !known {
		s.o.Logger.Error("partition is stopped", "topic", s.o.Topic, "partition", p, "err", why.why)
	}
}

func (s *session) forgetStop(p int32) (stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, stopped = s.stopped[p]
	delete(s.stopped, p)
	return stopped
}

// damagedMax is how often a batch that cannot be read is fetched again, in case it was
// the network.
const damagedMax = 3

type damage struct {
	at    int64
	times int
}

// unreadable deals with a batch that the client cannot unpack or whose checksum is
// wrong. It returns an error to have it fetched again.
func (s *session) unreadable(p int32, err error) error {
	s.owned.Lock()
	at := s.next[p]
	if r := s.runOf(p); r != nil {
		at = r.to
	}
	s.owned.Unlock()
	s.mu.Lock()
	d := s.damaged[p]
	if d.at != at {
		d = damage{at: at}
	}
	d.times++
	s.damaged[p] = d
	s.mu.Unlock()
	if d.times < damagedMax {
		return fmt.Errorf("fetch %s/%d at %d: %w", s.o.Topic, p, at, err)
	}
	s.stopPartition(p, &stop{at: at, batch: true, why: fmt.Errorf("batch at %d cannot be read: %w; "+
		"to go on behind it, once you know where it ends: %s", at, err, s.o.Resume(p, at+1, true))})
	return nil
}

func (s *session) tooLarge(err *kgo.ErrDecompressTooLarge) {
	s.stopPartition(err.Partition, &stop{at: err.Offset, batch: true, why: fmt.Errorf(
		"batch at %d is larger than %d MiB unpacked; to go on behind it: %s",
		err.Offset, decompressBytes>>20, s.o.Resume(err.Partition, err.NextOffset, true))})
}

// review looks whether a person has decided, and counts what is lost meanwhile.
func (s *session) review(ctx context.Context) error {
	s.mu.Lock()
	waiting := maps.Clone(s.stopped)
	s.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	starts, err := s.starts(ctx, slices.Sorted(maps.Keys(waiting)))
	if err != nil {
		return err
	}
	next, err := s.store.Positions(ctx, s.cluster, s.o.Topic, s.topicID, starts)
	if err != nil {
		return err
	}
	for p, why := range waiting {
		switch {
		case why.decided(next[p]):
			s.fail(errDecided)
		case next[p] < starts[p]:
			s.countLost(p, next[p], starts[p])
		}
	}
	return nil
}
