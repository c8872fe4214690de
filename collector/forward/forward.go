// Package forward passes records from the spool on to Kafka: in order, acknowledged
// by all in-sync replicas, retried for ever.
//
// The watermark is the number below which every record is done. It moves only over
// the contiguous prefix of done records, is stored about once a second, and what is
// below it may leave the spool. Done means acknowledged by Kafka or, with
// Options.Confirm, committed by the sink as told through Confirm.
//
// When things go wrong: while Kafka is away the client retries and the spool grows;
// nothing here does. Any error that ends a record's delivery (a topic that was
// recreated, a missing right) makes the forwarder begin again at the watermark after
// a pause, with fresh metadata; what was sent twice that way stays one row, because
// the sink knows event ids. The exception is a record that Kafka says is too large
// even alone: it goes to Options.Dead, is counted, a few bytes in its place tell the sink
// so (event.AppendAside), and the others go on. After a crash the records since the last
// stored watermark are sent again. A topic that was made anew is another one: what was
// confirmed of the one before says nothing of it.
package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"footfall/event"
	"footfall/failpoint"
	"footfall/kafka"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Reader yields spooled records in order, waiting for new ones. The bytes are valid
// until the next call.
type Reader interface {
	Next(ctx context.Context) (Record, error)
	Close() error
}

// Watermark keeps the number of the first record that is not done.
type Watermark interface {
	Load(ctx context.Context) (uint64, error)
	Store(ctx context.Context, next uint64) error
}

// Options of a Forwarder; all are required but Confirm.
type Options struct {
	Kafka      kafka.Cluster
	Topic      string
	Partitions int32 // of the topic, when it has to be made

	SpoolID   event.UUID // goes with each record, beside its number
	Read      func(from uint64) Reader
	Watermark Watermark
	Release   func(before uint64) error            // those records may go
	Dead      func(seq uint64, value []byte) error // keeps a record Kafka never takes
	Confirm   bool                                 // done is told through Confirm
	Window    int64                                // bytes sent but not done; 32 MiB
	Logger    *slog.Logger
	Metrics   *metrics.Set
}

const clientID = "footfall-collector"

// Forwarder passes records on. Its methods are safe for concurrent use.
type Forwarder struct {
	o      Options
	client *kafka.Client
	stats  stats

	mu         sync.Mutex
	changed    chan struct{}           // there may be room now
	generation int                     // of the present pass; promises of older ones count nothing
	abort      context.CancelCauseFunc // ends the present pass
	window     []entry                 // sent and not done, oldest first
	bytes      int64                   // in window
	next       uint64                  // the watermark
	topicID    [16]byte                // of the present pass
	formerID   [16]byte                // of the topic that was there before, if it is another
	confirmed  map[int32]int64         // by partition of the present topic
	inFlight   int                     // records handed to the client and not answered, of any pass
	flying     int64                   // their bytes
	aloneUntil uint64                  // records up to this one are sent one at a time
	unreached  time.Time               // since when the topic cannot be looked at; zero when it can
	last       error                   // what was said last; nil after an acknowledgement
	unacked    time.Time               // since when deliveries fail; zero when they do not
	unread     time.Time               // since when the next record cannot be read; zero when it can
}

type stats struct {
	forwarded, restarts, dead, anew *metrics.Counter
	ackSeconds                      *metrics.PrometheusHistogram
}

// New makes a forwarder and its Kafka client. It does not connect: Run does.
func New(o Options) (*Forwarder, error) {
	if o.Window == 0 {
		o.Window = 32 << 20
	}
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(o.Topic),
		// A broker may hear of the topic late; one that stays unknown was deleted, and the
		// next pass makes it again.
		kgo.UnknownTopicRetries(2),
		// Never reached, because admit stops before: a Produce that waits for room would
		// not hear of our end.
		kgo.MaxBufferedRecords(2 * inFlightMax),
		// Kafka refuses a batch whole when it is too large, and the client does not
		// split it: keep batches near the size of the largest record.
		kgo.ProducerBatchMaxBytes(128 << 10),
		// Half the client's CPU at 10,000 records a second for 5 ms more to the row.
		kgo.ProducerLinger(5 * time.Millisecond),
	}
	client, err := o.Kafka.Client(clientID, o.Logger, opts...)
	if err != nil {
		return nil, err
	}
	f := &Forwarder{o: o, client: client, changed: make(chan struct{}, 1),
		confirmed: map[int32]int64{}}
	f.register()
	return f, nil
}

