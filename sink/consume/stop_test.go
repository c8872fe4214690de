package consume

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func stoppedBy(c *Consumer, text string) func() bool {
	return func() bool {
		err := c.Ready()
		return err != nil && strings.Contains(err.Error(), text)
	}
}

func (m *memory) move(partition int32, next int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next[partition] = next
}

func TestAStoppedPartitionGoesOnWhereAPersonMovesIt(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 30)
	b.produce(t, 2, 0, 5)
	m.next[0], m.next[2] = 10, 7
	if err := b.DeleteRecords(Topic, 0, 20); err != nil {
		t.Fatal(err)
	}
	o := b.options()
	c, _ := start(t, o, m)
	eventually(t, "the loss is told", stoppedBy(c, "partition 0 is stopped: position is 10, but the log "+
		"starts at 20: 10 offsets are lost"))
	eventually(t, "the foreign log is told", stoppedBy(c, "partition 2 is stopped: position is 7, but the log ends at 5"))
	// Retention goes on while the person sleeps.
	if err := b.DeleteRecords(Topic, 0, 25); err != nil {
		t.Fatal(err)
	}
	lost := o.Metrics.GetOrCreateCounter("footfall_events_lost_total")
	eventually(t, "all of the loss is counted", func() bool { return lost.Get() == 15 })
	m.move(0, 25)
	m.move(2, 0)
	wantValues(t, m, 0, 25, 30)
	wantValues(t, m, 2, 0, 5)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	if n := lost.Get(); n != 15 {
		t.Errorf("%d offsets are counted as lost, want 15", n)
	}
}

func TestABatchTooLargeToUnpackStopsItsPartitionBehindWhatIsStored(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 3)
	client, err := b.options().withDefaults().client(kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(Topic), kgo.ProducerBatchMaxBytes(decompressBytes+1<<20),
		kgo.ProducerBatchCompression(kgo.GzipCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	zeros := &kgo.Record{Value: bytes.Repeat([]byte{'0'}, decompressBytes)}
	if err := client.ProduceSync(t.Context(), zeros).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.produce(t, 0, 3, 3)
	c, _ := start(t, b.options(), m)
	eventually(t, "the batch is named", stoppedBy(c, "partition 0 is stopped: batch at 3 is larger than 64 MiB "+
		"unpacked; to go on behind it: footfall positions resume --partition 0 --at 4"))
	wantValues(t, m, 0, 0, 3)
	b.produce(t, 1, 0, 3)
	wantValues(t, m, 1, 0, 3)
	eventually(t, "what lies before is stored", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.next[0] == 3
	})
	m.move(0, 4)
	wantValues(t, m, 0, 0, 6)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
}

// damage answers fetches of partition 0 with a batch whose checksum is wrong, so many
// times.
func (b *broker) damage(times int) {
	b.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		if times == 0 || len(req.Topics) == 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		answered := false
		for _, topic := range req.Topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				if p.Partition != 0 {
					continue
				}
				answered = true
				rp := kmsg.NewFetchResponseTopicPartition()
				rp.HighWatermark, rp.LastStableOffset = p.FetchOffset+1, p.FetchOffset+1
				rp.RecordBatches = damagedBatch(p.FetchOffset)
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		if !answered {
			return nil, nil, false
		}
		times--
		return resp, nil, true
	})
}

func damagedBatch(offset int64) []byte {
	batch := make([]byte, 61+10)
	binary.BigEndian.PutUint64(batch, uint64(offset))
	binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
	batch[16] = 2
	copy(batch[17:], "oops")
	binary.BigEndian.PutUint32(batch[57:], 1)
	return batch
}

func TestABatchDamagedOnItsWayIsFetchedAgain(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 5)
	b.damage(damagedMax - 1)
	c, _ := start(t, b.options(), m)
	wantValues(t, m, 0, 0, 5)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
}

