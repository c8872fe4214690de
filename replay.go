package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"footfall/collector/forward"
	"footfall/collector/spool"
	"footfall/event"
)

// spoolReplayCmd sends what lies in a spool to Kafka again, for a topic or a table that
// lost it. It changes nothing in the spool and may run beside its collector. What is a
// row already stays one: the sink knows event ids.
type spoolReplayCmd struct {
	spoolDir
	kafkaFlags
	Since timeAgo `help:"Only records received since then: a duration like 3h, or a time like 2026-01-31T12:00:00Z." placeholder:"WHEN"`
}

// Validate says what is missing; kong calls it.
func (c *spoolReplayCmd) Validate() error {
	_, err := c.cluster()
	if len(c.Brokers) == 0 {
		err = errors.Join(errors.New("no brokers: give --brokers host:port (footfall up replays by itself)"), err)
	}
	return err
}

// Run replays and says how many.
func (c *spoolReplayCmd) Run(ctx context.Context, sc *spoolCmd, p *program) error {
	from, to := sc.limits()
	cluster, err := c.cluster()
	if err != nil {
		return err
	}
	sender, err := forward.NewReplay(cluster, c.Topic, p.log)
	if err != nil {
		return err
	}
	id, err := spool.ReadID(c.path(sc))
	if err != nil {
		return errors.Join(err, sender.Close(ctx))
	}
	var d event.Decoder
	n := 0
	err = spool.Scan(c.path(sc), func(r spool.Record) error {
		key, value := event.SplitRecord(r.Payload)
		switch {
		case r.Seq > to:
			return errEnough
		case r.Seq < from || c.tooOld(&d, value):
			return nil
		}
		n++
		return sender.Send(ctx, id, forward.Record{Seq: r.Seq, Key: key, Value: value})
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err = errors.Join(err, sender.Close(ctx)); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	_, err = fmt.Fprintf(p.out, "%d records were passed on to %s again\n", n, c.Topic)
	return err
}

// tooOld does not drop what it cannot read: the sink keeps that for a person.
func (c *spoolReplayCmd) tooOld(d *event.Decoder, value []byte) bool {
	since := time.Time(c.Since)
	if since.IsZero() {
		return false
	}
	e, refused := d.Record(value)
	return refused == nil && e.ReceivedAt.Before(since)
}

// timeAgo is a moment, told as one or as a duration before now.
type timeAgo time.Time

func readTimeAgo(s string) (timeAgo, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return timeAgo(time.Now().Add(-d)), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return timeAgo(t), nil
		}
	}
	return timeAgo{}, fmt.Errorf("%q is neither a duration like 3h nor a time like 2026-01-31T12:00:00Z", s)
}
