package consume

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// preparer is a memory that prepares, and says so.
type preparer struct {
	*memory
	prepared func(b Batch)
	writing  func(b Batch)
}

func (s *preparer) Prepare(b Batch) func(context.Context) error {
	s.prepared(b)
	return func(ctx context.Context) error {
		s.writing(b)
		return s.memory.Write(ctx, b)
	}
}

// meeting lets calls pass only once so many have come.
type meeting struct {
	mu    sync.Mutex
	left  int
	there chan struct{}
}

func newMeeting(n int) *meeting { return &meeting{left: n, there: make(chan struct{})} }

func (m *meeting) come() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left--; m.left == 0 {
		close(m.there)
	}
}

func (m *meeting) await(t *testing.T) {
	select {
	case <-m.there:
	case <-time.After(15 * time.Second):
		t.Error("waited in vain for the others")
	}
}

func TestTheNextBatchIsPreparedWhileOneIsWritten(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 40)
	second := newMeeting(2)
	o := b.options()
	o.BatchRows = 10
	start(t, o, &preparer{m, func(Batch) { second.come() }, func(Batch) { second.await(t) }})
	wantValues(t, m, 0, 0, 40)
}

func TestPartitionsAreWrittenSideBySide(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	for p := range int32(4) {
		b.produce(t, p, 0, 10)
	}
	all := newMeeting(lanes)
	writing := func(Batch) {
		all.come()
		all.await(t)
	}
	start(t, b.options(), &preparer{m, func(Batch) {}, writing})
	for p := range int32(4) {
		wantValues(t, m, p, 0, 10)
	}
}

func TestABatchInPreparationIsDroppedWithTheOneBeforeIt(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 40)
	second := newMeeting(2)
	var once sync.Once
	o := b.options()
	o.BatchRows = 10
	start(t, o, &preparer{m, func(Batch) { second.come() }, func(Batch) {
		once.Do(func() {
			second.await(t)
			m.mu.Lock()
			defer m.mu.Unlock()
			m.next[0] = 25 // another consumer went further
		})
	}})
	eventually(t, "the rest is stored", func() bool { return len(m.stored(0)) >= 15 })
	if got := m.stored(0); len(got) != 15 || got[0] != "v25" || got[14] != "v39" {
		t.Errorf("stored %v, want v25 to v39", got)
	}
}

func TestWhatIsFetchedStaysBoundedWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	m.fails(1<<30, errors.New("database is away"))
	o := b.options()
	o.BatchRows, o.BatchBytes = 10, 1000
	c, _ := start(t, o, m)
	for p := range int32(4) {
		b.produce(t, p, 0, 2000)
	}
	held := o.Metrics.GetOrCreateGauge("footfall_sink_held_bytes", nil)
	bound := heldBatches * o.BatchBytes
	eventually(t, "so much is held that nothing more is polled", func() bool {
		return held.Get() >= float64(bound)
	})
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), "store takes no batch: database is away")
	})
	if got, most := held.Get(), bound+o.BatchRows*(overhead+10); got > float64(most) {
		t.Errorf("%v bytes are held, at most %d may be", got, most)
	}
	m.fails(0, nil)
	for p := range int32(4) {
		wantValues(t, m, p, 0, 2000)
	}
	eventually(t, "nothing is held", func() bool { return held.Get() == 0 })
}

// newLane returns a lane of runs with so many records of 36 bytes each.
func newLane(rows, bytes int, records ...int) *lane {
	s := &session{Consumer: New(Options{BatchRows: rows, BatchBytes: bytes,
		Metrics: metrics.NewSet()}, nil), news: make(chan struct{})}
	l := &lane{session: s, runs: map[int32]*run{}}
	for p, n := range records {
		r := &run{partition: int32(p), from: 100, to: 100 + int64(n)}
		for i := range n {
			k := Record{Offset: 100 + int64(i), Value: make([]byte, 36)}
			r.records, r.bytes = append(r.records, k), r.bytes+k.size()
		}
		l.runs[r.partition] = r
	}
	return l
}

func TestABatchEndsAtItsRowsAndBytes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows, bytes int
		records     []int
		want        [][3]int64 // partition, from, to
	}{
		"all of it":        {100, 1 << 20, []int{2, 0, 3}, [][3]int64{{0, 100, 102}, {2, 100, 103}}},
		"rows":             {4, 1 << 20, []int{3, 3}, [][3]int64{{0, 100, 103}, {1, 100, 101}}},
		"bytes":            {100, 250, []int{3, 3}, [][3]int64{{0, 100, 102}}},
		"one large record": {100, 10, []int{3, 3}, [][3]int64{{0, 100, 101}}},
	} {
		l := newLane(c.rows, c.bytes, c.records...)
		j, _ := l.cut(time.Now())
		var got [][3]int64
		for _, p := range j.batch.Parts {
			got = append(got, [3]int64{int64(p.Partition), p.From, p.To})
			if n := len(p.Records); p.Records[0].Offset != p.From || p.Records[n-1].Offset != p.To-1 {
				t.Errorf("%s: records are not those of [%d, %d)", name, p.From, p.To)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: batch is %v, want %v", name, got, c.want)
		}
	}
}

func TestBatchesGoRoundThePartitions(t *testing.T) {
	t.Parallel()
	l := newLane(10, 1<<20, 15, 30, 10)
	var got []int32
	for range 6 {
		j, wait := l.cut(time.Now())
		if wait > 0 {
			l.due = time.Time{} // the last one is not full
			j, _ = l.cut(time.Now())
		}
		for _, p := range j.batch.Parts {
			got = append(got, p.Partition)
		}
	}
	if want := []int32{0, 0, 1, 1, 1, 1, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("parts are of partitions %v, want %v", got, want)
	}
}

func TestABatchThatIsNotFullWaitsForItsAge(t *testing.T) {
	t.Parallel()
	now := time.Now()
	l := newLane(10, 1<<20, 5)
	if j, wait := l.cut(now); len(j.runs) != 1 || wait != 0 {
		t.Fatalf("the first one waits %v", wait)
	}
	if _, wait := l.cut(now); wait != 0 {
		t.Errorf("nothing is waited for %v", wait)
	}
	l.runs[0] = newLane(10, 1<<20, 9).runs[0]
	if j, wait := l.cut(now.Add(batchAge / 4)); len(j.runs) != 0 || wait != batchAge*3/4 {
		t.Errorf("got %d parts, wait %v", len(j.runs), wait)
	}
	if j, _ := l.cut(now.Add(batchAge)); len(j.runs) != 1 {
		t.Error("a batch of that age waits")
	}
	l.runs[0] = newLane(10, 1<<20, 10).runs[0]
	if j, _ := l.cut(now.Add(batchAge)); len(j.runs) != 1 {
		t.Error("a full batch waits")
	}
}
