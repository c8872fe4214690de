package collector

import (
	"context"
	"errors"
	"fmt"

	"footfall/collector/forward"
	"footfall/collector/intake"
	"footfall/event"
)

// direct is for collectors without a disk. Under DurabilityKafka a 2xx waits for Kafka,
// three seconds at most, and Kafka away is 503; what timed out may be there all the same,
// and becomes one row when it is sent again. Under DurabilityMemory a 2xx says nothing.
type direct struct {
	mode     Durability
	producer *forward.Direct
}

func newDirect(o Options) (*direct, error) {
	p, err := forward.NewDirect(forward.DirectOptions{Kafka: o.Kafka, Topic: o.Topic,
		Partitions: o.Partitions, Wait: o.Durability == DurabilityKafka,
		Logger: o.Logger.With("room", "forward"), Metrics: o.Metrics})
	if err != nil {
		return nil, err
	}
	if o.Durability == DurabilityMemory {
		o.Logger.Warn("durability is memory: a crash loses events that were answered 2xx")
	}
	return &direct{o.Durability, p}, nil
}

func (d *direct) begin(context.Context) error { return nil }

func (d *direct) append(_ context.Context, records [][]byte) error {
	keys, values := make([][]byte, len(records)), make([][]byte, len(records))
	for i, r := range records {
		keys[i], values[i] = event.SplitRecord(r)
	}
	err := d.producer.Append(keys, values)
	switch {
	case errors.Is(err, forward.ErrBusy):
		return fmt.Errorf("%w: %w", intake.ErrBusy, err)
	case errors.Is(err, forward.ErrTooLarge):
		return fmt.Errorf("%w: %w", intake.ErrTooLarge, err)
	case errors.Is(err, forward.ErrAway):
		return fmt.Errorf("%w: %w", intake.ErrAway, err)
	}
	return err
}

func (d *direct) run(ctx context.Context) error {
	d.producer.Run(ctx)
	return nil
}

func (d *direct) confirm([16]byte, map[int32]int64) {}

func (d *direct) health() (refused, waiting error) {
	err := d.producer.Err()
	if err != nil {
		err = fmt.Errorf("kafka: %w", err)
	}
	if d.mode == DurabilityKafka {
		return err, nil
	}
	return nil, errors.Join(fmt.Errorf("durability is memory: a crash loses the %d events that wait",
		d.producer.Waiting()), err)
}

func (d *direct) close() error { return d.producer.Close() }
