package consume

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestConsumerStoresRecordsInOrder(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	var mu sync.Mutex
	committed := map[int32]int64{}
	o := b.options()
	o.BatchRows = 100
	o.Committed = func(_ [16]byte, next map[int32]int64) {
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(committed, next)
	}
	c, stop := start(t, o, m)
	for p := range int32(4) {
		b.produce(t, p, 0, 500)
	}
	for p := range int32(4) {
		wantValues(t, m, p, 0, 500)
	}
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	stop()
	mu.Lock()
	defer mu.Unlock()
	for p := range int32(4) {
		if committed[p] != 500 {
			t.Errorf("committed of partition %d is %d", p, committed[p])
		}
	}
}

func TestASingleRecordIsStoredSoon(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	start(t, b.options(), m)
	b.produce(t, 0, 0, 1)
	wantValues(t, m, 0, 0, 1)
	began := time.Now()
	b.produce(t, 0, 1, 1)
	wantValues(t, m, 0, 0, 2)
	if d := time.Since(began); d > time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestABatchThatFailsIsWrittenAgainOnce(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	m.fails(3, errors.New("database is away"))
	c, _ := start(t, b.options(), m)
	b.produce(t, 1, 0, 50)
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), "database is away")
	})
	wantValues(t, m, 1, 0, 50)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
}

func TestConsumerGoesOnFromTheStoreAfterARestart(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 30)
	_, stop := start(t, b.options(), m)
	wantValues(t, m, 0, 0, 30)
	stop()
	// The hint in Kafka says 30; the store, restored from a backup, says 20.
	m.mu.Lock()
	m.next[0], m.values[0] = 20, m.values[0][:20]
	m.mu.Unlock()
	b.produce(t, 0, 30, 10)
	start(t, b.options(), m)
	wantValues(t, m, 0, 0, 40)
}

func TestConsumerGoesToWhereTheStoreMoved(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 10)
	start(t, b.options(), m)
	wantValues(t, m, 0, 0, 10)
	for name, to := range map[string]int64{"back": 4, "ahead": 15} {
		m.mu.Lock()
		at := m.next[0]
		m.next[0] = to
		m.values[0] = nil
		m.mu.Unlock()
		b.produce(t, 0, int(at), 10)
		eventually(t, name, func() bool {
			got := m.stored(0)
			return len(got) > 0 && got[0] == fmt.Sprintf("v%d", to) &&
				got[len(got)-1] == fmt.Sprintf("v%d", at+9)
		})
		got := m.stored(0)
		if n := int(at + 10 - to); len(got) != n {
			t.Errorf("%s: %d values, want %d", name, len(got), n)
		}
		m.mu.Lock()
		m.next[0] = at + 10
		m.mu.Unlock()
	}
}

// A standby that became the primary lacks the newest commits, and no record comes that
// would show it.
func TestAnIdlePartitionIsReadAgainWhenTheStoreWentBack(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 10)
	start(t, b.options(), m)
	eventually(t, "10 records stored", func() bool { return len(m.stored(0)) == 10 })
	m.move(0, 4)
	eventually(t, "records 4 to 9 stored again", func() bool { return len(m.stored(0)) == 16 })
}

func TestTwoConsumersShareATopicWithoutLossOrDouble(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	o := b.options()
	o.BatchRows = 20
	_, stopFirst := start(t, o, m)
	for p := range int32(4) {
		b.produce(t, p, 0, 300)
	}
	eventually(t, "the first one works", func() bool { return len(m.stored(0)) > 0 })
	m.fails(5, errors.New("away for a moment"))
	start(t, o, m)
	for p := range int32(4) {
		b.produce(t, p, 300, 300)
	}
	stopFirst()
	for p := range int32(4) {
		b.produce(t, p, 600, 100)
	}
	for p := range int32(4) {
		wantValues(t, m, p, 0, 700)
	}
}
