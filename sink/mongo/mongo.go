// Package mongo stores batches of records in MongoDB, beside PostgreSQL and
// independent of it: one document of collection events for each event, under its id
// as _id, or one of dead_letters.
//
// It has the same effect as the rows of PostgreSQL, each event once, by key and not
// by transaction. Write first inserts the documents and the dead letters, unordered,
// until a majority of the replica set has them in its journal; only then it moves the
// partitions' documents of collection positions, by compare-and-set. A crash in
// between leaves documents whose position has not moved: they are written again, find
// their own ids, and change nothing. Two consumers that both believe to own a
// partition do no harm for the same reason.
//
// What can go wrong, and what then happens:
//   - The event is stored already: its insert is refused for the key (11000), which is
//     how it should be. The document that came first stays.
//   - A record cannot be read, or makes a document beyond MongoDB's 16 MiB: a dead
//     letter, reason undecodable.
//   - The server refuses a document (a validator of the collection, a unique index of
//     somebody else, a key that is too large): a dead letter, reason
//     refused_by_database. refuses in classify.go is the whole list.
//   - Anything else, above all a server that is away, has no primary or acknowledges
//     no majority: the caller writes the same batch again.
//   - The server lost what it had acknowledged (restored from a backup): its positions
//     went back with the documents, the next Write gets consume.ErrMoved, and
//     consuming goes on from there.
//
// Memory is bounded by the batch and one insert of at most 1,000 documents or 4 MiB.
// The package imports sink/consume for the shape of a batch. The driver is used only
// here.
package mongo

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"footfall/event"
)

const (
	databaseName   = "footfall" // unless the URL names another
	connectionsMax = 4
	selectMax      = 10 * time.Second // for a server that takes writes
	commandMax     = time.Minute      // a server that answers nothing holds us no longer
)

// Options of a Store. Logger and Metrics may be nil.
type Options struct {
	// URL is mongodb:// or mongodb+srv://. Its database is footfall unless it names
	// another. Its write concern and read preference do not count.
	URL     string
	Logger  *slog.Logger
	Metrics *metrics.Set
}

// Store is a database of events. It is safe for concurrent use.
type Store struct {
	client  *mongo.Client
	log     *slog.Logger
	meters  meters
	decoder event.Decoder
	encoder encoder

	events, positions, dead *mongo.Collection
}

// Open connects and asks whether the server takes writes. It does not retry: a server
// that is away is an error. Nothing has to be prepared in the database, and the events
// need no index but that of _id: ids sort by time. Close the store.
func Open(ctx context.Context, o Options) (*Store, error) {
	opts, name, err := configure(o.URL)
	if err != nil {
		return nil, err
	}
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, fmt.Errorf("configure mongo client: %w", err)
	}
	s := newStore(client, name, o)
	if err := s.Ping(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func newStore(client *mongo.Client, name string, o Options) *Store {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	db := client.Database(name)
	return &Store{client: client, log: o.Logger, meters: newMeters(o.Metrics),
		events: db.Collection("events"), positions: db.Collection("positions"),
		dead: db.Collection("dead_letters")}
}

// Ping reports whether a server that takes writes answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, selectMax)
	defer cancel()
	if err := s.client.Ping(ctx, readpref.Primary()); err != nil {
		return fmt.Errorf("reach mongo: %w", err)
	}
	return nil
}

// Close ends the connections.
func (s *Store) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := s.client.Disconnect(ctx); err != nil {
		s.log.Info("left mongo without a word", "err", err)
	}
}
