package forward

import (
	"context"
	"errors"
	"time"
)

// entry is one record that was sent and is not done.
type entry struct {
	seq       uint64
	size      int64
	sent      time.Time
	acked     bool
	done      bool // acked and, where asked for, confirmed
	partition int32
	offset    int64
}

// inFlightMax bounds the records that the client holds.
const inFlightMax = 5000

// admit waits until there is room for a record.
func (f *Forwarder) admit(ctx context.Context, seq uint64, size int64) error {
	for {
		f.mu.Lock()
		room := f.bytes == 0 || f.bytes+size <= f.o.Window
		room = room && f.inFlight < inFlightMax && (f.flying == 0 || f.flying+size <= f.o.Window)
		if seq <= f.aloneUntil+1 && f.aloneUntil > 0 { // the one behind it must not join it
			room = room && f.inFlight == 0
		}
		f.mu.Unlock()
		if room {
			return nil
		}
		select {
		case <-f.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// entry finds a record of the window: numbers rise, with rare gaps.
func (f *Forwarder) entry(seq uint64) *entry {
	lo, hi := 0, len(f.window)
	for lo < hi {
		mid := (lo + hi) / 2
		if f.window[mid].seq < seq {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return &f.window[lo]
}

// advance moves the watermark over the done records at the front.
func (f *Forwarder) advance() {
	n := 0
	for n < len(f.window) && f.window[n].done {
		f.bytes -= f.window[n].size
		f.next = f.window[n].seq + 1
		n++
	}
	f.window = f.window[n:]
}

// wake makes admit look again.
func (f *Forwarder) wake() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

var errRecreated = errors.New("topic was made anew")

// Confirm tells that the sink has committed all records of a topic below these offsets,
// by partition. Of a topic that we do not know yet it makes us look.
func (f *Forwarder) Confirm(topicID [16]byte, next map[int32]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if topicID != f.topicID {
		if topicID != f.formerID && f.abort != nil {
			f.abort(errRecreated)
		}
		return
	}
	for p, offset := range next {
		f.confirmed[p] = max(f.confirmed[p], offset)
	}
	for i := range f.window {
		e := &f.window[i]
		e.done = e.done || e.acked && f.confirmed[e.partition] > e.offset
	}
	f.advance()
	f.wake()
}
