package consume

import (
	"context"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Report is what Check found.
type Report struct {
	ClusterID  string
	Brokers    []string // host:port as the cluster tells them
	TopicID    [16]byte
	Partitions []Partition // in order
	Settings   Settings
}

// Partition is one partition of the topic.
type Partition struct {
	Partition  int32
	Leader     int32 // broker, -1 when there is none
	Replicas   []int32
	ISR        []int32 // replicas in sync
	Start, End int64   // offsets
}

// Settings are what the brokers say of the topic. Known is false when they do not tell.
type Settings struct {
	Known           bool
	MinInSync       int           // replicas that have to have a record
	Unclean         bool          // a replica that lags may become leader
	Retention       time.Duration // negative: for ever
	RetentionBytes  int64         // of a partition; negative: any
	MessageBytesMax int64
	Compact         bool
}

// Problems says in short sentences what endangers records in the topic.
func (r *Report) Problems() []string {
	var list []string
	for _, p := range r.Partitions {
		switch {
		case p.Leader < 0:
			list = append(list, fmt.Sprintf("partition %d has no leader", p.Partition))
		case len(p.ISR) < len(p.Replicas):
			list = append(list, fmt.Sprintf("partition %d has %d of %d replicas in sync",
				p.Partition, len(p.ISR), len(p.Replicas)))
		}
	}
	return append(list, r.replication()...)
}

// What the topic has to keep: a sink that is away over a weekend, and the largest
// batch that a collector sends.
const (
	retentionMin    = 72 * time.Hour
	messageBytesMin = 256 << 10
)

// replication judges the settings. A cluster of one broker cannot do better than one
// replica, so nothing is said of that.
func (r *Report) replication() (list []string) {
	fewest := math.MaxInt
	for _, p := range r.Partitions {
		fewest = min(fewest, len(p.Replicas))
	}
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if several := len(r.Brokers) > 1; several && fewest < 3 {
		say("the topic has %d replicas on %d brokers: give it 3 (replication factor), or a broker's disk takes events along",
			fewest, len(r.Brokers))
	}
	s := r.Settings
	if !s.Known {
		return list
	}
	if fewest >= 3 && s.MinInSync < 2 {
		say("min.insync.replicas is %d: set 2, or an event counts as safe on one disk", s.MinInSync)
	}
	if fewest > 1 && s.MinInSync >= fewest {
		say("min.insync.replicas is %d of %d replicas: set %d, or one broker away stops all writing",
			s.MinInSync, fewest, fewest-1)
	}
	if s.Unclean {
		say("unclean.leader.election.enable is true: set false, or a replica that lags becomes leader and events are gone")
	}
	if s.Retention >= 0 && s.Retention < retentionMin {
		say("retention.ms is %s: set at least %s, or what a sink has not read by then is gone", s.Retention, retentionMin)
	}
	if s.RetentionBytes >= 0 && s.RetentionBytes < 1<<30 {
		say("retention.bytes is %d: set -1 or at least 1 GiB, or much traffic pushes out what no sink has read", s.RetentionBytes)
	}
	if s.MessageBytesMax < messageBytesMin {
		say("max.message.bytes is %d: set at least %d, or the collector keeps events aside", s.MessageBytesMax, messageBytesMin)
	}
	if s.Compact {
		say("cleanup.policy compacts: set delete, or of each visitor only the newest event stays")
	}
	return list
}

// settings asks for what may be asked for without any right but to describe the topic.
func settings(ctx context.Context, admin *kadm.Client, topic string) (s Settings) {
	list, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil || len(list) != 1 || list[0].Err != nil {
		return s
	}
	s = Settings{Known: true, Retention: -1, RetentionBytes: -1, MinInSync: 1, MessageBytesMax: math.MaxInt64}
	for _, c := range list[0].Configs {
		value := c.MaybeValue()
		n, err := strconv.ParseInt(value, 10, 64)
		switch c.Key {
		case "unclean.leader.election.enable":
			s.Unclean = value == "true"
		case "cleanup.policy":
			s.Compact = strings.Contains(value, "compact")
		}
		if err != nil {
			continue
		}
		switch c.Key {
		case "min.insync.replicas":
			s.MinInSync = int(n)
		case "retention.ms":
			s.Retention = time.Duration(min(n, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
		case "retention.bytes":
			s.RetentionBytes = n
		case "max.message.bytes":
			s.MessageBytesMax = n
		}
	}
	return s
}

// Check asks the brokers about the cluster and the topic. It changes nothing and
// gives up when ctx ends.
func Check(ctx context.Context, o Options) (*Report, error) {
	o = o.withDefaults()
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client.Client)
	meta, err := admin.Metadata(ctx, o.Topic)
	if err != nil {
		return nil, fmt.Errorf("reach brokers: %w", client.Explain(err))
	}
	topic := meta.Topics[o.Topic]
	r := &Report{ClusterID: meta.Cluster, TopicID: topic.ID}
	for _, b := range meta.Brokers {
		r.Brokers = append(r.Brokers, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	if topic.Err != nil {
		return r, fmt.Errorf("look at topic %s: %w", o.Topic, topic.Err)
	}
	starts, err := admin.ListStartOffsets(ctx, o.Topic)
	if err != nil {
		return r, fmt.Errorf("list start offsets: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, o.Topic)
	if err != nil {
		return r, fmt.Errorf("list end offsets: %w", err)
	}
	for _, p := range topic.Partitions.Sorted() {
		start, _ := starts.Lookup(o.Topic, p.Partition)
		end, _ := ends.Lookup(o.Topic, p.Partition)
		r.Partitions = append(r.Partitions, Partition{Partition: p.Partition, Leader: p.Leader,
			Replicas: p.Replicas, ISR: p.ISR, Start: start.Offset, End: end.Offset})
	}
	r.Settings = settings(ctx, admin, o.Topic)
	return r, nil
}

// OffsetsAt returns for each partition the offset of its first record from t on, by the
// time that its collector gave it; what lies before is older. Partitions that do not
// answer are left out.
func OffsetsAt(ctx context.Context, o Options, t time.Time) (map[int32]int64, error) {
	o = o.withDefaults()
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	listed, err := kadm.NewClient(client.Client).ListOffsetsAfterMilli(ctx, t.UnixMilli(), o.Topic)
	if err != nil && len(listed) == 0 {
		return nil, fmt.Errorf("list offsets of %s: %w", t.UTC().Format(time.RFC3339), client.Explain(err))
	}
	offsets := map[int32]int64{}
	listed.Each(func(l kadm.ListedOffset) {
		if l.Err == nil && l.Partition >= 0 {
			offsets[l.Partition] = l.Offset
		}
	})
	return offsets, nil
}
