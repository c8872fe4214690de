package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Reader reads records in order, from a number on, and waits for new ones. It is
// for one goroutine. Close it.
type Reader struct {
	s    *Spool
	next uint64 // number of the next record wanted

	file  reading // of the segment being read
	first uint64  // that segment's first number
	at    int64
	buf   []byte // groups read ahead, whole ones only

	refused uint64 // numbers of failed appends since the last record
	queue   []Record
}

// reading is an open segment file: a handle of the reader's own or, where somebody has removed
// the file, the writer's.
type reading interface {
	io.ReaderAt
	io.Closer
}

type lent struct{ reading }

func (lent) Close() error { return nil }

// Reader starts at record number from, up to which everything is let go: where the oldest
// file begins later, records are missing. From 1 nothing is known, as when a watermark was
// lost, and what is not there any more is skipped without being counted.
func (s *Spool) Reader(from uint64) *Reader { return &Reader{s: s, next: max(from, 1)} }

// Next returns the next record, waiting for one to become durable. Its payload is
// valid until the next call. It returns ctx's error, ErrClosed when the spool was
// closed, or the disk's.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	for {
		for len(r.queue) > 0 {
			rec := r.queue[0]
			r.queue = r.queue[1:]
			if rec.Seq >= r.next {
				r.next = rec.Seq + 1
				rec.Refused, r.refused = r.refused, 0
				return rec, nil
			}
		}
		if err := r.fill(ctx); err != nil {
			return Record{}, err
		}
	}
}

// Close frees the reader's file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// fill waits until there is something to read and reads it.
func (r *Reader) fill(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		r.s.grown.Broadcast()
	})
	defer stop()

	s := r.s
	s.mu.Lock()
	for {
		if err := ctx.Err(); err != nil {
			s.mu.Unlock()
			return err
		}
		if s.stopping {
			s.mu.Unlock()
			return ErrClosed
		}
		seg, i := r.current()
		if r.file != nil && r.first == seg.first && r.at < seg.end && seg.last >= r.next {
			end, last := seg.end, seg.last
			s.mu.Unlock()
			return r.read(end, last)
		}
		if r.file == nil || r.first != seg.first {
			s.mu.Unlock()
			if i == 0 && r.next > 1 {
				r.leave(seg.before)
			}
			return r.open(seg)
		}
		if i+1 < len(s.segments) {
			next := s.segments[i+1]
			s.mu.Unlock()
			r.leave(next.before)
			if r.next > next.before && next.first > r.next {
				r.refused += next.first - r.next
			}
			r.next = max(r.next, next.first)
			return r.open(next)
		}
		s.grown.Wait()
	}
}

// current returns the segment that holds, or will hold, record r.next.
func (r *Reader) current() (*segment, int) {
	segments := r.s.segments
	i := len(segments) - 1
	for i > 0 && segments[i].first > r.next {
		i--
	}
	return segments[i], i
}

// open goes on with a segment, of which it reads what never changes.
func (r *Reader) open(g *segment) error {
	var file reading
	file, err := os.Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = lent{g.file}, nil
	}
	if err != nil {
		return fmt.Errorf("open spool segment: %w", err)
	}
	r.Close()
	r.file, r.first, r.at, r.next = file, g.first, headerSize, max(r.next, g.first)
	return nil
}

// read takes the next groups of the segment, whose committed bytes end at end.
func (r *Reader) read(end int64, last uint64) error {
	size := min(end-r.at, 2*groupMax)
	for {
		if int64(cap(r.buf)) < size {
			r.buf = make([]byte, size)
		}
		b := r.buf[:size]
		if _, err := r.file.ReadAt(b, r.at); err != nil {
			return fmt.Errorf("read spool segment: %w", err)
		}
		if n := r.take(b, last); n > 0 {
			r.at += int64(n)
			return nil
		}
		if r.at+size == end { // damaged up to the segment's end
			if skip, seq := resync(b); skip > 0 {
				r.damaged(seq, skip)
				return nil
			}
			r.damaged(last, int(size))
			return nil
		}
		size = min(end-r.at, size*2) // one append can be larger than groupMax
	}
}

// take queues the whole groups in b up to record last and returns their length. What
// follows last was refused: it is of a group whose fsync failed.
func (r *Reader) take(b []byte, last uint64) int {
	r.queue = r.queue[:0]
	n := 0
	for {
		records, _, size := group(b[n:])
		if size == 0 || len(records) > 0 && records[0].Seq > last {
			return n
		}
		if n == 0 && len(records) > 0 {
			r.leave(records[0].Seq - 1)
		}
		r.queue = append(r.queue, records...)
		n += size
	}
}

// damaged steps over bytes that hold no intact group.
func (r *Reader) damaged(last uint64, bytes int) {
	at := r.at
	r.at += int64(bytes)
	if from := r.next; r.leave(last) {
		r.s.o.Logger.Error("stepped over damaged spool bytes",
			"segment", r.first, "offset", at, "bytes", bytes, "from_seq", from, "to_seq", last)
		r.s.mark(r.first)
	}
}

// leave counts the records between the one wanted and number last, which ought to
// have been there, and reports whether there are any: nobody misses those before the
// one wanted.
func (r *Reader) leave(last uint64) bool {
	if last < r.next {
		return false
	}
	r.s.missing(gap{r.next, last})
	r.next = last + 1
	return true
}
