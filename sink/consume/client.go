package consume

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/kafka"
)

// Bounds of what a client holds: per broker one fetch, decompressed batch by batch.
const (
	fetchBytes      = 8 << 20
	partitionBytes  = 2 << 20
	decompressBytes = 64 << 20
	fetchWait       = 250 * time.Millisecond
)

// client returns a client of the topic's brokers, with more options.
func (o Options) client(more ...kgo.Opt) (*kafka.Client, error) {
	opts := []kgo.Opt{
		kgo.FetchMinBytes(1),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(partitionBytes),
		kgo.MaxDecompressBatchBytes(decompressBytes),
		kgo.RetryBackoffFn(func(failures int) time.Duration { return backoff(failures, 0) }),
	}
	return o.Kafka.Client("footfall-sink", o.Logger, append(opts, more...)...)
}

// identify asks which cluster and which topic of that name this is.
func identify(ctx context.Context, admin *kadm.Client, topic string) (cluster string,
	id [16]byte, err error) {
	meta, err := admin.Metadata(ctx, topic)
	if err != nil {
		return "", id, fmt.Errorf("ask for topic %s: %w", topic, err)
	}
	t := meta.Topics[topic]
	if t.Err != nil {
		return "", id, fmt.Errorf("ask for topic %s: %w", topic, t.Err)
	}
	return meta.Cluster, t.ID, nil
}
