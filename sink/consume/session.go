package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/kafka"
)

const (
	leaveMax = 3 * time.Second
	askMax   = 10 * time.Second

	sessionTimeout = 10 * time.Second
)

// session is one membership in the group with one client.
type session struct {
	*Consumer
	client  *kafka.Client
	admin   *kadm.Client
	cluster string
	topicID [16]byte
	fail    context.CancelCauseFunc // ends the session
	ready   chan struct{}           // closed once client and admin are set

	// losses counts the times partitions were taken away.
	losses atomic.Int64
	hinted time.Time

	owned sync.Mutex
	next  map[int32]int64 // stored position of each partition that is ours
}

// session joins the group and consumes until ctx ends or something needs a new
// client.
func (c *Consumer) session(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &session{Consumer: c, fail: fail, ready: make(chan struct{}), next: map[int32]int64{}}
	if err := s.identify(ctx); err != nil {
		return err
	}
	var err error
	s.client, err = c.o.client(
		kgo.ConsumerGroup(c.o.Group),
		kgo.ConsumeTopics(c.o.Topic),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.DisableAutoCommit(),
		// A sink that was killed keeps its partitions for so long. The default of 45 s
		// guards against two owners; here the store does that.
		kgo.SessionTimeout(sessionTimeout),
		kgo.HeartbeatInterval(sessionTimeout/5),
		kgo.BlockRebalanceOnPoll(),
		kgo.AdjustFetchOffsetsFn(s.assigned),
		kgo.OnPartitionsRevoked(s.takenAway),
		kgo.OnPartitionsLost(s.takenAway),
	)
	if err != nil {
		return err
	}
	s.admin = kadm.NewClient(s.client.Client)
	close(s.ready)
	var monitoring sync.WaitGroup
	monitoring.Go(func() { s.monitor(ctx) })
	err = s.consume(ctx)
	fail(nil)
	monitoring.Wait()
	s.leave()
	return err
}

func (s *session) identify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	client, err := s.o.client()
	if err != nil {
		return err
	}
	defer client.Close()
	s.cluster, s.topicID, err = identify(ctx, kadm.NewClient(client.Client), s.o.Topic)
	return client.Explain(err)
}

func (s *session) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveMax)
	defer cancel()
	s.client.AllowRebalance()
	s.hint(ctx, true)
	// A group that cannot be told will notice that we are silent.
	if err := s.client.LeaveGroupContext(ctx); err != nil {
		s.o.Logger.Info("left the group without a word", "group", s.o.Group, "err", err)
	}
	// Close waits for the group's loop, which can hang in the network of a Kafka that
	// is away. It ends by itself; the process does not have to wait for it.
	closed := make(chan struct{})
	go func() {
		s.client.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-ctx.Done():
		s.o.Logger.Warn("left a client that does not end", "group", s.o.Group)
	}
}

func (s *session) consume(ctx context.Context) error {
	for {
		fetches := s.client.PollRecords(ctx, s.o.BatchRows)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.judge(ctx, fetches); err != nil {
			return err
		}
		if b := s.batch(fetches); len(b.Parts) > 0 {
			if err := s.write(ctx, b); err != nil {
				return err
			}
			s.hint(ctx, false)
		}
		s.client.AllowRebalance()
	}
}

// judge looks at the errors among fetches. It returns those that end the session.
func (s *session) judge(ctx context.Context, fetches kgo.Fetches) (end error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		tooLarge, isTooLarge := errors.AsType[*kgo.ErrDecompressTooLarge](err)
		group, isGroup := errors.AsType[*kgo.ErrGroupSession](err)
		switch {
		case end != nil:
		case isGroup:
			s.note(&s.kafka, group) // the client joins again by itself
			s.o.Logger.Warn("group is not joined", "group", s.o.Group, "err", group)
		case isTooLarge:
			s.stopPartition(partition, tooLarge, 0)
		case errors.Is(err, kerr.OffsetOutOfRange):
			end = s.reposition(ctx, []int32{partition})
		default:
			// Above all an unknown topic id: the topic was deleted, perhaps made again.
			end = fmt.Errorf("fetch %s/%d: %w", topic, partition, err)
		}
	})
	return end
}

// batch cuts what was fetched into parts that begin at the stored positions.
func (s *session) batch(fetches kgo.Fetches) Batch {
	b := Batch{ClusterID: s.cluster, Topic: s.o.Topic, TopicID: s.topicID}
	s.owned.Lock()
	defer s.owned.Unlock()
	at := map[int32]int{} // index in b.Parts: a partition may come in several pieces
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		next, ours := s.next[f.Partition]
		if !ours || len(f.Records) == 0 {
			return
		}
		i, there := at[f.Partition]
		if !there {
			i = len(b.Parts)
			at[f.Partition] = i
			b.Parts = append(b.Parts, Part{Partition: f.Partition, From: next, To: next})
		}
		p := &b.Parts[i]
		for _, r := range f.Records {
			if r.Offset < p.To {
				continue
			}
			p.Records = append(p.Records, recordOf(r))
			p.To = r.Offset + 1
		}
	})
	full := b.Parts[:0]
	for _, p := range b.Parts {
		if len(p.Records) > 0 {
			full = append(full, p)
		}
	}
	b.Parts = full
	return b
}
