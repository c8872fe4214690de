package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quiet is how long a replay waits for records before it looks whether there are any.
const quiet = 2 * time.Second

// endEmpty ends the ranges whose rest holds no record: where a log was compacted, the
// offsets before its end can be of batches that are empty, and a client that polls never
// tells that it has read those. What cannot be found out now is asked again.
func (r *replay) endEmpty(ctx context.Context, client *kgo.Client) {
	for p, end := range r.ends {
		asking, cancel := context.WithTimeout(ctx, askMax)
		empty, err := r.empty(asking, client, p, r.next[p], end)
		cancel()
		switch {
		case empty:
			delete(r.ends, p)
		case err != nil && ctx.Err() == nil:
			r.o.Logger.Warn("rest of a range is not known", "topic", r.s.Topic, "partition", p, "err", err)
		}
	}
}

// empty reads a log from at, batch by batch, and reports whether it gets as far as end
// without a record before it.
func (r *replay) empty(ctx context.Context, client *kgo.Client, p int32, at, end int64) (bool, error) {
	meta, err := kadm.NewClient(client).Metadata(ctx, r.s.Topic)
	if err != nil {
		return false, fmt.Errorf("ask for the leader: %w", err)
	}
	leader := meta.Topics[r.s.Topic].Partitions[p].Leader
	for at < end {
		answer, err := r.fetch(ctx, client.Broker(int(leader)), p, at)
		if err != nil {
			return false, fmt.Errorf("fetch at %d: %w", at, err)
		}
		found, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: at, Topic: r.s.Topic,
			Partition: p}, answer, kgo.DefaultDecompressor(), nil)
		if found.Err != nil {
			return false, fmt.Errorf("fetch at %d: %w", at, found.Err)
		}
		if len(found.Records) > 0 && found.Records[0].Offset < end || next <= at {
			return false, nil // it is on its way
		}
		at = next
	}
	return true, nil
}

func (r *replay) fetch(ctx context.Context, leader *kgo.Broker, p int32, at int64) (*kmsg.FetchResponseTopicPartition, error) {
	of := kmsg.NewFetchRequestTopicPartition()
	of.Partition, of.FetchOffset, of.PartitionMaxBytes = p, at, partitionBytes
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID, topic.Partitions = r.s.Topic, r.s.TopicID, []kmsg.FetchRequestTopicPartition{of}
	req := kmsg.NewPtrFetchRequest()
	req.MinBytes, req.MaxBytes, req.SessionEpoch, req.Topics = 0, fetchBytes, -1, []kmsg.FetchRequestTopic{topic}
	got, err := leader.RetriableRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := got.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(answer.ErrorCode); err != nil {
		return nil, err
	}
	if len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return nil, errors.New("the broker says nothing of the partition")
	}
	return &answer.Topics[0].Partitions[0], nil
}
