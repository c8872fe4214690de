package collector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"footfall/collector/forward"
	"footfall/collector/intake"
	"footfall/collector/spool"
	"footfall/event"
)

// spooled keeps events on disk and forwards them from there.
type spooled struct {
	spool     *spool.Spool
	forwarder *forward.Forwarder
	watermark forward.Watermark
}

func newSpooled(o Options) (*spooled, error) {
	sp, err := spool.Open(spool.Options{Dir: o.SpoolDir, MaxBytes: o.SpoolMaxBytes,
		MinFree: o.SpoolMinFree, Keep: o.SpoolKeep, Logger: o.Logger.With("room", "spool"), Metrics: o.Metrics})
	if err != nil {
		return nil, err
	}
	s := &spooled{spool: sp, watermark: sp.Watermark()}
	if o.Watermark != nil {
		s.watermark = o.Watermark(sp.ID())
	}
	s.forwarder, err = forward.New(forward.Options{
		Kafka: o.Kafka, Topic: o.Topic, Partitions: o.Partitions,
		SpoolID:   sp.ID(),
		Read:      func(from uint64) forward.Reader { return records{sp.Reader(from)} },
		Watermark: s.watermark,
		Release:   sp.Release,
		Dead:      sp.KeepDead,
		Confirm:   o.Confirm,
		Logger:    o.Logger.With("room", "forward"),
		Metrics:   o.Metrics,
	})
	if err != nil {
		return nil, errors.Join(err, sp.Close())
	}
	return s, nil
}

// records is a spool's reader as forward wants it.
type records struct{ *spool.Reader }

func (r records) Next(ctx context.Context) (forward.Record, error) {
	rec, err := r.Reader.Next(ctx)
	key, value := event.SplitRecord(rec.Payload)
	return forward.Record{Seq: rec.Seq, Refused: rec.Refused, Key: key, Value: value}, err
}

func (s *spooled) begin(ctx context.Context) error {
	next, err := s.watermark.Load(ctx)
	if err == nil {
		err = s.spool.SkipTo(ctx, next)
	}
	if err != nil {
		return fmt.Errorf("begin at the watermark: %w", err)
	}
	return nil
}

// append puts records on disk, and tells intake in its own words why not.
func (s *spooled) append(ctx context.Context, records [][]byte) error {
	err := s.spool.Append(ctx, records)
	switch {
	case errors.Is(err, spool.ErrFull):
		return fmt.Errorf("%w: %w", intake.ErrFull, err)
	case errors.Is(err, spool.ErrBusy):
		return fmt.Errorf("%w: %w", intake.ErrBusy, err)
	case errors.Is(err, spool.ErrClosed):
		return fmt.Errorf("%w: %w", intake.ErrClosed, err)
	}
	return err
}

func (s *spooled) run(ctx context.Context) error { return s.forwarder.Run(ctx) }

func (s *spooled) confirm(topicID [16]byte, next map[int32]int64) { s.forwarder.Confirm(topicID, next) }

// stale is how long Kafka may leave a record unacknowledged before health says so.
const stale = 10 * time.Second

func (s *spooled) health() (refused, waiting error) {
	if err := s.spool.Err(); err != nil {
		refused = fmt.Errorf("spool: %w", err)
	}
	if err := s.spool.Warning(); err != nil {
		waiting = fmt.Errorf("spool: %w", err)
	}
	if d := s.forwarder.Oldest(); d > stale {
		waiting = errors.Join(waiting, fmt.Errorf("kafka: records have been waiting for %s: %w",
			d.Round(time.Second), s.forwarder.Err()))
	}
	return refused, waiting
}

func (s *spooled) close() error { return s.spool.Close() }
