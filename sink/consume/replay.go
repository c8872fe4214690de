package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Replay reads what is selected once more, outside of any group, and writes it batch
// after batch: while one is written the next is read and prepared. prepare is as in
// Preparer. It returns nil at the end of the selection, and else why it did not get there:
// ctx ended, records are gone from Kafka, or write returned an error that has no method
// Pause. After one that has, the same batch is written again, for as long as it takes. It
// waits for a Kafka that is away.
func Replay(ctx context.Context, o Options, s *Selection, prepare func(Batch) (write func(context.Context) error)) error {
	o = o.withDefaults()
	r := newReplay(o, s)
	client, err := o.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.Topic: r.begin()}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.KeepControlRecords()) // the last offset may be one
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	writes, written := make(chan func(context.Context) error), make(chan struct{})
	go func() {
		defer close(written)
		for write := range writes {
			if err := o.insist(ctx, write); err != nil {
				fail(err)
				return
			}
		}
	}()
	err = r.read(ctx, client.Client, func(b Batch) {
		select {
		case writes <- prepare(b):
		case <-ctx.Done():
		}
	})
	close(writes)
	<-written
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	_, id, err := identify(ctx, kadm.NewClient(client.Client), s.Topic)
	if err == nil && id != s.TopicID {
		err = fmt.Errorf("topic %s: %w", s.Topic, errRecreated)
	}
	return err
}

// insist writes until it is done or there is no use in going on.
func (o Options) insist(ctx context.Context, write func(context.Context) error) error {
	for failures := 0; ; failures++ {
		err := write(ctx)
		p, passes := errors.AsType[pauser](err)
		if !passes {
			return err
		}
		o.Logger.Warn("batch is not stored yet", "attempts", failures+1, "err", err)
		if !sleep(ctx, backoff(failures, p.Pause())) {
			return ctx.Err()
		}
	}
}

// replay is a selection on its way into batches.
type replay struct {
	o     Options
	s     *Selection
	ends  map[int32]int64 // of the ranges that are not read to their end
	parts map[int32]*Part // of the batch that is being filled
	next  map[int32]int64 // where the next part begins
	rows  int
	bytes int
}

func newReplay(o Options, s *Selection) *replay {
	r := &replay{o: o, s: s, ends: map[int32]int64{}, parts: map[int32]*Part{}, next: map[int32]int64{}}
	for _, x := range s.Ranges {
		if x.From < x.To {
			r.ends[x.Partition], r.next[x.Partition] = x.To, x.From
		}
	}
	return r
}

func (r *replay) begin() map[int32]kgo.Offset {
	begin := make(map[int32]kgo.Offset, len(r.next))
	for p, at := range r.next {
		begin[p] = kgo.NewOffset().At(at).WithEpoch(-1)
	}
	return begin
}

func (r *replay) read(ctx context.Context, client *kgo.Client, each func(Batch)) error {
	for len(r.ends) > 0 {
		polling, cancel := context.WithTimeout(ctx, quiet)
		fetches := client.PollRecords(polling, r.o.BatchRows)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, context.DeadlineExceeded) && polling.Err() != nil {
				continue
			}
			if errors.Is(e.Err, kerr.OffsetOutOfRange) {
				e.Err = errors.New("retention was faster than the replay")
			}
			return fmt.Errorf("read %s/%d behind offset %d: %w", e.Topic, e.Partition, r.next[e.Partition], e.Err)
		}
		if fetches.NumRecords() == 0 {
			r.endEmpty(ctx, client)
		}
		for k := range fetches.RecordsAll() {
			if r.take(k); r.rows >= r.o.BatchRows || r.bytes >= r.o.BatchBytes {
				each(r.cut())
			}
			if _, open := r.ends[k.Partition]; !open {
				client.PauseFetchPartitions(map[string][]int32{k.Topic: {k.Partition}})
			}
		}
	}
	if r.rows > 0 {
		each(r.cut())
	}
	return nil
}

// take adds a record, if it is in its range.
func (r *replay) take(k *kgo.Record) {
	end, open := r.ends[k.Partition]
	if !open {
		return
	}
	if k.Offset+1 >= end {
		delete(r.ends, k.Partition)
	}
	if k.Offset >= end || k.Attrs.IsControl() {
		return
	}
	p := r.parts[k.Partition]
	if p == nil {
		p = &Part{Partition: k.Partition, From: r.next[k.Partition]}
		r.parts[k.Partition] = p
	}
	record := recordOf(k)
	p.Records, p.To = append(p.Records, record), k.Offset+1
	r.next[k.Partition] = p.To
	r.rows, r.bytes = r.rows+1, r.bytes+record.size()
}

// cut makes a batch of what was taken.
func (r *replay) cut() Batch {
	b := Batch{ClusterID: r.s.ClusterID, Topic: r.s.Topic, TopicID: r.s.TopicID}
	for _, p := range r.parts {
		b.Parts = append(b.Parts, *p)
	}
	slices.SortFunc(b.Parts, func(x, y Part) int { return int(x.Partition) - int(y.Partition) })
	clear(r.parts)
	r.rows, r.bytes = 0, 0
	return b
}