func (f *Forwarder) register() {
	m := f.o.Metrics
	f.stats = stats{
		forwarded:  m.NewCounter("footfall_forwarded_total"),
		restarts:   m.NewCounter("footfall_forward_restarts_total"),
		dead:       m.NewCounter("footfall_forward_dead_total"),
		anew:       m.NewCounter("footfall_forward_topics_made_anew_total"),
		ackSeconds: m.NewPrometheusHistogram("footfall_forward_ack_seconds"),
	}
	m.NewGauge("footfall_forward_window_records", func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(len(f.window))
	})
	m.NewGauge("footfall_oldest_unforwarded_seconds", func() float64 {
		return f.Oldest().Seconds()
	})
}

// Oldest returns how long Kafka has kept us waiting: with the oldest record on its
// way, or for an answer at all.
func (f *Forwarder) Oldest() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	since := []time.Time{f.unreached, f.unacked, f.unread}
	if len(f.window) > 0 {
		since = append(since, f.window[0].sent)
	}
	var longest time.Duration
	for _, t := range since {
		if !t.IsZero() {
			longest = max(longest, time.Since(t))
		}
	}
	return longest
}

// Run forwards until ctx ends, then waits up to two seconds for what is on its way
// (the rest is sent again at the next start), stores the watermark and closes the
// client. It returns an error only when the first watermark cannot be loaded.
func (f *Forwarder) Run(ctx context.Context) error {
	defer f.client.Close()
	next, err := f.o.Watermark.Load(ctx)
	if err != nil {
		return fmt.Errorf("load watermark: %w", err)
	}
	f.mu.Lock()
	f.next, f.unreached = next, time.Now()
	f.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { f.keepWatermark(ctx) })
	for wait := 100 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, 10*time.Second) {
		began := time.Now()
		err := f.pass(ctx)
		if ctx.Err() != nil {
			break
		}
		f.stats.restarts.Inc()
		f.o.Logger.Warn("forwarding begins again at the watermark", "err", err, "wait", wait)
		if time.Since(began) > time.Minute {
			wait = 100 * time.Millisecond
		}
		pause(ctx, wait/2+rand.N(wait))
		f.client.PurgeTopicsFromClient(f.o.Topic)
	}
	wg.Wait()
	f.finish()
	return nil
}

// finish has a budget of its own: ctx has ended by now.
func (f *Forwarder) finish() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := f.client.Flush(ctx); err != nil {
		f.o.Logger.Info("left records in the spool for the next start", "err", err)
	}
	f.storeWatermark(ctx)
}

// pass sends records from the watermark on until something breaks. That can come
// while it waits for the next record, hence the context of its own.
func (f *Forwarder) pass(ctx context.Context) error {
	id, err := makeTopic(ctx, f.client, f.o.Topic, f.o.Partitions)
	f.note(&f.unreached, err)
	if err != nil {
		return err
	}
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	r := f.o.Read(f.begin(abort, id))
	defer r.Close()
	for {
		rec, err := r.Next(ctx)
		if err == nil {
			err = f.admit(ctx, rec.Seq, rec.size())
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			f.note(&f.unread, err)
			return err
		}
		f.send(rec)
	}
}

// Err returns what the spool, Kafka, or the way to it, last said against a record.
func (f *Forwarder) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		return errors.New("no answer")
	}
	return f.last
}

// note remembers since when something fails, and why.
func (f *Forwarder) note(since *time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || f.unread.IsZero() { // that the topic is there is no news of the spool
		f.last = err
	}
	switch {
	case err == nil:
		*since = time.Time{}
	case since.IsZero():
		*since = time.Now()
	}
}

