// Package postgres stores batches of records in PostgreSQL, each record exactly
// once: as one row of footfall.events, or as one dead letter.
//
// Write is one transaction. It first moves each partition's row of
// footfall.sink_offsets by compare-and-set; whoever does not find the position
// where its batch begins gets consume.ErrMoved and has written nothing, so a
// consumer that lost a partition without noticing cannot write a row twice. Then
// come the rows (binary COPY, straight into the table), a row of footfall.ledger
// for each partition, the dead letters, and the commit. All of it is there, or
// none.
//
// What can go wrong, and what then happens:
//   - The event is stored already (a page sent it twice, a spool was replayed):
//     COPY stops at the key (occurred_at, event_id). Then the keys of the batch are
//     looked up, and COPY takes the rows that are not there. One that another transaction
//     stores in between goes through a staging table, out of which ON CONFLICT leaves it.
//   - An operator gave a column another type: COPY would misread our bytes, so the batch
//     goes through the staging table as well, and INSERT converts.
//   - A record cannot be read: a dead letter, reason undecodable.
//   - The database refuses a row: the row is found by COPY's line number, else by
//     halving, and becomes a dead letter, reason refused_by_database. So does a row that
//     a trigger leaves out without an error.
//   - The connection dies at the commit: the position tells, on a new connection,
//     whether it took place.
//   - Another session holds the positions and does not go on, in the middle of COPY or
//     of an answer, where no timeout of the server's counts: once its statement's minute is over, who waits
//     for it ends it.
//   - The day has no partition: it is made. Rows of a day that has none go to
//     events_default, and from there to their own as soon as that is possible.
//   - Everything else is the caller's to retry with the same batch; Fault.Pause
//     says how long to wait at least. classify is the whole policy.
//
// The package imports sink/consume for the shape of a batch, and nothing flows the
// other way. pgx is used only here.
package postgres

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/jackc/pgx/v5/pgxpool"

	"footfall/event"
)

// connectionsMax bounds the pool: four write side by side, one makes partitions or
// reads an outcome, the others serve readers.
const connectionsMax = 8

// Options of a Store. Logger and Metrics may be nil.
type Options struct {
	// DatabaseURL is a postgres:// URL or key=value string as libpq takes them. The
	// server has to take writes: of several hosts the first that does is used.
	DatabaseURL string
	// Retention, if not nil, is asked now and then for how long events are kept. It needs
	// the rights of the role footfall_eraser.
	Retention func() (Retention, error)
	Logger    *slog.Logger
	Metrics   *metrics.Set
}

// Store is a database of events. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	meters  meters
	decoder event.Decoder
	limits  limits

	days     map[int64]dayState // by days since 1970
	daysFrom time.Time          // when to make days again
	mu       sync.Mutex         // guards days and daysFrom

	detour detour

	retention func() (Retention, error)
	warning   atomic.Pointer[error] // of inspect
	untidy    atomic.Pointer[error] // of tidy, the last time

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open connects, brings the schema up to date and makes the partitions around
// today. It does not retry: a database that is away is an error. Close the store.
func Open(ctx context.Context, o Options) (*Store, error) {
	s, err := Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := s.prepareDatabase(ctx); err != nil {
		s.Close()
		return nil, err
	}
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.done.Go(func() { s.keep(keep) })
	return s, nil
}

// Connect returns a store for reading: it changes nothing in the database. One that is away,
// or cannot hold every text, is an error. Close it.
func Connect(ctx context.Context, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	pool, err := connect(ctx, o.DatabaseURL)
	if err != nil {
		return nil, err
	}
	limits := defaultLimits
	limits.ask += connectMax(pool.Config().ConnConfig)
	return &Store{pool: pool, log: o.Logger, meters: newMeters(o.Metrics), retention: o.Retention,
		limits: limits, days: map[int64]dayState{}, stop: func() {}}, nil
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.ask(ctx)
	defer cancel()
	if err := s.pool.Ping(ctx); err != nil {
		return unreachable(err)
	}
	return nil
}

// Close waits for running calls and ends the connections.
func (s *Store) Close() {
	s.stop()
	s.done.Wait()
	s.pool.Close()
}

func (s *Store) prepareDatabase(ctx context.Context) error {
	applied, err := s.Migrate(ctx)
	if err != nil {
		return err
	}
	for _, m := range applied {
		s.log.Info("schema migrated", "migration", m.Name)
	}
	if err := s.inspect(ctx); err != nil {
		return err
	}
	// A day that cannot be made now is no reason not to start: its rows have a
	// place in events_default, and keep tries again.
	making, cancel := s.task(ctx)
	defer cancel()
	if err := s.ensureDays(making, daysAround(time.Now())); err != nil {
		if ctx.Err() != nil {
			return err
		}
		s.log.Warn("partitions are not all made", "err", err)
	}
	return nil
}
