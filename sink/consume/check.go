package consume

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Report is what Check found.
type Report struct {
	ClusterID  string
	Brokers    []string // host:port as the cluster tells them
	TopicID    [16]byte
	Partitions []Partition // in order
}

// Partition is one partition of the topic.
type Partition struct {
	Partition  int32
	Leader     int32 // broker, -1 when there is none
	Replicas   []int32
	ISR        []int32 // replicas in sync
	Start, End int64   // offsets
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
	return list
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
	return r, nil
}