func (f *Forwarder) begin(abort context.CancelCauseFunc, topicID [16]byte) (from uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if topicID != f.topicID {
		if f.topicID != ([16]byte{}) {
			f.stats.anew.Inc()
			f.o.Logger.Error("the topic was made anew: what the former one held and nobody had read is gone; "+
				"footfall spool replay sends again what is still kept", "topic", f.o.Topic)
		}
		f.formerID, f.topicID = f.topicID, topicID
		clear(f.confirmed)
	}
	f.generation++
	f.abort = abort
	f.window, f.bytes = nil, 0
	return f.next
}

func (f *Forwarder) send(r Record) {
	seq, size, rec := r.Seq, r.size(), r.kafka(f.o.SpoolID)

	f.mu.Lock()
	f.unread = time.Time{}
	f.window = append(f.window, entry{seq: seq, size: size, sent: time.Now()})
	f.bytes += size
	f.inFlight++
	f.flying += size
	s := sent{generation: f.generation, seq: seq, alone: seq <= f.aloneUntil}
	f.mu.Unlock()
	// Not ctx: a record once handed over must end as acknowledged or failed, and
	// cancelling one in flight leaves that unknown.
	f.client.Produce(context.Background(), rec, func(r *kgo.Record, err error) { f.answered(s, r, err) })
}

// sent is what was handed to the client.
type sent struct {
	generation int
	seq        uint64
	alone      bool // in its batch
	aside      bool // stands for a record that is kept aside
}

// aside keeps a record that Kafka never takes, and sends what tells so in its place. The
// sink then knows that its number does not get lost.
func (f *Forwarder) aside(s sent, r *kgo.Record) error {
	f.stats.dead.Inc()
	f.o.Logger.Error("kept a record aside that Kafka says is too large: "+
		"raise the topic's max.message.bytes", "seq", s.seq, "bytes", len(r.Value))
	if err := f.o.Dead(s.seq, r.Value); err != nil {
		return err
	}
	instead := &kgo.Record{Key: r.Key, Value: event.AppendAside(nil, f.o.SpoolID, s.seq, len(r.Value)), Headers: r.Headers}
	f.mu.Lock()
	f.flying += int64(len(instead.Value) - len(r.Value))
	f.mu.Unlock()
	s.alone, s.aside = false, true
	// Not Produce, which waits when there is no room: we are in the client's hands here.
	f.client.TryProduce(context.Background(), instead, func(r *kgo.Record, err error) { f.answered(s, r, err) })
	return nil
}

func (f *Forwarder) answered(s sent, r *kgo.Record, err error) {
	if errors.Is(err, kerr.MessageTooLarge) && s.alone {
		if err = f.aside(s, r); err == nil {
			return
		}
	}
	f.note(&f.unacked, err)

	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
	f.flying -= int64(len(r.Key) + len(r.Value))
	defer f.wake()
	if s.generation != f.generation {
		return
	}
	if errors.Is(err, kerr.MessageTooLarge) {
		// It was the batch that is too large; which record made it so shows when each
		// is sent alone.
		f.aloneUntil = max(f.aloneUntil, f.window[len(f.window)-1].seq)
	}
	if err != nil {
		f.abort(err)
		return
	}
	e := f.entry(s.seq)
	e.acked, e.partition, e.offset = true, r.Partition, r.Offset
	e.done = !f.o.Confirm || f.confirmed[r.Partition] > r.Offset
	failpoint.Hit(failpoint.ForwardAcked)
	f.stats.forwarded.Inc()
	f.stats.ackSeconds.UpdateDuration(e.sent)
	f.advance()
}

func (f *Forwarder) keepWatermark(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var stored uint64
	for {
		select {
		case <-t.C:
			f.mu.Lock()
			next := f.next
			f.mu.Unlock()
			if next != stored && f.storeWatermark(ctx) {
				stored = next
			}
		case <-ctx.Done():
			return
		}
	}
}

// storeWatermark keeps the position before it lets records go, so that a crash
// between the two finds them again.
func (f *Forwarder) storeWatermark(ctx context.Context) bool {
	f.mu.Lock()
	next := f.next
	f.mu.Unlock()
	if err := f.o.Watermark.Store(ctx, next); err != nil {
		f.o.Logger.Warn("watermark not stored", "err", err)
		return false
	}
	if err := f.o.Release(next); err != nil {
		f.o.Logger.Warn("spool not trimmed", "err", err)
	}
	return true
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
