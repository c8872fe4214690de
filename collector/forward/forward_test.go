package forward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/event"
	"footfall/kafka"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const topic = "events"

// log is a spool of n records, and its watermark.
type log struct {
	n     int
	grown chan *log // the log as it is later, with more records; may be nil
	large uint64    // number of a record that does not compress, 0 for none
	noise [4000]byte

	mu       sync.Mutex
	next     uint64
	released uint64
	dead     []uint64
	moved    chan struct{}
}

func (l *log) read(from uint64) Reader { return &logReader{l: l, next: from} }

type logReader struct {
	l    *log
	next uint64
}

func (r *logReader) Next(ctx context.Context) (Record, error) {
	if int(r.next) > r.l.n {
		select {
		case <-ctx.Done():
			return Record{}, ctx.Err()
		case l := <-r.l.grown:
			r.l = l
			return r.Next(ctx)
		}
	}
	seq := r.next
	r.next++
	value := fmt.Appendf(nil, "value %06d", seq)
	if seq == r.l.large {
		value = append(value, r.l.noise[:]...)
	}
	return Record{Seq: seq, Key: fmt.Appendf(nil, "key %d", seq%7), Value: value}, nil
}

func (r *logReader) Close() error { return nil }

func (l *log) Load(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next, nil
}

func (l *log) Store(_ context.Context, next uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = next
	select {
	case l.moved <- struct{}{}:
	default:
	}
	return nil
}

func (l *log) wait(t *testing.T, next uint64) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		at := l.next
		l.mu.Unlock()
		if at >= next {
			return
		}
		select {
		case <-l.moved:
		case <-deadline:
			t.Fatalf("watermark stands at %d, want %d", at, next)
		}
	}
}

func broker(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.SeedTopics(4, topic))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func start(t *testing.T, c *kfake.Cluster, l *log, confirm bool, window int64) (*Forwarder, func()) {
	t.Helper()
	l.moved = make(chan struct{}, 1)
	l.next = max(l.next, 1)
	f, err := New(Options{
		Kafka: kafka.Cluster{Brokers: c.ListenAddrs()}, Topic: topic, Partitions: 4,
		Read: l.read, Watermark: l,
		Release: func(before uint64) error { l.released = before; return nil },
		Dead:    func(seq uint64, _ []byte) error { l.dead = append(l.dead, seq); return nil },
		Confirm: confirm, Window: window,
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	var once sync.Once
	stop := func() { once.Do(func() { cancel(); wg.Wait() }) }
	t.Cleanup(stop)
	return f, stop
}

// consume reads all records of the topic until n different values were seen, and
// returns the values per key in order.
func consume(t *testing.T, c *kfake.Cluster, n int) (byKey map[string][]string, total int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	byKey = map[string][]string{}
	seen := map[string]bool{}
	for len(seen) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d values: %v", len(seen), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen[string(r.Value)] = true
			byKey[string(r.Key)] = append(byKey[string(r.Key)], string(r.Value))
			total++
		})
	}
	return byKey, total
}

func TestRecordsArriveInOrderAndTheWatermarkFollows(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 5000}
	_, stop := start(t, c, l, false, 0)
	byKey, total := consume(t, c, 5000)
	if total != 5000 {
		t.Errorf("%d records for 5000", total)
	}
	for key, values := range byKey {
		for i := 1; i < len(values); i++ {
			if values[i] <= values[i-1] {
				t.Fatalf("%s: %s after %s", key, values[i], values[i-1])
			}
		}
	}
	l.wait(t, 5001)
	stop()
	if l.released != 5001 {
		t.Errorf("released before %d, want 5001", l.released)
	}
}

func TestRestartGoesOnAtTheWatermark(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 100}
	_, stop := start(t, c, l, false, 0)
	l.wait(t, 101)
	stop()
	l.n = 150
	start(t, c, l, false, 0)
	if _, total := consume(t, c, 150); total != 150 {
		t.Errorf("%d records for 150", total)
	}
}

func TestFailedDeliveryBeginsAgainAndLosesNothing(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 3000}
	refusals := 0
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if refusals++; refusals > 3 {
			return nil, nil, false
		}
		c.KeepControl()
		return refuseProduce(req, kerr.TopicAuthorizationFailed.Code), nil, true
	})
	f, _ := start(t, c, l, false, 0)
	consume(t, c, 3000)
	l.wait(t, 3001)
	if n := f.stats.restarts.Get(); n == 0 {
		t.Error("the refusals were not seen")
	}
}

// Whoever deletes the topic under a collector finds it again, with what was sent since.
func TestADeletedTopicIsMadeAgain(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 10, grown: make(chan *log, 2)}
	f, _ := start(t, c, l, false, 0)
	l.wait(t, 11)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).DeleteTopic(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	for range cap(l.grown) { // for the pass that finds the topic gone, and for the next
		l.grown <- &log{n: 30}
	}
	l.wait(t, 31)
	if _, total := consume(t, c, 20); total != 20 {
		t.Errorf("%d records for 20", total)
	}
	if n := f.stats.anew.Get(); n != 1 {
		t.Errorf("counted %d topics made anew, want 1", n)
	}
}

func refuseProduce(req kmsg.Request, code int16) kmsg.Response {
	in := req.(*kmsg.ProduceRequest)
	out := in.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range in.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		out.Topics = append(out.Topics, rt)
	}
	return out
}

