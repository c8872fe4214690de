package consume

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// lanes is how many batches are written side by side.
const lanes = 4

const (
	// batchAge is how long after the batch before it one that is not full may begin.
	// So a lonely record is stored at once, and a thousand a second are five
	// transactions.
	batchAge = 200 * time.Millisecond
	// heldBatches bounds the records that are fetched and not stored, in batches of
	// Options.BatchBytes. Beyond it nothing is polled.
	heldBatches = 8
)

// lane writes the batches of some partitions, one after the other. While one is
// written the next is prepared.
type lane struct {
	*session
	index int
	runs  map[int32]*run // guarded by owned, as all here
	turn  int32          // partition that the next batch begins with
	due   time.Time      // when the next batch that is not full may begin
}

// job is a batch with what it was cut from.
type job struct {
	batch Batch
	runs  []*run
	bytes int
	write func(context.Context) error
}

// work prepares and writes until ctx ends.
func (l *lane) work(ctx context.Context) {
	prepared := make(chan job)
	var working sync.WaitGroup
	working.Go(func() {
		defer close(prepared)
		for {
			j, ok := l.await(ctx)
			if !ok {
				return
			}
			j.write = l.prepare(j.batch)
			select {
			case prepared <- j:
			case <-ctx.Done():
				return
			}
		}
	})
	for j := range prepared {
		l.write(ctx, j)
	}
	working.Wait()
}

func (s *session) prepare(b Batch) func(context.Context) error {
	if p, ok := s.store.(Preparer); ok {
		return p.Prepare(b)
	}
	return func(ctx context.Context) error { return s.store.Write(ctx, b) }
}

// await waits until a batch is due. It reports false when ctx ended.
func (l *lane) await(ctx context.Context) (job, bool) {
	for {
		l.owned.Lock()
		j, wait := l.cut(time.Now())
		news := l.news
		l.owned.Unlock()
		if len(j.runs) > 0 {
			return j, true
		}
		var alarm <-chan time.Time
		if wait > 0 {
			alarm = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return j, false
		case <-news:
		case <-alarm:
		}
	}
}

// cut makes the batch that is due, or returns how long to wait for it; 0 is until
// there is news. The caller holds owned.
func (l *lane) cut(now time.Time) (j job, wait time.Duration) {
	rows, bytes := 0, 0
	for _, r := range l.runs {
		rows, bytes = rows+len(r.records), bytes+r.bytes
	}
	full := rows >= l.o.BatchRows || bytes >= l.o.BatchBytes
	if rows == 0 {
		return j, 0
	}
	if wait = l.due.Sub(now); wait > 0 && !full {
		return j, wait
	}
	l.due = now.Add(batchAge)
	j.batch = Batch{ClusterID: l.cluster, Topic: l.o.Topic, TopicID: l.topicID}
	left, room := l.o.BatchRows, l.o.BatchBytes
	for _, r := range l.inTurn() {
		first := len(j.batch.Parts) == 0
		if len(r.records) == 0 || left == 0 || !first && r.records[0].size() > room {
			continue
		}
		p, size := r.cut(left, room)
		left, room = left-len(p.Records), room-size
		l.turn = r.partition + 1
		if len(r.records) > 0 {
			l.turn = r.partition
		}
		j.batch.Parts = append(j.batch.Parts, p)
		j.runs, j.bytes = append(j.runs, r), j.bytes+size
	}
	return j, 0
}

// inTurn lists the runs, beginning where the last batch ended.
func (l *lane) inTurn() []*run {
	list := make([]*run, 0, len(l.runs))
	ordered := slices.Sorted(maps.Keys(l.runs))
	first, _ := slices.BinarySearch(ordered, l.turn)
	for i := range ordered {
		list = append(list, l.runs[ordered[(first+i)%len(ordered)]])
	}
	return list
}
