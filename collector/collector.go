// Package collector takes events in and keeps its word: it answers 2xx when they are
// on disk, and passes them on to Kafka from there.
//
// It joins its four rooms, which do not know each other:
//
//	intake → enrich → spool → forward → Kafka
//
// Events are accepted as long as the spool takes them; Kafka being away is no
// reason to refuse one. Health says what is away. Without a disk to rely on there are
// two other stores (Durability): direct.go.
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
	"sync/atomic"
	"time"

	"footfall/collector/enrich"
	"footfall/collector/forward"
	"footfall/collector/intake"
	"footfall/collector/sites"
	"footfall/event"
	"footfall/failpoint"
	"footfall/kafka"

	"github.com/VictoriaMetrics/metrics"
)

// Durability is what a 2xx means.
type Durability string

const (
	DurabilitySpool  Durability = "spool"  // the events are on this disk
	DurabilityKafka  Durability = "kafka"  // all in-sync replicas of Kafka have them
	DurabilityMemory Durability = "memory" // nothing: a crash loses them
)

// Options of a Collector.
type Options struct {
	Durability    Durability
	SpoolDir      string
	SpoolMaxBytes int64 // 0: the spool's default
	SpoolMinFree  int64
	SpoolKeep     time.Duration // of what was passed on

	Kafka      kafka.Cluster
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
	ClientHeader   string // in which they tell the client's address; "" means X-Forwarded-For
	CountryDB      string // "" means the built-in one
	Scripts        func(name string) (intake.Script, bool)
	Beacon, Pixel  string // further names of /e and /p.gif; none when left out
	// ShutdownDelay is how long it goes on as before after its end was asked for, with a
	// health that fails already, so that load balancers stop sending first.
	ShutdownDelay time.Duration
	Now           func() time.Time // nil: time.Now
	Logger        *slog.Logger
	Metrics       *metrics.Set
}

// Collector is a running collector. Its methods are safe for concurrent use.
type Collector struct {
	o        Options
	store    store
	intake   *intake.Server
	stopping atomic.Bool
}

// store is what makes a 2xx true. Its methods but begin, run and close are called from
// many goroutines.
type store interface {
	begin(ctx context.Context) error // before the first append
	// append returns nil when the records are as safe as the store makes them; its errors
	// are intake's.
	append(ctx context.Context, records [][]byte) error
	run(ctx context.Context) error // until ctx ends; there may be appends till close
	confirm(topicID [16]byte, next map[int32]int64)
	health() (refused, waiting error)
	close() error
}

// New opens the spool and makes the rooms. A spool that another process holds is a
// *spool.LockedError. Close or Run the collector.
func New(o Options) (*Collector, error) {
	if o.Now == nil {
		o.Now = failpoint.Now
	}
	var st store
	var err error
	if o.Durability == DurabilitySpool {
		st, err = newSpooled(o)
	} else {
		st, err = newDirect(o)
	}
	if err != nil {
		return nil, err
	}
	c := &Collector{o: o, store: st}
	if err := c.makeIntake(); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return c, nil
}

func (c *Collector) makeIntake() error {
	salt := ""
	if c.o.SpoolDir != "" {
		salt = filepath.Join(c.o.SpoolDir, "salt.json")
	}
	enricher, err := enrich.New(enrich.Options{CountryDB: c.o.CountryDB, SaltFile: salt,
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
		Append:         c.store.append,
		Durability:     string(c.o.Durability),
		Scripts:        c.o.Scripts,
		Beacon:         c.o.Beacon,
		Pixel:          c.o.Pixel,
		TrustedProxies: c.o.TrustedProxies,
		ClientHeader:   c.o.ClientHeader,
		Now:            c.o.Now,
		Logger:         c.o.Logger.With("room", "intake"),
		Metrics:        c.o.Metrics,
	})
	return nil
}

// What the end of a collector may take: five seconds for the answers, and these for the
// forwarder. The spool adds three of its own when its disk hangs.
const (
	answerMax  = 5 * time.Second
	forwardMax = 3 * time.Second
)

// Run serves on ln and forwards until ctx ends. Then Health fails, and after ShutdownDelay it
// stops listening, answers what it has accepted, forwards for up to two more seconds, and
// closes the store; what is left in a spool goes at the next start. It ends also when the disk
// does not answer, after twelve seconds at most and with an error: whoever waits for that disk
// then gets 503.
func (c *Collector) Run(ctx context.Context, ln net.Listener) error {
	if err := c.store.begin(ctx); err != nil {
		return errors.Join(err, c.store.close())
	}
	serving := make(chan error, 1)
	go func() { serving <- c.intake.Serve(ln) }()

	forwarding, stopForwarding := context.WithCancel(context.WithoutCancel(ctx))
	defer stopForwarding()
	var wg sync.WaitGroup
	forwarded := make(chan error, 1)
	wg.Go(func() { c.o.Sites.Run(forwarding) })
	wg.Go(func() { forwarded <- c.store.run(forwarding) })

	broken := func(until <-chan struct{}) error {
		select {
		case <-until:
			return nil
		case err := <-serving:
			return fmt.Errorf("serve collector: %w", err)
		case err := <-forwarded:
			return fmt.Errorf("forward: %w", err)
		}
	}
	err := broken(ctx.Done())
	c.stopping.Store(true)
	if err == nil && c.o.ShutdownDelay > 0 {
		delay, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.o.ShutdownDelay)
		err = broken(delay.Done())
		cancel()
	}
	// A budget of its own, because ctx has ended.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerMax)
	defer cancel()
	if down := c.intake.Shutdown(closing); down != nil {
		err = errors.Join(err, fmt.Errorf("answer what was accepted: %w", down))
	}
	stopForwarding()
	return errors.Join(err, within(forwardMax, wg.Wait), c.store.close())
}

// within waits for the end of the forwarder, which a disk that does not answer can hold.
func within(limit time.Duration, wait func()) error {
	ended := make(chan struct{})
	go func() {
		wait()
		close(ended)
	}()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ended:
		return nil
	case <-t.C:
		return fmt.Errorf("forwarder has not ended for %s: its watermark is not stored", limit)
	}
}

// Close frees a collector that was never run.
func (c *Collector) Close() error { return c.store.close() }

// Confirm tells what the sink has committed, by partition; see Options.Confirm.
func (c *Collector) Confirm(topicID [16]byte, next map[int32]int64) { c.store.confirm(topicID, next) }

// Refusals returns the newest refusals of a site, of all for "".
func (c *Collector) Refusals(site string) []intake.Refused { return c.intake.Refusals(site) }

// Health returns why events are refused at present, and why they wait: nil each
// when all is well.
func (c *Collector) Health() (refused, waiting error) {
	if c.stopping.Load() {
		return errors.New("the collector is stopping"), nil
	}
	refused, waiting = c.store.health()
	return refused, errors.Join(waiting, c.o.Sites.Err())
}
