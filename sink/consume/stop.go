package consume

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stop is why a partition waits for a person, who decides by moving its position.
type stop struct {
	why error
	at  int64 // the position, or where it will be when what is in hand is stored
	// inHand says that what lies before at is still being stored: only a position behind
	// at is a decision. Who moves it back is noticed by recheck.
	inHand bool
}

func (s *stop) decided(next int64) bool {
	if s.inHand {
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
	if next < start || next > end {
		s.outside(p, next, start, end, false)
		return false
	}
	if s.forgetStop(p) {
		s.client.ResumeFetchPartitions(map[string][]int32{s.o.Topic: {p}})
	}
	return true
}

// outside stops a partition whose log does not have what follows a position, or what
// follows the records in hand.
func (s *session) outside(p int32, next, start, end int64, inHand bool) {
	why := &stop{at: next, inHand: inHand}
	if next < start {
		s.countLost(p, next, start)
		why.why = fmt.Errorf("position is %d, but the log starts at %d: "+
			"%d offsets are lost; to go on behind them: %s",
			next, start, start-next, s.o.Resume(p, start, false))
	} else {
		why.why = fmt.Errorf("position is %d, but the log ends at %d: "+
			"it is not the log that was stored; to read it from its start: %s",
			next, end, s.o.Resume(p, start, false))
	}
	s.stopPartition(p, why)
}

// countLost counts offsets once, however often they are found missing.
func (s *session) countLost(p int32, from, to int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := log{s.topicID, p}
	fresh := int64(0)
	s.counted[l], fresh = s.counted[l].add(from, to)
	s.lost.AddInt64(fresh)
}

// spans are ranges [from, to) of offsets that do not touch.
type spans [][2]int64

// add returns the ranges with one more, and how many offsets of it were in none.
func (s spans) add(from, to int64) (all spans, fresh int64) {
	if to <= from {
		return s, 0
	}
	fresh = to - from
	whole := [2]int64{from, to}
	for _, x := range s {
		if x[1] < from || x[0] > to {
			all = append(all, x)
			continue
		}
		fresh -= min(x[1], to) - max(x[0], from)
		whole = [2]int64{min(whole[0], x[0]), max(whole[1], x[1])}
	}
	return append(all, whole), fresh
}

// stopPartition lets a partition wait for a person.
func (s *session) stopPartition(p int32, why *stop) {
	if !why.inHand {
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

// damagedFor is for how long such a fetch counts. At the end of an idle partition all are of
// the same offset, however far apart; one that lies damaged in the log fails within seconds
// again.
const damagedFor = 10 * time.Minute

type damage struct {
	at    int64
	times int
	last  time.Time
}

// countDamage returns how often a fetch at this offset was damaged of late, with this time.
func (c *Consumer) countDamage(p int32, at int64) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.damaged[p]
	if d.at != at || time.Since(d.last) > damagedFor {
		d = damage{at: at}
	}
	d.times++
	d.last = time.Now()
	c.damaged[p] = d
	return d.times
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
	if s.countDamage(p, at) < damagedMax {
		return fmt.Errorf("fetch %s/%d at %d: %w", s.o.Topic, p, at, err)
	}
	s.stopPartition(p, &stop{at: at, inHand: true, why: fmt.Errorf("batch at %d cannot be read: %w; "+
		"to go on behind it, once you know where it ends: %s", at, err, s.o.Resume(p, at+1, true))})
	return nil
}

func (s *session) tooLarge(err *kgo.ErrDecompressTooLarge) {
	s.stopPartition(err.Partition, &stop{at: err.Offset, inHand: true, why: fmt.Errorf(
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
			from := next[p]
			if why.inHand {
				from = max(from, why.at)
			}
			s.countLost(p, from, starts[p])
		}
	}
	return nil
}
