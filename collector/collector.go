// Package collector takes events in and keeps its word: it answers 2xx when they are
// on disk, and passes them on to Kafka from there.
//
// It joins its four rooms, which do not know each other:
//
//	intake → enrich → spool → forward → Kafka
//
// Events are accepted as long as the spool takes them; Kafka being away is no
// reason to refuse one. Health says what is away.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"footfall/collector/enrich"
	"footfall/collector/failpoint"
	"footfall/collector/forward"
	"footfall/collector/intake"
	"footfall/collector/sites"
	"footfall/collector/spool"
	"footfall/event"

	"github.com/VictoriaMetrics/metrics"
)

// Options of a Collector.
type Options struct {
	SpoolDir      string
	SpoolMaxBytes int64 // 0: the spool's default
	SpoolMinFree  int64

	Brokers    []string
	Dial       func(ctx context.Context, network, host string) (net.Conn, error) // nil: TCP
	Topic      string
	Partitions int32
	// Confirm keeps records in the spool until the sink has told of their commit
	// through Collector.Confirm. For a broker that forgets: the one in process.
	Confirm bool
	// Watermark keeps the position; nil means a file in SpoolDir.
	Watermark func(spoolID event.UUID) forward.Watermark

	Sites          *sites.Source
	Hosts          []string // names that Host may have, in lower case; none: any
	AddressRate    float64  // events a second of one public address; 0 for no limit
	SiteRate       float64  // of a site that has no rate of its own; 0 for no limit
	TrustedProxies []netip.Prefix
	CountryDB      string // "" means the built-in one
	Script         intake.Script
	Now            func() time.Time // nil: time.Now
	Logger         *slog.Logger
	Metrics        *metrics.Set
}

// Collector is a running collector. Its methods are safe for concurrent use.
type Collector struct {
	o         Options
	spool     *spool.Spool
	intake    *intake.Server
	forwarder *forward.Forwarder
	watermark forward.Watermark
}

// New opens the spool and makes the rooms. A spool that another process holds is a
// *spool.LockedError. Close or Run the collector.
func New(o Options) (*Collector, error) {
	if o.Now == nil {
		o.Now = failpoint.Now
	}
	sp, err := spool.Open(spool.Options{Dir: o.SpoolDir, MaxBytes: o.SpoolMaxBytes,
		MinFree: o.SpoolMinFree, Logger: o.Logger.With("room", "spool"), Metrics: o.Metrics})
	if err != nil {
		return nil, err
	}
	c := &Collector{o: o, spool: sp}
	if err := errors.Join(c.makeIntake(), c.makeForwarder()); err != nil {
		return nil, errors.Join(err, sp.Close())
	}
	return c, nil
}

func (c *Collector) makeIntake() error {
	enricher, err := enrich.New(enrich.Options{
		CountryDB: c.o.CountryDB, SaltFile: filepath.Join(c.o.SpoolDir, "salt.json"),
		Logger: c.o.Logger.With("room", "enrich"), Now: c.o.Now})
	if err != nil {
		return fmt.Errorf("make enricher: %w", err)
	}
	c.intake = intake.New(intake.Options{
		Sites:       c.o.Sites.Current,
		Hosts:       c.o.Hosts,
		AddressRate: c.o.AddressRate,
		SiteRate:    c.o.SiteRate,
		Enrich: func(e *event.Event, f intake.Facts) {
			enricher.Enrich(e, enrich.Facts(f))
		},
		Append:         c.append,
		Script:         c.o.Script,
		TrustedProxies: c.o.TrustedProxies,
		Now:            c.o.Now,
		Logger:         c.o.Logger.With("room", "intake"),
		Metrics:        c.o.Metrics,
	})
	return nil
}

// append puts records on disk, and tells intake in its own words why not.
func (c *Collector) append(_ context.Context, records [][]byte) error {
	err := c.spool.Append(records)
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

func (c *Collector) makeForwarder() (err error) {
	c.watermark = c.spool.Watermark()
	if c.o.Watermark != nil {
		c.watermark = c.o.Watermark(c.spool.ID())
	}
	c.forwarder, err = forward.New(forward.Options{
		Brokers: c.o.Brokers, Dial: c.o.Dial, Topic: c.o.Topic, Partitions: c.o.Partitions,
		Read:      func(from uint64) forward.Reader { return records{c.spool.Reader(from)} },
		Watermark: c.watermark,
		Release:   c.spool.Release,
		Dead:      c.spool.KeepDead,
		Confirm:   c.o.Confirm,
		Logger:    c.o.Logger.With("room", "forward"),
		Metrics:   c.o.Metrics,
	})
	return err
}

// records is a spool's reader as forward wants it.
type records struct{ *spool.Reader }

func (r records) Next(ctx context.Context) (seq uint64, key, value []byte, err error) {
	rec, err := r.Reader.Next(ctx)
	key, value = event.SplitRecord(rec.Payload)
	return rec.Seq, key, value, err
}

// Run serves on ln and forwards until ctx ends. Then it stops listening, answers
// what it has accepted, forwards for up to two more seconds, and closes the spool;
// what is left there goes at the next start.
func (c *Collector) Run(ctx context.Context, ln net.Listener) error {
	next, err := c.watermark.Load(ctx)
	if err == nil {
		err = c.spool.SkipTo(next)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("begin at the watermark: %w", err), c.spool.Close())
	}
	serving := make(chan error, 1)
	go func() { serving <- c.intake.Serve(ln) }()

	forwarding, stopForwarding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopForwarding()
	var wg sync.WaitGroup
	forwarded := make(chan error, 1)
	wg.Go(func() { c.o.Sites.Run(forwarding) })
	wg.Go(func() { forwarded <- c.forwarder.Run(forwarding) })

	select {
	case <-ctx.Done():
	case err = <-serving:
		err = fmt.Errorf("serve collector: %w", err)
	case err = <-forwarded:
		err = fmt.Errorf("forward: %w", err)
	}
	// A budget of its own, because ctx has ended.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = errors.Join(err, c.intake.Shutdown(closing))
	stopForwarding()
	wg.Wait()
	return errors.Join(err, c.spool.Close())
}

// Close frees a collector that was never run.
func (c *Collector) Close() error { return c.spool.Close() }

// Confirm tells what the sink has committed, by partition; see Options.Confirm.
func (c *Collector) Confirm(next map[int32]int64) { c.forwarder.Confirm(next) }

// Refusals returns the newest refusals of a site, of all for "".
func (c *Collector) Refusals(site string) []intake.Refused { return c.intake.Refusals(site) }

// stale is how long Kafka may leave a record unacknowledged before health says so.
const stale = 10 * time.Second

// Health returns why events are refused at present, and why they wait: nil each
// when all is well.
func (c *Collector) Health() (refused, waiting error) {
	if err := c.spool.Err(); err != nil {
		refused = fmt.Errorf("spool: %w", err)
	}
	waiting = c.o.Sites.Err()
	if err := c.spool.Warning(); err != nil {
		waiting = errors.Join(waiting, fmt.Errorf("spool: %w", err))
	}
	if d := c.forwarder.Oldest(); d > stale {
		waiting = errors.Join(waiting, fmt.Errorf("kafka: records have been waiting for %s", d.Round(time.Second)))
	}
	return refused, waiting
}