func TestTooLargeRecordIsKeptAsideAndTheOthersGoOn(t *testing.T) {
	t.Parallel()
	for _, confirm := range []bool{false, true} {
		c, l := broker(t), &log{n: 500, large: 250}
		rand.Read(l.noise[:])
		c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			for _, topic := range req.(*kmsg.ProduceRequest).Topics {
				for _, p := range topic.Partitions {
					if len(p.Records) > len(l.noise) {
						return refuseProduce(req, kerr.MessageTooLarge.Code), nil, true
					}
				}
			}
			return nil, nil, false
		})
		f, stop := start(t, c, l, confirm, 0)
		if confirm {
			consume(t, c, 500)
			if next, _ := l.Load(t.Context()); next != 1 {
				t.Errorf("watermark moved to %d before anything was confirmed", next)
			}
			f.Confirm(c.TopicInfo(topic).TopicID, all)
		}
		l.wait(t, 501)
		stop()
		if len(l.dead) != 1 || l.dead[0] != 250 {
			t.Errorf("kept aside %v, want record 250 alone", l.dead)
		}
		// Its place in the topic is taken by what says so, under its key.
		byKey, _ := consume(t, c, 500)
		found := 0
		for _, value := range byKey["key 5"] {
			_, r := (&event.Decoder{}).Record([]byte(value))
			if strings.HasPrefix(value, `{"kept_aside":{`) && r != nil && strings.Contains(r.Detail, "keeps the record aside") {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d records say that one is kept aside, want 1", found)
		}
	}
}

func TestStopsWhileKafkaIsAway(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 3 * inFlightMax}
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, errors.New("connection lost"), true
	})
	f, stop := start(t, c, l, false, 0)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f.mu.Lock()
		n := f.inFlight
		f.mu.Unlock()
		if n == inFlightMax {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records in flight, want %d", n, inFlightMax)
		}
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s to stop", took)
	}
	if l.next != 1 {
		t.Errorf("watermark moved to %d", l.next)
	}
}

func TestWindowFillsUntilTheSinkConfirms(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 1000}
	f, _ := start(t, c, l, true, 100*17) // room for 100 records
	_, total := consume(t, c, 100)
	if total < 100 || total > 101 {
		t.Fatalf("%d records were sent into a window of 100", total)
	}
	if next, _ := l.Load(t.Context()); next != 1 {
		t.Errorf("watermark moved to %d before anything was confirmed", next)
	}
	// From here on every offset counts as confirmed.
	f.Confirm(c.TopicInfo(topic).TopicID, all)
	consume(t, c, 1000)
	l.wait(t, 1001)
}

// all confirms whatever there is.
var all = map[int32]int64{0: 1 << 40, 1: 1 << 40, 2: 1 << 40, 3: 1 << 40}

func TestWhatWasConfirmedOfATopicSaysNothingOfTheNext(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 200}
	f, stop := start(t, c, l, true, 100*17) // room for 100 records
	_, total := consume(t, c, 100)
	first := c.TopicInfo(topic).TopicID
	f.Confirm(first, map[int32]int64{0: 20, 1: 20, 2: 20, 3: 20})
	consume(t, c, total+1) // the window moved on
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(topic, 4, nil); err != nil {
		t.Fatal(err)
	}
	second := c.TopicInfo(topic).TopicID
	// A sink that reads the new one from its start says so.
	f.Confirm(second, map[int32]int64{0: 0})
	consume(t, c, 50) // what was not confirmed is there again
	f.Confirm(first, all)
	before, _ := l.Load(t.Context())
	f.mu.Lock()
	next, window := f.next, len(f.window)
	f.mu.Unlock()
	if next > uint64(total)+2 || window < 50 {
		t.Errorf("watermark stands at %d, stored at %d, with %d records in the window: the new topic confirmed nothing",
			next, before, window)
	}
	f.Confirm(second, all)
	l.wait(t, 201)
	stop()
	if l.released != 201 {
		t.Errorf("released before %d, want 201", l.released)
	}
}

func TestBrokerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 50}
	var mu sync.Mutex
	away := true
	c.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if away {
			return nil, errors.New("connection lost"), true
		}
		return nil, nil, false
	})
	start(t, c, l, false, 0)
	time.AfterFunc(500*time.Millisecond, func() {
		mu.Lock()
		defer mu.Unlock()
		away = false
	})
	if _, total := consume(t, c, 50); total != 50 {
		t.Errorf("%d records for 50", total)
	}
}

// brokenReader cannot read on from the record after good.
type brokenReader struct {
	logReader
	good uint64
}

func (r *brokenReader) Next(ctx context.Context) (Record, error) {
	if r.next > r.good {
		return Record{}, errors.New("open spool segment: it is gone")
	}
	return r.logReader.Next(ctx)
}

// Nothing else would tell: the spool goes on taking records, and Kafka is well.
func TestASpoolThatCannotBeReadIsTold(t *testing.T) {
	t.Parallel()
	c, l := broker(t), &log{n: 10, next: 1, moved: make(chan struct{}, 1)}
	f, err := New(Options{Kafka: kafka.Cluster{Brokers: c.ListenAddrs()}, Topic: topic, Partitions: 4,
		Read:      func(from uint64) Reader { return &brokenReader{logReader{l: l, next: from}, 5} },
		Watermark: l, Release: func(uint64) error { return nil }, Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	defer func() { cancel(); wg.Wait() }()
	l.wait(t, 6)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if f.Oldest() > time.Second && strings.Contains(f.Err().Error(), "it is gone") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("oldest %s, %v", f.Oldest(), f.Err())
		}
	}
}
