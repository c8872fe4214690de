package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"

	"footfall/failpoint"
)

// groupMax bounds the bytes of one group commit, so that a flood cannot make one
// append wait for the writing of all others.
const groupMax = 1 << 20

// write is the only writer. Each turn it takes what is waiting, writes it as one
// group with one fsync, and wakes those who wait.
func (s *Spool) write() {
	defer close(s.done)
	var carry *pending // did not fit the last group
	buf := make([]byte, 0, groupMax+commitSize)
	for {
		first := carry
		carry = nil
		if first == nil {
			var ok bool
			if first, ok = <-s.queue; !ok {
				return
			}
		}
		batch := []*pending{first}
		if first.skipTo == 0 {
			// Whoever is ready to append does so first. Without this the first append of
			// an idle moment wakes us at once, is alone in its group, and the others wait
			// for the next fsync one by one: on one core a thousand clients got a sixth.
			runtime.Gosched()
			batch, carry = s.gather(first)
		}
		err := s.answer(batch, buf)
		for _, p := range batch {
			p.done <- err // never waits: there is room for one
		}
	}
}

func (s *Spool) answer(batch []*pending, buf []byte) (err error) {
	err = s.bounded(func() error {
		if next := batch[0].skipTo; next > 0 {
			_, err := s.roll(next)
			return err
		}
		return s.commit(batch, buf)
	})
	s.mu.Lock()
	well := s.failed == nil
	s.failed, s.failedAt = err, time.Now()
	s.mu.Unlock()
	if well && err != nil && !errors.Is(err, ErrFull) {
		s.o.Logger.Error("spool takes no records", "err", err)
	}
	return err
}

// gather takes further appends without waiting, as long as the group stays within
// groupMax.
func (s *Spool) gather(first *pending) (batch []*pending, carry *pending) {
	limit := min(groupMax, s.o.SegmentBytes-headerSize-commitSize)
	batch = []*pending{first}
	total := first.bytes
	for total < limit {
		select {
		case p, ok := <-s.queue:
			if !ok {
				return batch, nil
			}
			if p.skipTo > 0 || total+p.bytes > limit {
				return batch, p
			}
			batch = append(batch, p)
			total += p.bytes
		default:
			return batch, nil
		}
	}
	return batch, nil
}

func (s *Spool) commit(batch []*pending, buf []byte) error {
	s.mu.Lock()
	active := s.segments[len(s.segments)-1]
	s.mu.Unlock()
	if !active.broken && s.removed(active) {
		s.giveUp(active.first)
	}
	s.mu.Lock()
	seq := max(s.next, s.durable+1)
	s.mu.Unlock()
	b := buf[:0]
	first, records := seq, 0
	for _, p := range batch {
		for _, r := range p.records {
			b = appendRecord(b, seq, r)
			seq++
		}
		records += len(p.records)
	}
	b = appendCommit(b, seq-1)
	if active.broken || active.end+int64(len(b)) > s.o.SegmentBytes {
		next, err := s.roll(first)
		if err != nil {
			return err
		}
		active = next
	}
	started := time.Now()
	if err := writeAndSync(active, b); err != nil {
		s.abandon(active, err, seq)
		return err
	}
	s.stats.syncSeconds.UpdateDuration(started)
	s.stats.groups.Inc()
	s.stats.appended.Add(records)

	s.mu.Lock()
	defer s.mu.Unlock()
	active.end += int64(len(b))
	active.wrote = started
	active.last, s.durable = seq-1, seq-1
	s.grown.Broadcast()
	return nil
}

// bounded does something to the disk. When that takes too long those who wait are sent away,
// and so is who comes, until it is through.
func (s *Spool) bounded(do func() error) error {
	now, began := s.answering.Load(), time.Now()
	timer := time.AfterFunc(hangs, func() {
		s.o.Logger.Error("the disk of the spool does not answer", "for", hangs)
		now.since = began
		close(now.ended)
	})
	err := do()
	if !timer.Stop() {
		<-now.ended
		s.o.Logger.Info("the disk of the spool answers again", "after", time.Since(began))
		s.answering.Store(&answering{ended: make(chan struct{})})
	}
	return err
}

// removed looks once a second whether the file being written is there still: what goes into
// one that has no name is gone with the process.
func (s *Spool) removed(active *segment) bool {
	if time.Since(s.looked) < time.Second {
		return false
	}
	s.looked = time.Now()
	_, err := os.Stat(active.path)
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.o.Logger.Error("somebody removed the spool segment being written: it is forwarded while this "+
		"process lives", "path", active.path, "records_to", active.last)
	return true
}

func writeAndSync(g *segment, b []byte) error {
	if _, err := g.file.WriteAt(b, g.end); err != nil {
		return fmt.Errorf("write spool segment: %w", err)
	}
	failpoint.Hit(failpoint.SpoolWritten)
	if err := g.file.dataSync(); err != nil {
		return fmt.Errorf("fsync spool segment: %w", err)
	}
	failpoint.Hit(failpoint.SpoolSynced)
	return nil
}

// roll begins a new segment whose first record has number first.
func (s *Spool) roll(first uint64) (*segment, error) {
	s.mu.Lock()
	full, before := s.atMax(), s.durable
	s.mu.Unlock()
	if full {
		return nil, ErrFull
	}
	if err := s.makeRoom(); err != nil {
		return nil, err
	}
	g, err := newSegment(s.o, s.id, first, before)
	if err != nil {
		s.giveUp(first)
		return nil, fmt.Errorf("begin spool segment: %w", err)
	}
	s.mu.Lock()
	unused := s.segments[len(s.segments)-1]
	if unused.broken && unused.last == unused.before {
		s.segments = s.segments[:len(s.segments)-1]
	} else {
		unused = nil
	}
	s.segments = append(s.segments, g)
	s.next = first
	s.grown.Broadcast()
	s.mu.Unlock()
	if unused != nil {
		// One without a record, as each failed group leaves behind: no watermark would
		// ever get past it, and they would fill the spool.
		if err := unused.letGo(s.o.disk); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.o.Logger.Warn("left an unused spool segment behind", "path", unused.path, "err", err)
		}
	}
	return g, nil
}

// giveUp is for a segment that could not be made, or was removed. Its file may be there after
// all, at the next start: its header then ends the segment before it, which hence must not
// grow, and its name must not be wanted again, nor be that of two segments.
func (s *Spool) giveUp(first uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments[len(s.segments)-1].broken = true
	s.next = max(s.next, first+1)
}

// abandon leaves a file that could not be written or fsynced; the next group begins
// another. The numbers of the failed group are not used again: some of its bytes may
// be on disk.
func (s *Spool) abandon(g *segment, cause error, next uint64) {
	s.stats.syncFailed.Inc()
	s.o.Logger.Error("abandoned spool segment", "path", g.path, "err", cause)
	s.mu.Lock()
	defer s.mu.Unlock()
	g.broken, s.next = true, next
}
