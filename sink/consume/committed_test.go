package consume

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
)

// told keeps what a consumer tells Committed.
type told struct {
	mu   sync.Mutex
	next map[int32][]int64
}

func (c *told) committed(_ [16]byte, next map[int32]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = map[int32][]int64{}
	}
	for p, n := range next {
		c.next[p] = append(c.next[p], n)
	}
}

func (c *told) of(partition int32) []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.next[partition])
}

// unanswered stores, and then says once that nobody knows.
type unanswered struct {
	*memory
	once sync.Once
}

func (s *unanswered) Write(ctx context.Context, b Batch) error {
	err := s.memory.Write(ctx, b)
	s.once.Do(func() {
		if err == nil {
			err = errors.New("commit got no answer")
		}
	})
	return err
}

func TestCommittedIsToldWhatACommitWithoutAnAnswerStored(t *testing.T) {
	t.Parallel()
	b, m, c := newBroker(t), newMemory(), &told{}
	b.produce(t, 1, 0, 3)
	o := b.options()
	o.Committed = c.committed
	start(t, o, &unanswered{memory: m})
	wantValues(t, m, 1, 0, 3)
	eventually(t, "3 is told", func() bool { return slices.Contains(c.of(1), 3) })
}

// The sink may end between a commit and its answer, and find nothing new afterwards.
func TestCommittedIsToldThePositionsThatASinkStartsFrom(t *testing.T) {
	t.Parallel()
	b, m, c := newBroker(t), newMemory(), &told{}
	b.produce(t, 0, 0, 10)
	m.next[0] = 10
	o := b.options()
	o.Committed = c.committed
	start(t, o, m)
	eventually(t, "10 is told", func() bool { return slices.Contains(c.of(0), 10) })
}

func TestCommittedIsNotToldAPositionBeyondTheLog(t *testing.T) {
	t.Parallel()
	b, m, c := newBroker(t), newMemory(), &told{}
	b.produce(t, 0, 0, 5)
	m.next[0], m.next[1] = 7, 0
	o := b.options()
	o.Committed = c.committed
	consumer, _ := start(t, o, m)
	eventually(t, "the partition is stopped", func() bool {
		consumer.mu.Lock()
		defer consumer.mu.Unlock()
		return consumer.stopped[0] != nil
	})
	b.produce(t, 1, 0, 1)
	eventually(t, "1 is told", func() bool { return slices.Contains(c.of(1), 1) })
	if got := c.of(0); len(got) > 0 {
		t.Errorf("told %v of a log that ends at 5", got)
	}
}

func TestCommittedIsNeverToldPositionsOfATopicThatIsGone(t *testing.T) {
	t.Parallel()
	b, c := newBroker(t), &told{}
	m := &byTopic{stores: map[[16]byte]*memory{}}
	b.produce(t, 0, 0, 10)
	old := m.of(b.TopicInfo(Topic).TopicID)
	// Another consumer stored the batch; then the topic is made anew.
	old.before = func(Batch) error {
		old.next[0] = 10
		if err := b.DeleteTopic(Topic); err != nil {
			t.Error(err)
		}
		if err := b.CreateTopic(Topic, 4, nil); err != nil {
			t.Error(err)
		}
		return ErrMoved
	}
	o := b.options()
	o.Committed = c.committed
	consumer, _ := start(t, o, m)
	eventually(t, "consuming starts anew", func() bool { return consumer.rejoin.Get() > 0 })
	b.produce(t, 0, 0, 4)
	eventually(t, "4 is told", func() bool { return slices.Contains(c.of(0), 4) })
	if got := c.of(0); slices.Max(got) > 4 {
		t.Errorf("told %v, but the new topic ends at 4", got)
	}
}
