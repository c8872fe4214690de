package consume

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Tail calls fn for each record of the topic, in order within a partition, from
// the end of the topic or from its start, until ctx ends (nil), fn returns an error
// (that one) or Kafka refuses (its). It belongs to no group and stores nothing;
// while Kafka is away it waits.
func Tail(ctx context.Context, o Options, fromEnd bool, fn func(Record) error) error {
	o = o.withDefaults()
	from := kgo.NewOffset().AtStart()
	if fromEnd {
		from = kgo.NewOffset().AtEnd()
	}
	client, err := o.client(kgo.ConsumeTopics(o.Topic), kgo.ConsumeResetOffset(from))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, o.BatchRows)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("read %s/%d: %w", e.Topic, e.Partition, e.Err)
		}
		for r := range fetches.RecordsAll() {
			if err := fn(Record{Offset: r.Offset, Key: r.Key, Value: r.Value}); err != nil {
				return err
			}
		}
	}
}
