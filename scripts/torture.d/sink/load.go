package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/event"
)

const (
	duplicateShare = 0.02
	poisonShare    = 0.001
	remembered     = 20_000 // records that may be sent again
	burst          = 400    // records produced at once
)

// place is where a record is in the topic.
type place struct {
	partition int32
	offset    int64
}

// letter is a record that has to be a dead letter.
type letter struct {
	fate
	key, value uint64 // hashes
}

// oracle produces records and knows what has to become of them.
type oracle struct {
	plan       *plan
	client     *kgo.Client
	topic      string
	decoder    event.Decoder
	poisons    []poison
	partitions atomic.Int32 // to send to; grows
	spool      event.UUID   // the records' origin, with their numbers

	mu       sync.Mutex
	rows     map[event.UUID]uint64 // hash of the line of each row that has to be there
	letters  map[place]letter
	produced int
	numbered uint64 // by the spool
	acked    int
	err      error
}

func newOracle(p *plan, brokers []string, topic string) (*oracle, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1),
		kgo.ProducerLinger(5*time.Millisecond), kgo.MetadataMinAge(250*time.Millisecond),
		kgo.MetadataMaxAge(3*time.Second))
	if err != nil {
		return nil, err
	}
	o := &oracle{plan: p, client: client, topic: topic, poisons: poisons(p.trigger),
		rows: make(map[event.UUID]uint64, p.records), letters: map[place]letter{},
		spool: event.NewUUID(time.Now())}
	o.partitions.Store(int32(p.partitions))
	return o, nil
}

// load produces the plan's records over its time, and returns when Kafka has
// acknowledged all of them.
func (o *oracle) load(ctx context.Context) error {
	r := rand.New(rand.NewPCG(o.plan.seed, 1))
	began := time.Now()
	ring := make([]*kgo.Record, 0, remembered)
	for n := 0; n < o.plan.records && ctx.Err() == nil; n++ {
		if n%burst == 0 {
			due := began.Add(o.plan.load * time.Duration(n) / time.Duration(o.plan.records))
			time.Sleep(time.Until(due))
		}
		switch draw := r.Float64(); {
		case draw < poisonShare:
			o.poison(ctx, r)
		case len(ring) > 0 && draw < poisonShare+o.plan.duplicates(n):
			again := ring[r.IntN(len(ring))]
			rec := &kgo.Record{Key: again.Key, Value: again.Value}
			if r.IntN(2) == 0 {
				rec.Headers = again.Headers // a spool's replay, not a browser's
			}
			o.produce(ctx, r, rec, nil)
		default:
			rec := o.event(ctx, r)
			if len(ring) < cap(ring) {
				ring = append(ring, rec)
			} else {
				ring[n%remembered] = rec
			}
		}
	}
	if err := o.client.Flush(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil && o.acked != o.produced {
		o.err = fmt.Errorf("%d of %d records acknowledged", o.acked, o.produced)
	}
	return o.err
}

func (o *oracle) event(ctx context.Context, r *rand.Rand) *kgo.Record {
	e := newEvent(r)
	key, value := event.SplitRecord(e.AppendRecord(nil))
	rec := &kgo.Record{Key: key, Value: value}
	o.expect(e.EventID, hashOf(line(nil, e)))
	o.produce(ctx, r, rec, nil)
	return rec
}

func (o *oracle) poison(ctx context.Context, r *rand.Rand) {
	p := o.poisons[r.IntN(len(o.poisons))]
	value, f := p.make(r, &o.decoder)
	rec := &kgo.Record{Value: value}
	if r.IntN(2) == 0 {
		rec.Key = []byte(noise(r, 8) + "\x00\xff")
	}
	if !f.dead {
		o.expect(f.id, f.line)
		o.produce(ctx, r, rec, nil)
		return
	}
	o.produce(ctx, r, rec, &letter{f, hashOf(rec.Key), hashOf(value)})
}

func (o *oracle) expect(id event.UUID, line uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.rows[id] = line
}

func (o *oracle) produce(ctx context.Context, r *rand.Rand, rec *kgo.Record, dead *letter) {
	rec.Partition = r.Int32N(o.partitions.Load())
	o.mu.Lock()
	o.produced++
	if rec.Headers == nil {
		o.numbered++
		origin := event.Origin{Spool: o.spool, Seq: o.numbered, First: o.numbered}
		rec.Headers = []kgo.RecordHeader{{Key: event.OriginHeader, Value: origin.Append(nil)}}
	}
	o.mu.Unlock()
	o.client.Produce(ctx, rec, func(rec *kgo.Record, err error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if err != nil {
			o.err = fmt.Errorf("produce: %w", err)
			return
		}
		o.acked++
		if dead != nil {
			o.letters[place{rec.Partition, rec.Offset}] = *dead
		}
	})
}
