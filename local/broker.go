package local

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// virtualPort exists only inside the process; no socket is bound to it.
	virtualPort = 9092
	// segmentBytes is small because memory comes back a whole segment at a time, per partition.
	segmentBytes = 256 << 10
)

// BrokerOptions says what StartBroker makes.
type BrokerOptions struct {
	Topic      string // the one topic; no other is ever created by itself
	Partitions int32  // at least 1
	// Listen is a loopback host:port on which other programs may connect too (port 0 takes a free
	// one), or "" for no port. Whoever reaches the port may read and write everything.
	Listen string
	Logger *slog.Logger // nil discards
}

// Broker speaks the Kafka protocol to clients in this process. It keeps records in memory until
// Trim or Close. All methods may be called from any goroutine.
type Broker struct {
	topic   string
	network kfake.VirtualNetwork
	cluster *kfake.Cluster
	client  *kgo.Client
	admin   *kadm.Client

	mu      sync.Mutex
	trimmed map[int32]int64
}

// StartBroker starts a broker with an empty topic and a new random cluster id. Positions kept from
// an earlier start mean nothing to it. The caller owns the broker and closes it.
func StartBroker(o BrokerOptions) (*Broker, error) {
	if o.Topic == "" || o.Partitions < 1 {
		return nil, fmt.Errorf("start broker: topic %q with %d partitions", o.Topic, o.Partitions)
	}
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	b := &Broker{topic: o.Topic, trimmed: map[int32]int64{}}
	port, listen, err := b.listen(o.Listen, log)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	b.cluster, err = kfake.NewCluster(
		kfake.Ports(port),
		kfake.ListenFn(listen),
		kfake.ClusterID(newClusterID()),
		kfake.SeedTopics(o.Partitions, o.Topic),
		kfake.BrokerConfigs(map[string]string{"log.segment.bytes": strconv.Itoa(segmentBytes)}),
		kfake.WithLogger(brokerLogger{log}),
	)
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	b.client, err = kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.Dialer(b.Dial))
	if err != nil {
		b.cluster.Close()
		return nil, fmt.Errorf("start broker: %w", err)
	}
	b.admin = kadm.NewClient(b.client)
	return b, nil
}

// Addrs are the addresses to give to kgo.SeedBrokers together with Dial. With
// BrokerOptions.Listen they work for other programs too.
func (b *Broker) Addrs() []string { return b.cluster.ListenAddrs() }

// Dial connects to the broker through memory; it fits kgo.Dialer. An address that is not the
// broker's gets an error.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial broker: %w", err)
	}
	conn, err := b.network.DialContext(ctx, network, net.JoinHostPort("localhost", port))
	if err != nil {
		return nil, fmt.Errorf("dial broker at %s: %w", addr, err)
	}
	return conn, nil
}

// Trim drops the records below the given offset of each partition and frees their memory, but for
// the segment that still holds a newer record: 256 KiB and one batch, a partition. An offset at or
// below an earlier one is ignored; one beyond the end of the partition is an error, and the other
// partitions are trimmed all the same. Consumers must be past the offsets.
func (b *Broker) Trim(ctx context.Context, next map[int32]int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var offsets kadm.Offsets
	for partition, offset := range next {
		if offset > b.trimmed[partition] {
			offsets.AddOffset(b.topic, partition, offset, -1)
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	answers, err := b.admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return fmt.Errorf("trim topic: %w", err)
	}
	var problems []error
	answers.Each(func(r kadm.DeleteRecordsResponse) {
		switch {
		case r.Err == nil:
			b.trimmed[r.Partition] = r.LowWatermark
		case errors.Is(r.Err, kerr.OffsetOutOfRange):
			problems = append(problems, fmt.Errorf("trim partition %d to %d: beyond its end: %w",
				r.Partition, next[r.Partition], r.Err))
		default:
			problems = append(problems, fmt.Errorf("trim partition %d: %w", r.Partition, r.Err))
		}
	})
	return errors.Join(problems...)
}

// Close ends the broker and forgets its records. Close the clients first: one that still produces
// would go on trying.
func (b *Broker) Close() {
	b.client.Close()
	b.cluster.Close()
}

func newClusterID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never returns an error
	return base64.RawURLEncoding.EncodeToString(id)
}

// brokerLogger lowers kfake's lines by one level: it writes for people who test clients.
type brokerLogger struct{ log *slog.Logger }

func (l brokerLogger) Logf(level kfake.LogLevel, msg string, args ...any) {
	to := slog.LevelDebug
	if level <= kfake.LogLevelError {
		to = slog.LevelWarn
	}
	if ctx := context.Background(); l.log.Enabled(ctx, to) {
		l.log.Log(ctx, to, "broker: "+fmt.Sprintf(msg, args...))
	}
}
