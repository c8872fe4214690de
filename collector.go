package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"footfall/collector"
	"footfall/snippet"

	"github.com/VictoriaMetrics/metrics"
)

// collectorCmd is the collector as a process of its own, in front of a real Kafka.
type collectorCmd struct {
	kafkaFlags
	collectorFlags
	adminFlags
	tlsFlags
	Durability    durability `help:"What a 2xx means: spool (on this disk), kafka (acknowledged by all in-sync replicas; no disk is used) or memory (nothing: a crash loses events)." default:"spool"`
	ShutdownDelay duration   `help:"How long to go on as before after SIGTERM, while /health/ready fails already: until load balancers have noticed." default:"0s"`
	Spool         string     `help:"Directory of the spool; it has to outlive the process." default:"spool" placeholder:"DIR"`
}

// gcPercent is the garbage collector's: events leave hardly any garbage, so it seldom has to
// run, and what thousands of connections hold is not to be held twice.
const gcPercent = 50

// Validate says what is missing; kong calls it.
func (c *collectorCmd) Validate() error {
	return errors.Join(c.checkKafka(), c.check())
}

// Run serves until ctx ends.
func (c *collectorCmd) Run(ctx context.Context, p *program) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	set := metrics.NewSet()
	o, err := c.options(p, set)
	if err != nil {
		return err
	}
	o.Durability = collector.Durability(c.Durability)
	if o.Durability == collector.DurabilitySpool {
		o.SpoolDir = c.Spool
	}
	o.ShutdownDelay = time.Duration(c.ShutdownDelay)
	o.Topic, o.Partitions = c.Topic, int32(c.Partitions)
	if o.Kafka, err = c.cluster(); err != nil {
		return err
	}
	col, err := collector.New(o)
	if err != nil {
		return err
	}
	ln, err := listen("listen", c.Listen)
	if err != nil {
		return joinClose(err, col)
	}
	secure, err := c.wrap(ln, p.log.With("room", "tls"))
	if err != nil {
		return joinClose(err, ln, col)
	}
	adminLn, err := listen("admin-listen", c.AdminListen)
	if err != nil {
		return joinClose(err, ln, col)
	}
	p.log.Info("collector listens", "version", version(), "listen", ln.Addr().String(),
		"admin", adminLn.Addr().String(), "brokers", c.Brokers, "topic", c.Topic,
		"sites", o.Sites.Current().Names(), "spool", c.Spool)
	a := &admin{set: set, log: p.log, health: []health{collectorHealth(col)}, refusals: col.Refusals}
	return a.beside(ctx, adminLn, func(ctx context.Context) error { return col.Run(ctx, secure) })
}

// options are the collector's that do not depend on where Kafka is.
func (c *collectorFlags) options(p *program, set *metrics.Set) (collector.Options, error) {
	overlapDisk()
	sources, err := c.source(p)
	if err != nil {
		return collector.Options{}, err
	}
	scripts, err := newScripts(sources, snippet.Names(c.Names), c.Pinned, p.log.With("room", "snippet"))
	if err != nil {
		return collector.Options{}, err
	}
	return collector.Options{
		SpoolMaxBytes:  int64(c.SpoolMaxBytes),
		SpoolKeep:      time.Duration(c.SpoolKeep),
		SpoolMinFree:   minFree(c.SpoolMinFree),
		Sites:          sources,
		Hosts:          c.Hosts,
		AddressRate:    float64(c.AddressRate),
		SiteRate:       float64(c.SiteRate),
		TrustedProxies: c.TrustedProxies,
		ClientHeader:   string(c.ClientHeader),
		CountryDB:      string(c.CountryDB),
		Scripts:        scripts.find,
		Beacon:         c.Names.Beacon,
		Pixel:          c.Names.Pixel,
		Logger:         p.log,
		Metrics:        set,
	}, nil
}

// overlapDisk lets a process that has one core work while its spool waits for an fsync:
// the runtime takes a core back from a waiting thread only after a while, and a second
// one is there at once (a tenth more beacons a second). GOMAXPROCS in the environment
// stands.
func overlapDisk() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
}

// minFree says none in the spool's words, to whom 0 is the default.
func minFree(n byteSize) int64 {
	if n == 0 {
		return -1
	}
	return int64(n)
}

func collectorHealth(c *collector.Collector) health {
	return health{"collector", func(context.Context) (refused, degraded error) {
		return c.Health()
	}}
}

// listen opens a port, and says which setting moves it when it is taken.
func listen(setting string, a address) (net.Listener, error) {
	ln, err := net.Listen("tcp", string(a))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w; choose another with --%s (port 0 picks a free one)",
			a, err, setting)
	}
	return ln, nil
}

// together runs parts until ctx ends or one of them does, and then ends them all. It
// returns what they returned.
func together(ctx context.Context, parts ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() {
			defer cancel()
			ended <- part(ctx)
		}()
	}
	var err error
	for range parts {
		err = errors.Join(err, <-ended)
	}
	return err
}
