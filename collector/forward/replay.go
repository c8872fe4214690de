package forward

import (
	"context"
	"log/slog"
	"sync"

	"footfall/event"

	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/kafka"
)

// Replay sends records to a topic that is there. It is for one goroutine.
type Replay struct {
	client *kafka.Client
	mu     sync.Mutex
	err    error // the first that a record met
}

// NewReplay makes the Kafka client. Close it.
func NewReplay(cluster kafka.Cluster, topic string, log *slog.Logger) (*Replay, error) {
	client, err := cluster.Client("footfall-replay", log,
		kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(inFlightMax))
	if err != nil {
		return nil, err
	}
	return &Replay{client: client}, nil
}

// Send hands a record of a spool over, waiting for room. It copies, and returns the first
// error that any record before has met.
func (r *Replay) Send(ctx context.Context, spool event.UUID, rec Record) error {
	r.client.Produce(ctx, rec.kafka(spool),
		func(_ *kgo.Record, err error) { r.note(err) })
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Replay) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// Close waits until all records are acknowledged by all in-sync replicas, or ctx ends.
func (r *Replay) Close(ctx context.Context) error {
	r.note(r.client.Flush(ctx))
	r.client.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}
