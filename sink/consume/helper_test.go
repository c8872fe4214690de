package consume

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/kafka"
)

// broker is an in-process Kafka with the topic of four partitions.
type broker struct {
	*kfake.Cluster
	network *kfake.VirtualNetwork
}

func newBroker(t *testing.T, more ...kfake.Opt) *broker {
	t.Helper()
	b := &broker{network: &kfake.VirtualNetwork{}}
	var err error
	b.Cluster, err = kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1),
		kfake.ListenFn(b.network.Listen), kfake.ClusterID("c1"), kfake.SeedTopics(4, Topic)}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func (b *broker) options() Options {
	return Options{Kafka: kafka.Cluster{Brokers: b.ListenAddrs(), Dial: b.network.DialContext}, Metrics: metrics.NewSet()}
}

// produce writes values v0, v1, … from first on into a partition.
func (b *broker) produce(t *testing.T, partition int32, first, n int) {
	t.Helper()
	client, err := b.options().withDefaults().client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for i := range n {
		records = append(records,
			&kgo.Record{Partition: partition, Value: fmt.Appendf(nil, "v%d", first+i)})
	}
	if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// memory is a Store that keeps to the contract, in memory, and fails when told to.
type memory struct {
	mu     sync.Mutex
	next   map[int32]int64
	values map[int32][]string
	writes int
	before func(b Batch) error // called under mu before a batch is stored
}

func newMemory() *memory {
	return &memory{next: map[int32]int64{}, values: map[int32][]string{},
		before: func(Batch) error { return nil }}
}

func (m *memory) Positions(_ context.Context, _, _ string, _ [16]byte, starts map[int32]int64) (
	map[int32]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[int32]int64{}
	for p, start := range starts {
		if _, made := m.next[p]; !made {
			m.next[p] = start
		}
		next[p] = m.next[p]
	}
	return next, nil
}

func (m *memory) Write(_ context.Context, b Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if err := m.before(b); err != nil {
		return err
	}
	for _, p := range b.Parts {
		if m.next[p.Partition] != p.From {
			return ErrMoved
		}
	}
	for _, p := range b.Parts {
		m.next[p.Partition] = p.To
		for _, r := range p.Records {
			m.values[p.Partition] = append(m.values[p.Partition], string(r.Value))
		}
	}
	return nil
}

// fails lets the next n writes fail.
func (m *memory) fails(n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = func(Batch) error {
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

func (m *memory) stored(partition int32) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values[partition])
}

// start runs a consumer until stop is called or the test ends.
func start(t *testing.T, o Options, store Store) (c *Consumer, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c = New(o, store)
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(15 * time.Second):
			t.Error("the consumer does not stop")
		}
	})
	t.Cleanup(stop)
	return c, stop
}

// eventually waits up to 20 seconds for ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func wantValues(t *testing.T, m *memory, partition int32, from, to int) {
	t.Helper()
	var want []string
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprintf("v%d", i))
	}
	eventually(t, fmt.Sprintf("%d values in partition %d", len(want), partition),
		func() bool { return len(m.stored(partition)) >= len(want) })
	if got := m.stored(partition); !slices.Equal(got, want) {
		t.Errorf("partition %d holds %d values %v…, want %d", partition, len(got),
			got[:min(5, len(got))], len(want))
	}
}

// byTopic keeps a memory for each topic id.
type byTopic struct {
	mu     sync.Mutex
	stores map[[16]byte]*memory
}

func (s *byTopic) of(id [16]byte) *memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stores[id] == nil {
		s.stores[id] = newMemory()
	}
	return s.stores[id]
}

func (s *byTopic) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.stores {
		for p := range int32(4) {
			n += len(m.stored(p))
		}
	}
	return n
}

func (s *byTopic) Positions(ctx context.Context, cluster, topic string, id [16]byte,
	starts map[int32]int64) (map[int32]int64, error) {
	return s.of(id).Positions(ctx, cluster, topic, id, starts)
}

func (s *byTopic) Write(ctx context.Context, b Batch) error {
	return s.of(b.TopicID).Write(ctx, b)
}
