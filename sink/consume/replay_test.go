package consume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// produceAt writes n records into a partition, a second apart by Kafka's time.
func (b *broker) produceAt(t *testing.T, partition int32, at time.Time, n int) {
	t.Helper()
	client, err := b.options().withDefaults().client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for i := range n {
		err := client.ProduceSync(t.Context(), &kgo.Record{Partition: partition, Value: fmt.Appendf(nil, "v%d", i),
			Timestamp: at.Add(time.Duration(i) * time.Second)}).FirstErr()
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (b *broker) deleteBefore(t *testing.T, partition int32, offset int64) {
	t.Helper()
	client, err := b.options().withDefaults().client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var list kadm.Offsets
	list.AddOffset(Topic, partition, offset, -1)
	if _, err := kadm.NewClient(client.Client).DeleteRecords(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

func TestASelectionIsWhatLiesBetweenItsBounds(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	b.produceAt(t, 0, noon, 10)
	b.produceAt(t, 1, noon.Add(5*time.Second), 10)
	b.deleteBefore(t, 1, 2)
	at := func(seconds int) Bound { return Bound{Time: noon.Add(time.Duration(seconds) * time.Second)} }
	offsets := func(list map[int32]int64) Bound { return Bound{Offsets: list} }
	for name, c := range map[string]struct {
		from, to Bound
		want     []Range
		refused  string
	}{
		"all":           {want: []Range{{0, 0, 10}, {1, 2, 10}, {2, 0, 0}, {3, 0, 0}}},
		"times":         {from: at(3), to: at(8), want: []Range{{0, 3, 8}, {1, 2, 3}, {2, 0, 0}, {3, 0, 0}}},
		"before all":    {to: at(-1), want: []Range{{0, 0, 0}, {1, 2, 2}, {2, 0, 0}, {3, 0, 0}}},
		"behind all":    {from: at(1000), want: []Range{{0, 10, 10}, {1, 10, 10}, {2, 0, 0}, {3, 0, 0}}},
		"offsets":       {from: offsets(map[int32]int64{0: 4, 1: 2}), to: offsets(map[int32]int64{0: 6, 1: 9}), want: []Range{{0, 4, 6}, {1, 2, 9}}},
		"one partition": {from: offsets(map[int32]int64{0: 4}), to: at(6), want: []Range{{0, 4, 6}}},
		"gone":          {from: offsets(map[int32]int64{1: 1}), refused: "partition 1 has the offsets from 2 to 10: 1 to 10"},
		"not yet there": {to: offsets(map[int32]int64{0: 11}), refused: "partition 0 has the offsets from 0 to 10"},
		"backwards":     {from: offsets(map[int32]int64{0: 7}), to: offsets(map[int32]int64{0: 5}), refused: "7 to 5 is not a range"},
		"no partition":  {from: offsets(map[int32]int64{7: 0}), refused: "no partition 7"},
	} {
		got, err := Select(t.Context(), b.options(), c.from, c.to)
		switch {
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)), c.refused == "" && err != nil:
			t.Errorf("%s: %v, want %q", name, err, c.refused)
		case c.refused == "" && !reflect.DeepEqual(got.Ranges, c.want):
			t.Errorf("%s: %v, want %v", name, got.Ranges, c.want)
		}
	}
}

// replayed runs a replay into a memory whose positions begin where the ranges do.
func replayed(t *testing.T, o Options, from, to Bound, prepare func(*memory, *Selection)) (*memory, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := Select(ctx, o, from, to)
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory()
	for _, r := range s.Ranges {
		m.next[r.Partition] = r.From
	}
	prepare(m, s)
	return m, Replay(ctx, o, s, func(b Batch) func(context.Context) error {
		return func(ctx context.Context) error { return m.Write(ctx, b) }
	})
}

func TestAReplayReadsItsRangesAndEnds(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for p := range int32(3) {
		b.produce(t, p, 0, 1000)
	}
	o := b.options()
	o.BatchRows = 70
	m, err := replayed(t, o, Bound{Offsets: map[int32]int64{0: 10, 1: 500, 3: 0}},
		Bound{Offsets: map[int32]int64{0: 990, 1: 500, 2: 5, 3: 0}}, func(m *memory, s *Selection) {
			// What comes later is not selected.
			b.produce(t, 0, 1000, 100)
			m.fails(3, pausing{errors.New("away")})
		})
	if err != nil {
		t.Fatal(err)
	}
	wantValues(t, m, 0, 10, 990)
	for p := range int32(4) {
		if n := len(m.stored(p)); p > 0 && n > 0 {
			t.Errorf("partition %d holds %d values of an empty range", p, n)
		}
	}
	if m.writes < 980/70+3 {
		t.Errorf("%d writes for 980 records, 70 at a time, of which 3 fail", m.writes)
	}
}

type pausing struct{ error }

func (pausing) Pause() time.Duration { return time.Millisecond }

func TestAReplayEndsWithWhatCannotBeCured(t *testing.T) {
	t.Parallel()
	broken := errors.New("no such table")
	b := newBroker(t)
	b.produce(t, 0, 0, 500)
	o := b.options()
	o.BatchRows = 50
	_, err := replayed(t, o, Bound{}, Bound{}, func(m *memory, _ *Selection) { m.fails(1, broken) })
	if !errors.Is(err, broken) {
		t.Errorf("got %v from a store that is broken", err)
	}
	_, err = replayed(t, o, Bound{}, Bound{}, func(*memory, *Selection) { b.deleteBefore(t, 0, 100) })
	if err == nil || !strings.Contains(err.Error(), "retention was faster") {
		t.Errorf("got %v when the records were gone", err)
	}
	_, err = replayed(t, o, Bound{}, Bound{}, func(_ *memory, s *Selection) { s.TopicID[0]++ })
	if !errors.Is(err, errRecreated) {
		t.Errorf("got %v from a topic that was made anew", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Select(ctx, o, Bound{}, Bound{})
	if err != nil {
		t.Fatal(err)
	}
	err = Replay(ctx, o, s, func(Batch) func(context.Context) error {
		return func(context.Context) error { cancel(); return pausing{errors.New("away")} }
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v when it was stopped", err)
	}
}

// A log that was compacted has gaps, which the sink passes and a replay ends in.
func TestACompactedLogIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	client, err := b.options().withDefaults().client(
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(Topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	policy := "compact"
	if _, err := kadm.NewClient(client.Client).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig,
		Name: "cleanup.policy", Value: &policy}}, Topic); err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		t.Helper()
		r := &kgo.Record{Partition: 0, Key: []byte(key), Value: []byte(value)}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	put("first", "first")
	for i := range 30 { // the last one is not compacted: it may yet grow
		put(fmt.Sprintf("k%d", i%5), fmt.Sprintf("v%d", i))
		if i == 19 {
			put("alone", "alone")
		}
	}
	b.Compact()
	left := map[int64]string{0: "first", 21: "alone", 26: "v24", 27: "v25", 28: "v26", 29: "v27", 30: "v28", 31: "v29"}
	within := func(from, to int64) (list []string) {
		for offset := from; offset < to; offset++ {
			if value, there := left[offset]; there {
				list = append(list, value)
			}
		}
		return list
	}
	m := newMemory()
	c, stop := start(t, b.options(), m)
	eventually(t, "the newest of each key", func() bool { return len(m.stored(0)) == len(left) })
	stop()
	if got := m.stored(0); !slices.Equal(got, within(0, 32)) || m.next[0] != 32 || c.lost.Get() != 0 {
		t.Errorf("stored are %v up to %d, and %d are lost", got, m.next[0], c.lost.Get())
	}
	for _, r := range [][2]int64{{0, 32}, {5, 32}, {0, 25}, {3, 21}, {22, 26}, {22, 27}, {0, 22}} {
		m, err := replayed(t, b.options(), Bound{Offsets: map[int32]int64{0: r[0]}},
			Bound{Offsets: map[int32]int64{0: r[1]}}, func(*memory, *Selection) {})
		if got := m.stored(0); err != nil || !slices.Equal(got, within(r[0], r[1])) {
			t.Errorf("from %d to %d are %v, %v, want %v", r[0], r[1], got, err, within(r[0], r[1]))
		}
	}
}

// emptyBatch has the offsets from first to last, and no record.
func emptyBatch(first, last int64) []byte {
	b := kmsg.RecordBatch{FirstOffset: first, Length: 49, Magic: 2, LastOffsetDelta: int32(last - first),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// Of the last records of a log only an empty batch may be left, of which a client that
// polls says nothing. But a broker that is slow has not said that there is nothing.
func TestAReplayEndsWhereTheRestIsEmpty(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]int{"empty": 0, "slow": 8} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroker(t)
			b.produce(t, 0, 0, 30)
			b.ControlKey(int16(kmsg.Fetch), func(k kmsg.Request) (kmsg.Response, error, bool) {
				b.KeepControl()
				req := k.(*kmsg.FetchRequest)
				if len(req.Topics) != 1 || len(req.Topics[0].Partitions) != 1 {
					return nil, nil, false
				}
				asked := req.Topics[0].Partitions[0]
				p := kmsg.NewFetchResponseTopicPartition()
				p.HighWatermark, p.LastStableOffset = 30, 30
				switch {
				case name == "empty" && asked.FetchOffset < 30:
					// Two batches, one an answer.
					p.RecordBatches = emptyBatch(asked.FetchOffset, min(29, asked.FetchOffset/10*10+9))
				case silent > 0:
					silent--
				default:
					return nil, nil, false
				}
				resp := req.ResponseKind().(*kmsg.FetchResponse)
				topic := kmsg.NewFetchResponseTopic()
				topic.Topic, topic.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
				topic.Partitions = append(topic.Partitions, p)
				resp.Topics = append(resp.Topics, topic)
				time.Sleep(100 * time.Millisecond) // a broker waits for more, too
				return resp, nil, true
			})
			m, err := replayed(t, b.options(), Bound{Offsets: map[int32]int64{0: 10}},
				Bound{Offsets: map[int32]int64{0: 30}}, func(*memory, *Selection) {})
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]int{"slow": 20}[name]; len(m.stored(0)) != want {
				t.Errorf("%d records are stored, want %d", len(m.stored(0)), want)
			}
		})
	}
}
