package consume

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// gate refuses fetches while it is shut.
type gate struct {
	shut    atomic.Bool
	refused atomic.Int32
}

func (b *broker) gate() *gate {
	g := &gate{}
	b.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		if g.shut.Load() {
			g.refused.Add(1)
			return nil, errors.New("connection lost"), true
		}
		return nil, nil, false
	})
	return g
}

// inHand starts a consumer that has fetched ten records of partition 0 and can neither
// store them nor fetch more, while the log goes on to 30.
func inHand(t *testing.T, b *broker, m *memory, o Options) (c *Consumer, g *gate) {
	t.Helper()
	g = b.gate()
	m.fails(1<<30, errors.New("away"))
	b.produce(t, 0, 0, 10)
	c, _ = start(t, o, m)
	held := o.Metrics.GetOrCreateGauge("footfall_sink_held_bytes", nil)
	eventually(t, "ten records are in hand", func() bool { return held.Get() == 10*(overhead+2) })
	g.shut.Store(true)
	eventually(t, "no fetch waits any more", func() bool { return g.refused.Load() > 0 })
	b.produce(t, 0, 10, 20)
	return c, g
}

func TestWhatIsInHandIsStoredWhenRetentionTakesWhatFollows(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	o := b.options()
	c, g := inHand(t, b, m, o)
	if err := b.DeleteRecords(Topic, 0, 25); err != nil {
		t.Fatal(err)
	}
	g.shut.Store(false)
	eventually(t, "the loss is told", stoppedBy(c, "partition 0 is stopped: position is 10, but the log "+
		"starts at 25: 15 offsets are lost"))
	m.fails(0, nil)
	wantValues(t, m, 0, 0, 10)
	// Retention goes on: that is counted too, once.
	if err := b.DeleteRecords(Topic, 0, 27); err != nil {
		t.Fatal(err)
	}
	lost := o.Metrics.GetOrCreateCounter("footfall_events_lost_total")
	eventually(t, "all of the loss is counted", func() bool { return lost.Get() >= 17 })
	m.move(0, 27)
	eventually(t, "the rest is stored", func() bool { return len(m.stored(0)) >= 13 })
	if got := m.stored(0)[10:]; !slices.Equal(got, []string{"v27", "v28", "v29"}) {
		t.Errorf("behind the loss come %v", got)
	}
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	if n := lost.Get(); n != 17 {
		t.Errorf("%d offsets are counted as lost, want 17", n)
	}
}

// What was in hand can still get lost: with the sink, or because another consumer was
// faster and then gone. Then it is counted with the rest.
func TestWhatWasInHandAndIsGoneIsCountedToo(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	o := b.options()
	c, g := inHand(t, b, m, o)
	if err := b.DeleteRecords(Topic, 0, 25); err != nil {
		t.Fatal(err)
	}
	g.shut.Store(false)
	eventually(t, "the loss is told", stoppedBy(c, "partition 0 is stopped"))
	m.move(0, 4) // another consumer stored so much
	m.fails(0, nil)
	eventually(t, "the rest is told", stoppedBy(c, "position is 4, but the log starts at 25: 21 offsets are lost"))
	if n := o.Metrics.GetOrCreateCounter("footfall_events_lost_total").Get(); n != 21 {
		t.Errorf("%d offsets are counted as lost, want 21", n)
	}
	if got := m.stored(0); len(got) > 0 {
		t.Errorf("stored %v behind a position that moved", got)
	}
}

func TestLostOffsetsAreCountedOnce(t *testing.T) {
	t.Parallel()
	var s spans
	for _, c := range []struct{ from, to, want int64 }{
		{10, 25, 15}, {10, 25, 0}, {4, 25, 6}, {20, 30, 5}, {50, 60, 10}, {5, 60, 20}, {7, 7, 0}, {60, 61, 1}, {0, 61, 4},
	} {
		fresh := int64(0)
		if s, fresh = s.add(c.from, c.to); fresh != c.want {
			t.Errorf("[%d, %d) adds %d, want %d", c.from, c.to, fresh, c.want)
		}
	}
	if len(s) != 1 || s[0] != [2]int64{0, 61} {
		t.Errorf("spans are %v", s)
	}
}

// asked is a store that does something whenever it is asked for positions.
type asked struct {
	*memory
	then func()
}

func (s *asked) Positions(ctx context.Context, cluster, topic string, id [16]byte,
	starts map[int32]int64) (map[int32]int64, error) {
	next, err := s.memory.Positions(ctx, cluster, topic, id, starts)
	s.then()
	return next, err
}

// newSession returns a session that has joined no group.
func newSession(t *testing.T, b *broker, store Store) *session {
	t.Helper()
	s := &session{Consumer: New(b.options(), store), next: map[int32]int64{}, wake: func() {}, news: make(chan struct{})}
	s.lanes = []*lane{{session: s, runs: map[int32]*run{}}}
	client, err := s.o.client(kgo.ConsumeTopics(Topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	s.client, s.admin = client, kadm.NewClient(client.Client)
	s.cluster, s.topicID, err = identify(t.Context(), s.admin, Topic)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAPartitionTakenAwayWhilePositionsAreReadStaysAway(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.produce(t, 0, 0, 10)
	m := newMemory()
	store := &asked{m, func() {}}
	s := newSession(t, b, store)
	s.begin(map[int32]int64{0: 0, 1: 0})
	for p := range int32(2) {
		s.kill(s.runOf(p))
	}
	store.then = func() { s.takenAway(t.Context(), s.client.Client, map[string][]int32{Topic: {0}}) }
	// Where it goes would be a reason to stop it, too.
	m.next[0] = 50
	if err := s.reposition(t.Context(), []int32{0, 1}); err != nil {
		t.Fatal(err)
	}
	if _, ours := s.next[0]; ours || s.runOf(0) != nil || len(s.stopped) > 0 {
		t.Errorf("the partition is ours again: position %v, run %v, stopped %v", s.next[0], s.runOf(0), s.stopped)
	}
	if r := s.runOf(1); r == nil || r.dead {
		t.Error("the other partition does not go on")
	}
}

func TestAPauseEndsWithTheOwnership(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	for p := range int32(4) {
		b.produce(t, p, 0, 30)
		m.next[p] = 10
		if err := b.DeleteRecords(Topic, p, 20); err != nil {
			t.Fatal(err)
		}
	}
	stopped := func(c *Consumer) (list []int32) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for p := range c.stopped {
			list = append(list, p)
		}
		return list
	}
	c1, _ := start(t, b.options(), m)
	eventually(t, "four are stopped", func() bool { return len(stopped(c1)) == 4 })
	c2, leave := start(t, b.options(), m)
	eventually(t, "each has two", func() bool { return len(stopped(c1)) == 2 && len(stopped(c2)) == 2 })
	moved := stopped(c2)
	for _, p := range moved {
		m.move(p, 20)
	}
	for _, p := range moved {
		wantValues(t, m, p, 20, 30)
	}
	leave()
	for _, p := range moved {
		b.produce(t, p, 30, 10)
	}
	for _, p := range moved {
		wantValues(t, m, p, 20, 40)
	}
	if n := len(stopped(c1)); n != 2 {
		t.Errorf("%d partitions are stopped, want the two that nobody moved", n)
	}
}
