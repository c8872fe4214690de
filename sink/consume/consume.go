// Package consume reads the topic's records and hands them to a Store in batches.
//
// Positions come from the store, never from Kafka: what is stored and how far it is
// stored are one transaction there. Kafka's own group offsets are written now and
// then, as a hint for tools that show lag, and never read.
//
// One goroutine polls. What it fetched waits in a run for each partition, and four
// lanes write batches of them side by side, each of partitions of its own: while a
// lane's batch is written the next one is prepared. A batch ends at Options.BatchRows
// or BatchBytes; one that is not full begins 200 ms after the one before it at the soonest.
// While the store is away no more than eight such batches wait, 64 MiB (and what the
// client fetches ahead, one fetch per broker); then nothing is polled, Ready says so,
// and the records wait in Kafka. A batch that could not be written is written again, the
// same one, until it is stored, or its partitions went to another consumer, or the
// store says that its position moved (ErrMoved): then what is in hand is dropped
// and read again from where the store is. Whichever consumer writes first wins, the
// other gets ErrMoved.
//
// What is gone is never jumped over. When Kafka no longer has the record at a
// stored position (retention was faster), its log ends before that position (a
// restored broker), or a batch cannot be unpacked, the partition stops, Ready says so
// and events_lost counts the offsets that are known to be missing, once for each
// process; the other partitions go on. What was fetched before is stored all the same. A person looks and moves the position in the
// store, which the consumer notices within seconds. A partition that the store does
// not know gets where its log starts as its position, stored at once: what goes after
// that is missed, also before the first batch. So a partition that is added is read
// from its start.
//
// A topic that is deleted and made again has another id, and so other positions: it
// is read from its start, and what is known to be unread of the old one is counted as
// lost.
//
// Replay is apart from all that: it reads what a Selection says, once, without a group, a
// lane or a position of a Store.
package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/kafka"
)

// Defaults of Options.
const (
	Topic      = "footfall.events"
	Group      = "footfall-sink"
	BatchRows  = 10_000
	BatchBytes = 8 << 20
)

// Options of a Consumer, of Tail and of Check.
type Options struct {
	Kafka kafka.Cluster
	// Topic and Group have the defaults above.
	Topic, Group string
	// BatchRows and BatchBytes are the most records of one batch and the most bytes of
	// them, but for a batch of one; the defaults above.
	BatchRows, BatchBytes int
	// Committed, if not nil, is told after each batch the next offset of the
	// partitions in it, and the stored positions whenever they were read: what a commit
	// without an answer stored is told then. So it can hear the same offset again, or
	// an older one. Positions that were read are told only if their topic was not made
	// anew and its log reaches them. Calls never overlap; they hold consuming up, so be
	// quick.
	Committed func(topicID [16]byte, next map[int32]int64)
	// Resume says how a person moves the position of a stopped partition, exact when
	// where the log starts will not do. By default that is the command for PostgreSQL.
	Resume  func(partition int32, to int64, exact bool) string
	Logger  *slog.Logger // may be nil
	Metrics *metrics.Set // may be nil
}

func (o Options) withDefaults() Options {
	if o.Topic == "" {
		o.Topic = Topic
	}
	if o.Group == "" {
		o.Group = Group
	}
	if o.BatchRows <= 0 {
		o.BatchRows = BatchRows
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = BatchBytes
	}
	if o.Committed == nil {
		o.Committed = func([16]byte, map[int32]int64) {}
	}
	if o.Resume == nil {
		o.Resume = resumeCommand
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	return o
}

func resumeCommand(partition int32, to int64, exact bool) string {
	command := fmt.Sprintf("footfall positions resume --partition %d", partition)
	if exact {
		command += fmt.Sprintf(" --at %d", to)
	}
	return command
}

// Consumer moves records from a topic to a store.
type Consumer struct {
	o       Options
	store   Store
	lost    *metrics.Counter
	lag     *metrics.Gauge
	holding *metrics.Gauge
	rejoin  *metrics.Counter

	// Of the last session, when it ended: Run's alone.
	unread      int64 // offsets behind the positions
	lastTopicID [16]byte

	telling sync.Mutex // held while Committed runs

	mu      sync.Mutex
	kafka   error           // why Kafka is away, nil when it is not
	group   error           // why the group is not joined
	writing error           // why the store does not tell positions
	looking error           // why the monitor does not know them
	batches map[int]error   // why it does not take a lane's batch
	stopped map[int32]*stop // partitions that wait for a person
	counted map[log]spans   // offsets that are counted as lost
	damaged map[int32]damage
}

var errStarting = errors.New("not connected yet")

// New returns a consumer that does nothing before Run.
func New(o Options, store Store) *Consumer {
	o = o.withDefaults()
	return &Consumer{
		o: o, store: store, kafka: errStarting,
		batches: map[int]error{}, stopped: map[int32]*stop{},
		counted: map[log]spans{}, damaged: map[int32]damage{},
		lost:    o.Metrics.GetOrCreateCounter("footfall_events_lost_total"),
		lag:     o.Metrics.GetOrCreateGauge("footfall_sink_lag_records", nil),
		holding: o.Metrics.GetOrCreateGauge("footfall_sink_held_bytes", nil),
		rejoin:  o.Metrics.GetOrCreateCounter(`footfall_sink_errors_total{action="rejoin"}`),
	}
}

// Run consumes until ctx ends, whatever happens to Kafka or the store in between.
// When ctx ends it finishes the batch in hand within 5 seconds, leaves the group
// and returns nil. Call it once.
func (c *Consumer) Run(ctx context.Context) error {
	for try := 0; ; try++ {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.rejoin.Inc()
		c.note(&c.kafka, err)
		c.o.Logger.Warn("consuming starts anew", "topic", c.o.Topic, "err", err)
		if time.Since(began) > time.Minute {
			try = 0
		}
		if !sleep(ctx, backoff(try, 0)) {
			return nil
		}
	}
}

// Ready returns nil when records flow, and else what is in the way. Safe for
// concurrent use.
func (c *Consumer) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []error
	switch {
	case c.kafka != nil:
		list = append(list, fmt.Errorf("kafka is away: %w", c.kafka))
	case c.group != nil:
		list = append(list, fmt.Errorf("group %s is not joined: %w", c.o.Group, c.group))
	}
	if c.writing != nil {
		list = append(list, fmt.Errorf("store tells no positions: %w", c.writing))
	}
	if c.looking != nil {
		list = append(list, fmt.Errorf("positions are not looked at: %w", c.looking))
	}
	for _, err := range c.batches { // one speaks for all
		list = append(list, fmt.Errorf("store takes no batch: %w", err))
		break
	}
	for _, p := range slices.Sorted(maps.Keys(c.stopped)) {
		list = append(list, fmt.Errorf("partition %d is stopped: %w", p, c.stopped[p].why))
	}
	return errors.Join(list...)
}

func (c *Consumer) note(which *error, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*which = err
}

func (c *Consumer) noteLane(index int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.batches, index)
		return
	}
	c.batches[index] = err
}

const (
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
)

// backoff returns how long to wait after a number of failures in a row: doubling,
// at least least, spread so that many sinks do not come back at once.
func backoff(failures int, least time.Duration) time.Duration {
	d := min(backoffMin<<min(failures, 10), backoffMax)
	return max(d/2+rand.N(d), least)
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// grace returns a context that ends d after ctx does.
func grace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	g, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if sleep(g, d) {
			cancel()
		}
	})
	return g, func() { stop(); cancel() }
}
