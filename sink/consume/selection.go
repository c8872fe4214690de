package consume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Bound is one end of what is replayed: a time, or offsets. The zero Bound is where the
// logs start, or where they end at present.
type Bound struct {
	// Time is compared with the one that Kafka keeps of a record: when it was produced, or
	// appended if the topic says so.
	Time time.Time
	// Offsets are by partition; partitions that it lacks are not replayed.
	Offsets map[int32]int64
}

// Selection is what of a topic is replayed.
type Selection struct {
	ClusterID string
	Topic     string
	TopicID   [16]byte
	Ranges    []Range // in the order of partitions; some may be empty
}

// Range is the offsets [From, To) of a partition.
type Range struct {
	Partition int32
	From, To  int64
}

// Offsets is how many there are in all ranges; records are at most so many.
func (s *Selection) Offsets() (n int64) {
	for _, r := range s.Ranges {
		n += r.To - r.From
	}
	return n
}

// Select asks Kafka which offsets lie between two bounds, the first record of to
// excluded. Offsets that the log has not, or no more, are an error.
func Select(ctx context.Context, o Options, from, to Bound) (*Selection, error) {
	o = o.withDefaults()
	client, err := o.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client.Client)
	s := &Selection{Topic: o.Topic}
	s.ClusterID, s.TopicID, err = identify(ctx, admin, o.Topic)
	if err != nil {
		return nil, client.Explain(err)
	}
	l, err := lookUp(ctx, admin, o.Topic, from, to)
	if err != nil {
		return nil, client.Explain(err)
	}
	return s, s.fill(l, from, to)
}

// limits are offsets by partition: of the log, and of the bounds that are times.
type limits struct{ start, end, from, to map[int32]int64 }

func lookUp(ctx context.Context, admin *kadm.Client, topic string, from, to Bound) (l limits, err error) {
	list := func(into *map[int32]int64, what string, listed kadm.ListedOffsets, err error) error {
		if err = cmp.Or(err, listed.Error()); err != nil {
			return fmt.Errorf("list %s offsets: %w", what, err)
		}
		*into = map[int32]int64{}
		for p, o := range listed[topic] {
			(*into)[p] = o.Offset
		}
		return nil
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err = list(&l.start, "start", starts, err); err != nil {
		return l, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err = list(&l.end, "end", ends, err); err != nil {
		return l, err
	}
	l.from, l.to = l.start, l.end
	for _, b := range []struct {
		at   time.Time
		into *map[int32]int64
	}{{from.Time, &l.from}, {to.Time, &l.to}} {
		if b.at.IsZero() {
			continue
		}
		found, err := admin.ListOffsetsAfterMilli(ctx, b.at.UnixMilli(), topic)
		if err = list(b.into, "later", found, err); err != nil {
			return l, err
		}
	}
	return l, nil
}

func (s *Selection) fill(l limits, from, to Bound) error {
	var errs []error
	for _, b := range []Bound{from, to} {
		for p := range b.Offsets {
			if _, there := l.start[p]; !there {
				errs = append(errs, fmt.Errorf("topic %s has no partition %d", s.Topic, p))
			}
		}
	}
	for p, start := range l.start {
		r := Range{p, l.from[p], min(l.to[p], l.end[p])}
		at, named := from.Offsets[p]
		if from.Offsets != nil {
			r.From = at
		}
		until, ends := to.Offsets[p]
		if to.Offsets != nil {
			r.To = until
		}
		switch {
		case from.Offsets != nil && !named, to.Offsets != nil && !ends:
		case r.From < start || r.From > l.end[p] || r.To > l.end[p] || to.Offsets != nil && r.To < r.From:
			errs = append(errs, fmt.Errorf("partition %d has the offsets from %d to %d: %d to %d is not a range of them",
				p, start, l.end[p], r.From, r.To))
		default:
			r.To = max(r.From, r.To)
			s.Ranges = append(s.Ranges, r)
		}
	}
	slices.SortFunc(s.Ranges, func(a, b Range) int { return int(a.Partition) - int(b.Partition) })
	return errors.Join(errs...)
}
