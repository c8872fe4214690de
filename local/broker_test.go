package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const testTopic = "events"

func startBroker(tb testing.TB, o BrokerOptions) *Broker {
	tb.Helper()
	o.Topic, o.Partitions = testTopic, max(o.Partitions, 1)
	b, err := StartBroker(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(b.Close)
	return b
}

func client(tb testing.TB, b *Broker, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	all := append([]kgo.Opt{kgo.SeedBrokers(b.Addrs()...), kgo.Dialer(b.Dial),
		kgo.DefaultProduceTopic(testTopic)}, opts...)
	c, err := kgo.NewClient(all...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

// fromStart makes a client a consumer too. It then holds fetched records that nobody polls, and
// the broker the answer that carried them: 1 MiB a partition, which would blur a look at the heap.
func fromStart() []kgo.Opt {
	return []kgo.Opt{kgo.ConsumeTopics(testTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}
}

func TestRecordsGoThroughTheBrokerWithoutAPort(t *testing.T) {
	t.Parallel()
	b := startBroker(t, BrokerOptions{Partitions: 3})
	c := client(t, b, fromStart()...)
	for i := range 50 {
		record := kgo.StringRecord(fmt.Sprint(i))
		record.Key = fmt.Append(nil, i)
		if err := c.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for len(seen) < 50 {
		fetches := c.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
	if conn, err := net.Dial("tcp", b.Addrs()[0]); err == nil {
		conn.Close()
		t.Errorf("something listens on %s", b.Addrs()[0])
	}
}

func TestEachBrokerHasItsOwnClusterIDAndMakesNoTopics(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for range 2 {
		c := client(t, startBroker(t, BrokerOptions{Partitions: 12}), kgo.AllowAutoTopicCreation())
		admin := kadm.NewClient(c)
		meta, err := admin.Metadata(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids[meta.Cluster] = true
		if n := len(meta.Topics[testTopic].Partitions); n != 12 {
			t.Errorf("%d partitions", n)
		}
		topics, err := admin.ListTopics(t.Context(), "stranger")
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(topics["stranger"].Err, kerr.UnknownTopicOrPartition) {
			t.Errorf("unknown topic: %v", topics["stranger"].Err)
		}
	}
	if len(ids) != 2 {
		t.Errorf("cluster ids %v", ids)
	}
}

func heapMiB() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

// Not parallel: it measures the heap of the process.
func TestTrimGivesTheMemoryBack(t *testing.T) {
	b := startBroker(t, BrokerOptions{Partitions: 12})
	c := client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	before := heapMiB()
	next := map[int32]int64{}
	fill := func() {
		for i := range 200 << 10 {
			value := make([]byte, 1024)
			binary.BigEndian.PutUint64(value, uint64(i))
			c.Produce(t.Context(), &kgo.Record{Value: value}, func(r *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
				next[r.Partition] = max(next[r.Partition], r.Offset+1)
			})
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		fill()
		full := heapMiB()
		for p := range next {
			next[p] -= 10 // the newest segment of each partition stays
		}
		if err := b.Trim(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		after := heapMiB()
		for p := range next {
			next[p] += 10
		}
		t.Logf("heap before %d MiB, with 200 MiB of records %d, trimmed %d", before, full, after)
		// What may stay of a partition: 256 KiB, one batch of 1 MiB on top, and, since the
		// broker's buffers double, as much again in spare room.
		if full-before < 190 || after-before > 12*5/2 {
			t.Errorf("heap before %d MiB, full %d, trimmed %d", before, full, after)
		}
	}
}

func TestTrimIgnoresWhatIsGoneAndRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := startBroker(t, BrokerOptions{Partitions: 2})
	c := client(t, b, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for partition := range int32(2) {
		for range 5 {
			r := &kgo.Record{Value: []byte("x"), Partition: partition}
			if err := c.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := b.Trim(t.Context(), map[int32]int64{0: 3}); err != nil {
		t.Fatal(err)
	}
	if err := b.Trim(t.Context(), map[int32]int64{0: 2, 1: 0}); err != nil {
		t.Errorf("older offset: %v", err)
	}
	err := b.Trim(t.Context(), map[int32]int64{0: 6, 1: 5})
	if !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Errorf("offset beyond the end: %v", err)
	}
	starts, err := kadm.NewClient(c).ListStartOffsets(t.Context(), testTopic)
	if err != nil {
		t.Fatal(err)
	}
	for partition, want := range map[int32]int64{0: 3, 1: 5} {
		if o, _ := starts.Lookup(testTopic, partition); o.Offset != want {
			t.Errorf("partition %d starts at %d, want %d", partition, o.Offset, want)
		}
	}
}

func TestBrokerOpensNoPortToOtherMachines(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0", "x"} {
		if b, err := StartBroker(BrokerOptions{Topic: "t", Partitions: 1, Listen: addr}); err == nil {
			b.Close()
			t.Errorf("%s was taken", addr)
		} else {
			t.Log(err)
		}
	}
}

func TestOpenPortServesOtherProgramsAndThisOne(t *testing.T) {
	t.Parallel()
	b := startBroker(t, BrokerOptions{Listen: "127.0.0.1:0"})
	outside := client(t, b, append(fromStart(), kgo.Dialer((&net.Dialer{}).DialContext))...)
	for _, c := range []*kgo.Client{client(t, b), outside} {
		if err := c.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 2; {
		fetches := outside.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
}

func TestOpenPortOutlivesHostileFrames(t *testing.T) {
	t.Parallel()
	b := startBroker(t, BrokerOptions{Listen: "127.0.0.1:0"})
	send := func(frame []byte) {
		conn, err := net.Dial("tcp", b.Addrs()[0])
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
		_, _ = conn.Write(frame)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}
	var wg sync.WaitGroup
	free := make(chan struct{}, 32)
	bodies := [][]byte{nil, make([]byte, 64), []byte("\xff\xff\xff\xff\x7f\xff\xff\xff")}
	for key := -2; key < 110; key++ {
		for _, version := range []uint16{0, 99, 1 << 15} {
			for _, body := range bodies {
				frame := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
				frame = binary.BigEndian.AppendUint16(frame, uint16(key))
				frame = binary.BigEndian.AppendUint16(frame, version)
				frame = binary.BigEndian.AppendUint32(frame, 1)
				free <- struct{}{}
				wg.Go(func() { send(append(frame, body...)); <-free })
			}
		}
	}
	wg.Wait()
	for _, size := range []uint32{0, 7, 1 << 31, 1<<32 - 1} {
		send(append(binary.BigEndian.AppendUint32(nil, size), 0, 0, 0, 0, 0, 0, 0, 0))
	}
	c := client(t, b, kgo.Dialer((&net.Dialer{}).DialContext))
	if err := c.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
		t.Fatal(err)
	}
}
