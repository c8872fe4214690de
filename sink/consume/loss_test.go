package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAPartitionStopsWhenItsRecordsAreGone(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 30)
	b.produce(t, 1, 0, 5)
	m.next[0], m.next[2] = 10, 7
	if err := b.DeleteRecords(Topic, 0, 25); err != nil {
		t.Fatal(err)
	}
	o := b.options()
	c, _ := start(t, o, m)
	wantValues(t, m, 1, 0, 5)
	eventually(t, "the loss is told", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), "partition 0 is stopped") &&
			strings.Contains(err.Error(), "partition 2 is stopped")
	})
	if n := o.Metrics.GetOrCreateCounter("footfall_events_lost_total").Get(); n != 15 {
		t.Errorf("%d events are counted as lost, want 15", n)
	}
	if got := m.stored(0); len(got) != 0 {
		t.Errorf("stopped partition stored %v", got)
	}
}

func TestAPartitionStopsWhenRetentionOvertakesTheSink(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 10)
	o := b.options()
	c, _ := start(t, o, m)
	wantValues(t, m, 0, 0, 10)
	m.fails(1<<30, errors.New("away"))
	b.produce(t, 0, 10, 1)
	eventually(t, "not ready", func() bool { return c.Ready() != nil })
	b.produce(t, 0, 11, 20)
	held := o.Metrics.GetOrCreateGauge("footfall_sink_held_bytes", nil)
	eventually(t, "all are in hand", func() bool { return held.Get() == 21*(overhead+3) })
	if err := b.DeleteRecords(Topic, 0, 25); err != nil {
		t.Fatal(err)
	}
	// Another consumer, say, stored two of the records that this one has in hand.
	m.mu.Lock()
	m.next[0] = 12
	m.mu.Unlock()
	m.fails(0, nil)
	b.produce(t, 1, 0, 3)
	wantValues(t, m, 1, 0, 3)
	eventually(t, "the loss is told", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), "partition 0 is stopped")
	})
	if n := o.Metrics.GetOrCreateCounter("footfall_events_lost_total").Get(); n != 13 {
		t.Errorf("%d events are counted as lost, want 13", n)
	}
}

func TestAPartitionNeverReadStartsWhereItsLogStarts(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 30)
	if err := b.DeleteRecords(Topic, 0, 12); err != nil {
		t.Fatal(err)
	}
	o := b.options()
	c, _ := start(t, o, m)
	wantValues(t, m, 0, 12, 30)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	if n := o.Metrics.GetOrCreateCounter("footfall_events_lost_total").Get(); n != 0 {
		t.Errorf("%d events are counted as lost before anybody read", n)
	}
}

func TestAPartitionStopsWhenRecordsGoBeforeItsFirstCommit(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 1, 0, 10)
	m.fails(1<<30, errors.New("refused"))
	c, stop := start(t, b.options(), m)
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), "refused")
	})
	stop()
	if err := b.DeleteRecords(Topic, 1, 5); err != nil {
		t.Fatal(err)
	}
	m.fails(0, nil)
	b.produce(t, 0, 0, 3)
	o := b.options()
	c, _ = start(t, o, m)
	wantValues(t, m, 0, 0, 3)
	eventually(t, "the loss is told", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(),
			"partition 1 is stopped: position is 0, but the log starts at 5")
	})
	if n := o.Metrics.GetOrCreateCounter("footfall_events_lost_total").Get(); n != 5 {
		t.Errorf("%d events are counted as lost, want 5", n)
	}
	if got := m.stored(1); len(got) != 0 {
		t.Errorf("stopped partition stored %v", got)
	}
}

func TestATopicMadeAnewIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	m := &byTopic{stores: map[[16]byte]*memory{}}
	b.produce(t, 0, 0, 10)
	start(t, b.options(), m)
	eventually(t, "the first topic", func() bool { return m.count() == 10 })
	if err := b.DeleteTopic(Topic); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTopic(Topic, 4, nil); err != nil {
		t.Fatal(err)
	}
	b.produce(t, 0, 0, 4)
	eventually(t, "the second topic", func() bool { return m.count() == 14 })
}

func TestConsumerWaitsForATopicThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	o := b.options()
	o.Topic = "later"
	c, _ := start(t, o, m)
	eventually(t, "not ready", func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), "later")
	})
	if err := b.CreateTopic("later", 1, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ready", func() bool { return c.Ready() == nil })
}

func TestTailReadsTheTopicWithoutAGroup(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.produce(t, 2, 0, 5)
	enough := errors.New("enough")
	var got []string
	err := Tail(t.Context(), b.options(), false, func(r Record) error {
		got = append(got, fmt.Sprintf("%d:%s", r.Offset, r.Value))
		if len(got) == 5 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || got[0] != "0:v0" || got[4] != "4:v4" {
		t.Errorf("tail gave %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Tail(ctx, b.options(), true, func(Record) error { return nil }); err != nil {
		t.Errorf("an ended tail gave %v", err)
	}
}

func TestCheckTellsTheCluster(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.produce(t, 3, 0, 7)
	r, err := Check(t.Context(), b.options())
	if err != nil {
		t.Fatal(err)
	}
	if r.ClusterID != "c1" || len(r.Brokers) != 1 || len(r.Partitions) != 4 ||
		r.Partitions[3].End != 7 || r.TopicID == [16]byte{} || len(r.Problems()) > 0 {
		t.Errorf("report is %+v, problems %q", r, r.Problems())
	}
	o := b.options()
	o.Topic = "missing"
	if _, err := Check(t.Context(), o); err == nil {
		t.Error("a missing topic is no error")
	}
}
