package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/kafka"
)

// What Direct.Append reports. Nothing was acknowledged then; records may be in Kafka
// all the same, and a sender that sends them again makes them twice there.
var (
	ErrAway = errors.New("kafka did not acknowledge in time")
	// ErrTooLarge: the topic takes no record of this size, now or later.
	ErrTooLarge = errors.New("kafka called a record too large")
	ErrBusy     = errors.New("too many records are waiting for kafka")
)

// DirectOptions of a Direct.
type DirectOptions struct {
	Kafka      kafka.Cluster
	Topic      string
	Partitions int32
	// Wait says that Append answers when all in-sync replicas have the records. Without
	// it records are only in this process' memory, and a crash loses them.
	Wait    bool
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// What an Append waits at most, and the client's two settings that make that true: without
// them a request on its way to a broker that hangs holds its records for 20 seconds, or
// without cancellation for ever.
const (
	directWait     = 3 * time.Second
	directRequest  = 2 * time.Second
	directOverhead = time.Second
	directBytesMax = 64 << 20 // in memory
	// Never reached either: what comes after a 2xx has to find room.
	directRecordsMax = 64 << 10
)

// Direct passes records to Kafka without a spool. It is safe for concurrent use.
type Direct struct {
	o       DirectOptions
	client  *kafka.Client
	waiting atomic.Int64 // records
	ready   atomic.Bool  // the topic is there
	failed  atomic.Pointer[error]
	lost    *metrics.Counter
	passed  *metrics.Counter
}

// NewDirect makes the Kafka client; Run makes the topic.
func NewDirect(o DirectOptions) (*Direct, error) {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(o.Topic),
		kgo.UnknownTopicRetries(-1),
		kgo.MetadataMinAge(250 * time.Millisecond), // the first record has three seconds
		kgo.MaxBufferedBytes(directBytesMax),
		kgo.MaxBufferedRecords(directRecordsMax),
		kgo.ProducerLinger(2 * time.Millisecond),
		kgo.ProducerBatchMaxBytes(128 << 10), // one that is too large fails its neighbours with it
	}
	if o.Wait {
		opts = append(opts, kgo.AllowIdempotentProduceCancellation(), kgo.RecordDeliveryTimeout(directWait),
			kgo.ProduceRequestTimeout(directRequest), kgo.RequestTimeoutOverhead(directOverhead))
	}
	client, err := o.Kafka.Client(clientID, o.Logger, opts...)
	if err != nil {
		return nil, err
	}
	d := &Direct{o: o, client: client, passed: o.Metrics.NewCounter("footfall_forwarded_total"),
		lost: o.Metrics.NewCounter("footfall_lost_total")}
	o.Metrics.NewGauge("footfall_direct_waiting_records", func() float64 { return float64(d.waiting.Load()) })
	return d, nil
}

// Append hands records to Kafka. With Wait it returns nil once they are acknowledged,
// ErrAway after three seconds without that, or at once before the topic is there; else once they are in memory. Keys and values
// are copied. ErrBusy means that the memory is used up.
func (d *Direct) Append(keys, values [][]byte) error {
	if d.client.BufferedProduceBytes() > directBytesMax*9/10 ||
		d.client.BufferedProduceRecords() > directRecordsMax*9/10 {
		return ErrBusy
	}
	ctx := context.Background()
	if d.o.Wait {
		if !d.ready.Load() {
			return fmt.Errorf("%w: %w", ErrAway, d.Err())
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, directWait)
		defer cancel()
	}
	var wg sync.WaitGroup
	errs := make([]error, len(values))
	for i := range values {
		both := append(append(make([]byte, 0, len(keys[i])+len(values[i])), keys[i]...), values[i]...)
		rec := &kgo.Record{Key: both[:len(keys[i]):len(keys[i])], Value: both[len(keys[i]):]}
		wg.Add(1)
		d.waiting.Add(1)
		d.client.TryProduce(ctx, rec, func(_ *kgo.Record, err error) {
			d.waiting.Add(-1)
			d.answered(err)
			errs[i] = err
			wg.Done()
		})
	}
	if !d.o.Wait {
		return nil
	}
	wg.Wait()
	err := errors.Join(errs...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kgo.ErrMaxBuffered):
		return ErrBusy
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

func (d *Direct) answered(err error) {
	if err == nil {
		d.passed.Inc()
		d.failed.Store(nil)
		return
	}
	if !errors.Is(err, kerr.MessageTooLarge) { // which says nothing of Kafka: strangers can send such
		d.failed.Store(&err)
	}
	if !d.o.Wait {
		d.lost.Inc() // it had its 2xx
	}
}

// Err says why Kafka does not take records, or nil when the last answer was good.
func (d *Direct) Err() error {
	if p := d.failed.Load(); p != nil {
		return *p
	}
	if !d.ready.Load() {
		return errors.New("topic is not there yet")
	}
	return nil
}

// Waiting returns how many records are only in memory.
func (d *Direct) Waiting() int64 { return d.waiting.Load() }

// Run makes the topic, trying until it is there or ctx ends. After a failed delivery it
// asks for the topic each second: a collector that is taken out of service for being
// unavailable gets no records by which to hear that Kafka is back.
func (d *Direct) Run(ctx context.Context) {
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		failed := d.failed.Load()
		if d.ready.Load() && failed == nil {
			wait = time.Second
			pause(ctx, wait)
			continue
		}
		_, err := makeTopic(ctx, d.client, d.o.Topic, d.o.Partitions)
		if err == nil {
			d.ready.Store(true)
			d.failed.CompareAndSwap(failed, nil)
		} else {
			d.failed.Store(&err)
		}
		pause(ctx, wait)
		wait = min(2*wait, 5*time.Second)
	}
}

// Close waits up to two seconds for what is in memory and reports what is lost.
func (d *Direct) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	d.client.Flush(ctx)
	left := d.waiting.Load()
	d.client.Close()
	if left > 0 {
		return fmt.Errorf("%d records were not passed on, and are gone: they were in memory only", left)
	}
	return nil
}

// makeTopic makes the topic when it is not there, with the cluster's own number of
// replicas, and returns its id. A missing right to do so is no obstacle when the topic
// exists.
func makeTopic(ctx context.Context, client *kafka.Client, topic string, partitions int32) (id [16]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	admin := kadm.NewClient(client.Client)
	for {
		topics, err := admin.ListTopics(ctx, topic)
		if err == nil && topics.Has(topic) {
			return topics[topic].ID, nil
		}
		resp, err := admin.CreateTopic(ctx, partitions, -1, nil, topic)
		if err == nil {
			err = resp.Err
		}
		switch {
		case err == nil:
			return resp.ID, nil
		case errors.Is(err, kerr.TopicAlreadyExists): // made beside us: the next look tells its id
			pause(ctx, 100*time.Millisecond)
		default:
			return id, fmt.Errorf("make topic %s: %w", topic, client.Explain(err))
		}
	}
}
