package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	over    <-chan struct{}         // closed when it ends

	owned sync.Mutex      // guards what follows, and what is in the lanes
	next  map[int32]int64 // stored position of each partition that is ours
	lanes []*lane
	ends  kadm.ListedOffsets // of the logs, as last heard
	held  int                // bytes of the records that are fetched and not stored
	moved []int32            // partitions whose positions have to be read again
	out   []int32            // partitions whose logs have nothing where their runs end
	wake  func()             // ends a poll
	news  chan struct{}      // closed when there is something new in the runs
}

// session joins the group and consumes until ctx ends or something needs a new
// client.
func (c *Consumer) session(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &session{Consumer: c, fail: fail, ready: make(chan struct{}), over: ctx.Done(), next: map[int32]int64{},
		wake: func() {}, news: make(chan struct{})}
	for i := range lanes {
		s.lanes = append(s.lanes, &lane{session: s, index: i, runs: map[int32]*run{}})
	}
	if err := s.identify(ctx); err != nil {
		return err
	}
	s.note(&s.group, errJoining)
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
		kgo.WithHooks(s),
		kgo.OnPartitionsAssigned(s.joined),
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
	s.keepUnread()
	fail(nil)
	monitoring.Wait()
	s.leave()
	return err
}

// note is that of the Consumer until the session is over: a client that did not end in time may
// tell of itself when another session goes on.
func (s *session) note(which *error, err error) {
	select {
	case <-s.over:
	default:
		s.Consumer.note(which, err)
	}
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
	if err == nil && s.lastTopicID != [16]byte{} && s.topicID != s.lastTopicID {
		s.lost.AddInt64(s.unread)
		s.o.Logger.Error("topic was made anew", "topic", s.o.Topic, "lost", s.unread)
		s.unread = 0
	}
	return client.Explain(err)
}

// keepUnread remembers what is known to follow the positions, in case the topic is
// gone.
func (s *session) keepUnread() {
	s.owned.Lock()
	ends := s.ends
	s.owned.Unlock()
	s.unread, s.lastTopicID = s.behind(ends), s.topicID
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

// consume polls into the runs and reads positions again where a lane says so: both
// in one place, so that nothing fetched before a position moved is taken for what
// comes after it.
func (s *session) consume(ctx context.Context) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, l := range s.lanes {
		writing.Go(func() { l.work(ctx) })
	}
	for failures := 0; ; {
		fetches := s.poll(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Before the errors, which say what comes behind these records; and before
		// positions are read, which may be ones that these do not follow.
		s.take(fetches)
		if err := s.judge(fetches); err != nil {
			return err
		}
		err := s.seek(ctx)
		if errors.Is(err, errRecreated) {
			return err
		}
		s.client.AllowRebalance()
		if err == nil {
			failures = 0
			s.awaitRoom(ctx)
			continue
		}
		s.note(&s.writing, err)
		failures++
		s.o.Logger.Warn("positions are not known yet", "attempts", failures, "err", err)
		sleep(ctx, backoff(failures-1, 0))
	}
}

// seek goes on where lanes want positions read again, and where a log has nothing at
// the end of a run. What it could not do for an error is left for the next time. No
// rebalance takes place meanwhile.
func (s *session) seek(ctx context.Context) error {
	s.owned.Lock()
	moved, out := s.moved, s.out
	s.moved, s.out = nil, nil
	s.owned.Unlock()
	if len(moved)+len(out) == 0 {
		return nil
	}
	err := s.reposition(ctx, moved)
	if err == nil {
		moved = nil
		err = s.outOfRange(ctx, out)
	}
	if err == nil {
		s.note(&s.writing, nil)
		return nil
	}
	s.owned.Lock()
	s.moved, s.out = append(s.moved, moved...), append(s.out, out...)
	s.owned.Unlock()
	return err
}

// poll returns what is fetched, or nothing as soon as a lane wants its positions
// read again. In either case no rebalance takes place before AllowRebalance.
func (s *session) poll(ctx context.Context) kgo.Fetches {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.owned.Lock()
	s.wake = cancel
	if len(s.moved)+len(s.out) > 0 {
		cancel()
	}
	s.owned.Unlock()
	return s.client.PollRecords(ctx, s.o.BatchRows)
}

// awaitRoom waits while so much is fetched and not stored that no more is polled.
func (s *session) awaitRoom(ctx context.Context) {
	for {
		s.owned.Lock()
		full, news := s.held >= heldBatches*s.o.BatchBytes && len(s.moved) == 0, s.news
		s.owned.Unlock()
		if !full {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
	}
}

// judge looks at the errors among fetches. It returns those that end the session.
func (s *session) judge(fetches kgo.Fetches) (end error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		tooLarge, isTooLarge := errors.AsType[*kgo.ErrDecompressTooLarge](err)
		_, isLoss := errors.AsType[*kgo.ErrDataLoss](err) // the log's end tells how much
		_, isKafkas := errors.AsType[*kerr.Error](err)
		_, isGroup := errors.AsType[*kgo.ErrGroupSession](err) // OnGroupManageError says it
		switch {
		case end != nil:
		case isGroup, errors.Is(err, context.Canceled): // by wake
		case isTooLarge:
			s.tooLarge(tooLarge)
		case errors.Is(err, kerr.OffsetOutOfRange):
			s.owned.Lock()
			s.out = append(s.out, partition)
			s.owned.Unlock()
		case topic == s.o.Topic && !isKafkas && !isLoss:
			end = s.unreadable(partition, err)
		default:
			// Above all an unknown topic id: the topic was deleted, perhaps made again.
			end = fmt.Errorf("fetch %s/%d: %w", topic, partition, err)
		}
	})
	return end
}