// TestDamageIsForgotten: at an idle partition's end every bad fetch is one of the same
// offset, and those of weeks do not add up.
func TestDamageIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{}, newMemory())
		for i, fetch := range []struct {
			after time.Duration
			at    int64
			want  int
		}{{0, 7, 1}, {time.Second, 7, 2}, {damagedFor + time.Second, 7, 1}, {damagedFor - time.Second, 7, 2},
			{damagedFor - time.Second, 7, 3}, {time.Second, 8, 1}} {
			time.Sleep(fetch.after)
			if n := c.countDamage(0, fetch.at); n != fetch.want {
				t.Errorf("fetch %d is number %d, want %d", i, n, fetch.want)
			}
		}
	})
}

func TestADamagedBatchStopsItsPartitionAlone(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.damage(-1)
	b.produce(t, 0, 0, 5)
	c, _ := start(t, b.options(), m)
	eventually(t, "the batch is named", stoppedBy(c, "partition 0 is stopped: batch at 0 cannot be read"))
	b.produce(t, 1, 0, 5)
	wantValues(t, m, 1, 0, 5)
}

func TestGapsInsideALogAreNoLoss(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	client, err := b.options().withDefaults().client(kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic(Topic), kgo.TransactionalID("gaps"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range 4 { // each end of a transaction takes an offset
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Value: fmt.Appendf(nil, "v%d", i)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
	}
	o := b.options()
	c, _ := start(t, o, m)
	wantValues(t, m, 0, 0, 4)
	eventually(t, "ready", func() bool { return c.Ready() == nil })
	if n := o.Metrics.GetOrCreateCounter("footfall_events_lost_total").Get(); n != 0 {
		t.Errorf("%d offsets are counted as lost", n)
	}
}

func TestAPartitionThatIsAddedIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t), newMemory()
	b.produce(t, 0, 0, 3)
	o := b.options()
	start(t, o, m)
	wantValues(t, m, 0, 0, 3)
	admin, err := o.withDefaults().client()
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	req := kmsg.NewPtrCreatePartitionsRequest()
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = Topic, 6
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), 5000
	if resp, err := req.RequestWith(t.Context(), admin); err != nil || resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("add partitions: %v, %+v", err, resp)
	}
	b.produce(t, 5, 0, 7)
	wantValues(t, m, 5, 0, 7)
	wantValues(t, m, 0, 0, 3)
}

func TestWhatWasUnreadOfATopicMadeAnewIsCounted(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	m := &byTopic{stores: map[[16]byte]*memory{}}
	b.produce(t, 0, 0, 10)
	m.of(b.TopicInfo(Topic).TopicID).fails(1<<30, fmt.Errorf("away"))
	o := b.options()
	c, _ := start(t, o, m)
	lag := o.Metrics.GetOrCreateGauge("footfall_sink_lag_records", nil)
	eventually(t, "the lag is known", func() bool { return lag.Get() == 10 && c.Ready() != nil })
	if err := b.DeleteTopic(Topic); err != nil {
		t.Fatal(err)
	}
	if err := b.CreateTopic(Topic, 4, nil); err != nil {
		t.Fatal(err)
	}
	b.produce(t, 0, 0, 4)
	eventually(t, "the second topic", func() bool { return m.count() == 4 })
	if n := o.Metrics.GetOrCreateCounter("footfall_events_lost_total").Get(); n != 10 {
		t.Errorf("%d offsets are counted as lost, want 10", n)
	}
}

// TestRebalanceStormsLoseAndDoubleNothing has consumers join and leave every 200 ms,
// on three brokers whose partitions change their leaders meanwhile.
func TestRebalanceStormsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	b, m := newBroker(t, kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094)), newMemory()
	o := b.options()
	start(t, o, m)
	const rounds, each = 12, 20
	for round := range rounds {
		for p := range int32(4) {
			b.produce(t, p, round*each, each)
		}
		_, stop := start(t, b.options(), m)
		next := time.After(200 * time.Millisecond)
		if err := b.MoveTopicPartition(Topic, int32(round%4), int32(round%3)); err != nil {
			t.Fatal(err)
		}
		<-next
		go stop()
	}
	for p := range int32(4) {
		wantValues(t, m, p, 0, rounds*each)
	}
}
