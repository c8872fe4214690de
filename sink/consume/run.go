package consume

import "github.com/twmb/franz-go/pkg/kgo"

// run is what was fetched of one partition and is in no batch yet. It lives from
// when a position is read until the partition is taken away or its position read
// anew; then it is dead, and so is each batch that was cut from it.
type run struct {
	partition int32
	from, to  int64 // to is the offset after the last record, else from
	records   []Record
	bytes     int
	dead      bool
}

// overhead is what a record takes beside its key and value, about.
const overhead = 64

func (r Record) size() int { return len(r.Key) + len(r.Value) + overhead }

// begin makes runs of partitions that are read from their positions on. The caller
// holds owned.
func (s *session) begin(positions map[int32]int64) {
	for p, at := range positions {
		s.end(p)
		s.leastLane().runs[p] = &run{partition: p, from: at, to: at}
		s.next[p] = at
	}
}

// end drops what is fetched of a partition. The caller holds owned.
func (s *session) end(partition int32) {
	delete(s.next, partition)
	for _, l := range s.lanes {
		if r := l.runs[partition]; r != nil {
			delete(l.runs, partition)
			s.kill(r)
		}
	}
}

// kill drops what a run holds and wakes who waits for it. The caller holds owned.
func (s *session) kill(r *run) {
	r.dead = true
	s.held -= r.bytes
	r.records, r.bytes = nil, 0
	s.changed()
}

// leastLane spreads the partitions that are ours, whichever they are.
func (s *session) leastLane() *lane {
	least := s.lanes[0]
	for _, l := range s.lanes[1:] {
		if len(l.runs) < len(least.runs) {
			least = l
		}
	}
	return least
}

// take adds what was fetched to the runs. Records before a run's end were fetched
// before the position moved, and are left out.
func (s *session) take(fetches kgo.Fetches) {
	s.owned.Lock()
	defer s.owned.Unlock()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		r := s.runOf(f.Partition)
		if r == nil || r.dead {
			return
		}
		for _, k := range f.Records {
			if k.Offset < r.to {
				continue
			}
			record := recordOf(k)
			r.records = append(r.records, record)
			r.bytes += record.size()
			s.held += record.size()
			r.to = k.Offset + 1
		}
	})
	s.changed()
}

func (s *session) runOf(partition int32) *run {
	for _, l := range s.lanes {
		if r := l.runs[partition]; r != nil {
			return r
		}
	}
	return nil
}

// cut takes up to so many rows and bytes, and at least one row, off a run.
func (r *run) cut(rows, bytes int) (p Part, size int) {
	n := 0
	for n < len(r.records) && n < rows && (n == 0 || size+r.records[n].size() <= bytes) {
		size += r.records[n].size()
		n++
	}
	p = Part{Partition: r.partition, From: r.from, To: r.to, Records: r.records[:n:n]}
	if n < len(r.records) {
		p.To = r.records[n].Offset
	}
	r.records, r.from = r.records[n:], p.To
	r.bytes -= size
	return p, size
}

// changed wakes everybody who waits for the runs. The caller holds owned.
func (s *session) changed() {
	s.holding.Set(float64(s.held))
	close(s.news)
	s.news = make(chan struct{})
}
