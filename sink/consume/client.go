package consume

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/plugin/kslog"
)

// Bounds of what a client holds: per broker one fetch, decompressed batch by batch.
const (
	fetchBytes      = 8 << 20
	partitionBytes  = 2 << 20
	decompressBytes = 64 << 20
	fetchWait       = 250 * time.Millisecond
)

// client returns a client of the topic's brokers, with more options.
func (o Options) client(more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ClientID("footfall-sink"),
		kgo.WithLogger(kslog.New(slog.New(quiet{o.Logger.Handler()}))),
		kgo.FetchMinBytes(1),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.FetchMaxPartitionBytes(partitionBytes),
		kgo.MaxDecompressBatchBytes(decompressBytes),
		kgo.RetryBackoffFn(func(failures int) time.Duration { return backoff(failures, 0) }),
	}
	if o.Dial != nil {
		opts = append(opts, kgo.Dialer(o.Dial))
	}
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("configure kafka client: %w", err)
	}
	return client, nil
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

// quiet passes on a client's warnings and errors. What it tells as information is
// of interest only to who looks for details.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	if level < slog.LevelWarn {
		level = slog.LevelDebug
	}
	return q.Handler.Enabled(ctx, level)
}
