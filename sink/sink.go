// Package sink moves every record of the topic into a store: each exactly once, as a
// row of footfall.events in PostgreSQL or a document in MongoDB, or as a dead letter.
// It joins consume, which reads Kafka, and postgres or mongo, which store; their
// packages say how each of them deals with what goes wrong. Here is only the order of
// starting and stopping.
//
// Each store has a Sink, a group and positions of its own. They know nothing of each
// other: one that is away, or slow, holds up nobody but itself.
package sink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/kafka"
	"footfall/sink/consume"
	"footfall/sink/mongo"
	"footfall/sink/postgres"
)

// MongoGroup is the group of a sink into MongoDB.
const MongoGroup = consume.Group + "-mongo"

// Options of a Sink. Kafka is needed, and DatabaseURL for New or MongoURL for NewMongo.
type Options struct {
	Kafka kafka.Cluster
	// Topic and Group are consume.Topic and consume.Group or MongoGroup by default.
	Topic, Group string
	DatabaseURL  string
	MongoURL     string
	// Retention says for how long PostgreSQL keeps events; see postgres.Options.
	Retention func() (postgres.Retention, error)
	// BatchRows is the most records of one transaction; consume.BatchRows by default.
	BatchRows int
	// Committed, if not nil, is told what is stored of a topic, by partition, as the next
	// offset: after each commit, and when positions were read. It can hear the same offset
	// again, or an older one. Calls never overlap; they hold the sink up, so be quick.
	Committed func(topicID [16]byte, next map[int32]int64)
	Logger    *slog.Logger // may be nil
	Metrics   *metrics.Set // may be nil
}

// store is what a sink writes into.
type store interface {
	consume.Store
	Close()
}

// Sink is one consumer with its database. Its methods are safe for concurrent use.
type Sink struct {
	o       Options
	name    string // of the database
	resume  func(partition int32, to int64, exact bool) string
	connect func(ctx context.Context) (store, error)

	mu       sync.Mutex
	away     error // why the database is not open
	store    store
	consumer *consume.Consumer
}

var errStarting = errors.New("not opened yet")

// New returns a sink into PostgreSQL that does nothing before Run.
func New(o Options) *Sink {
	s := o.sink("postgres")
	s.connect = func(ctx context.Context) (store, error) {
		return postgres.Open(ctx, postgres.Options{
			DatabaseURL: s.o.DatabaseURL, Retention: s.o.Retention, Logger: s.o.Logger, Metrics: s.o.Metrics})
	}
	return s
}

// NewMongo returns a sink into MongoDB that does nothing before Run. Its metrics have
// the names of the other's: give it a set of its own.
func NewMongo(o Options) *Sink {
	o.Group = cmp.Or(o.Group, MongoGroup)
	s := o.sink("mongo")
	s.resume = func(partition int32, to int64, _ bool) string {
		return fmt.Sprintf("set next_offset of partition %d to %d in the collection positions", partition, to)
	}
	s.connect = func(ctx context.Context) (store, error) {
		return mongo.Open(ctx, mongo.Options{
			URL: s.o.MongoURL, Logger: s.o.Logger, Metrics: s.o.Metrics})
	}
	return s
}

func (o Options) sink(name string) *Sink {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	return &Sink{o: o, name: name, away: errStarting}
}

// Run works until ctx ends, and keeps trying while the database or Kafka is away.
// When ctx ends it finishes the batch in hand within 5 seconds, leaves the group,
// closes the database and returns nil. Call it once.
func (s *Sink) Run(ctx context.Context) error {
	store := s.open(ctx)
	if store == nil {
		return nil
	}
	defer store.Close()
	consumer := consume.New(consume.Options{
		Kafka: s.o.Kafka, Topic: s.o.Topic, Group: s.o.Group,
		BatchRows: s.o.BatchRows, Committed: s.o.Committed, Resume: s.resume,
		Logger: s.o.Logger, Metrics: s.o.Metrics,
	}, store)
	s.mu.Lock()
	s.away, s.store, s.consumer = nil, store, consumer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.away, s.store, s.consumer = errors.New("sink has stopped"), nil, nil
	}()
	return consumer.Run(ctx)
}

// Bounds of the pause between two attempts to open the database.
const (
	openPauseMin = 100 * time.Millisecond
	openPauseMax = 5 * time.Second
)

// open returns nil when ctx ended first.
func (s *Sink) open(ctx context.Context) store {
	for pause := openPauseMin; ; pause = min(2*pause, openPauseMax) {
		store, err := s.connect(ctx)
		if err == nil {
			return store
		}
		if ctx.Err() != nil {
			return nil
		}
		s.o.Logger.Warn("database is not open yet", "database", s.name, "err", err)
		s.mu.Lock()
		s.away = err
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// Ready returns nil when records flow, and else names what is away.
func (s *Sink) Ready() error {
	s.mu.Lock()
	away, consumer := s.away, s.consumer
	s.mu.Unlock()
	if away != nil {
		return fmt.Errorf("%s is away: %w", s.name, away)
	}
	return consumer.Ready()
}

// Warning returns what endangers events that flow: see postgres.Store.Warning.
func (s *Sink) Warning() error {
	if store := s.Store(); store != nil {
		return store.Warning()
	}
	return nil
}

// Store returns the open PostgreSQL, or nil before it is open and after Run. It
// belongs to the sink: do not close it.
func (s *Sink) Store() *postgres.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	store, _ := s.store.(*postgres.Store)
	return store
}
