package sink

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"footfall/kafka"
	"footfall/sink/consume"
	"footfall/sink/postgres"
)

// ReplayOptions say what is replayed and where it goes. Kafka, DatabaseURL and Into are
// needed.
type ReplayOptions struct {
	Kafka       kafka.Cluster
	Topic       string // consume.Topic by default
	DatabaseURL string
	BatchRows   int // consume.BatchRows by default
	From, To    consume.Bound
	Into        string       // see postgres.CheckReplayName
	Logger      *slog.Logger // told of the progress; may be nil
}

// Replayed is what a replay has done.
type Replayed struct {
	Ranges []consume.Range // that were selected
	Took   time.Duration
	postgres.ReplayCounts
}

// Bounds of what a replay asks before it begins, and of its silence.
const (
	askMax        = 30 * time.Second
	progressEvery = 5 * time.Second
)

// Replay copies a part of the topic into a fresh table, see postgres.Replay, and ends. It
// belongs to no group and changes nothing of a sink that runs beside it. On an error the
// table stays with what it has got, and Replayed tells how much that is.
func Replay(ctx context.Context, o ReplayOptions) (done Replayed, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	began := time.Now()
	from := consume.Options{Kafka: o.Kafka, Topic: o.Topic, BatchRows: o.BatchRows, Logger: o.Logger}
	what, err := o.choose(ctx, from)
	if err != nil {
		return done, err
	}
	store, err := postgres.Connect(ctx, postgres.Options{DatabaseURL: o.DatabaseURL, Logger: o.Logger})
	if err != nil {
		return done, err
	}
	defer store.Close()
	into, err := store.CreateReplay(ctx, o.Into, what)
	if err != nil {
		return done, err
	}
	stop := o.tell(into, what.Offsets())
	err = consume.Replay(ctx, from, what, into.Prepare)
	stop()
	done = Replayed{what.Ranges, time.Since(began), into.Counts()}
	if err != nil {
		return done, fmt.Errorf("replay into %s: %w; what it has got stays: before another try drop table %[1]s, %[1]s%[3]s",
			o.Into, err, postgres.DeadSuffix)
	}
	return done, nil
}

func (o ReplayOptions) choose(ctx context.Context, from consume.Options) (*consume.Selection, error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	return consume.Select(ctx, from, o.From, o.To)
}

// tell logs the progress until stop.
func (o ReplayOptions) tell(into *postgres.Replay, offsets int64) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				c := into.Counts()
				o.Logger.Info("replay", "into", o.Into, "records", c.Inserted+c.Duplicate+c.Dead, "of", offsets)
			}
		}
	}()
	return func() { close(quit); <-done }
}
