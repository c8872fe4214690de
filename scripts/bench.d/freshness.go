package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"footfall/event"

	"github.com/jackc/pgx/v5"
)

// freshness is how long after its 2xx an event is a row that others see, at one rate. The
// times are in seconds.
type freshness struct {
	Name     string  `json:"name"`
	Rate     float64 `json:"events_per_second"` // that were answered 2xx
	Wanted   float64 `json:"wanted_per_second"`
	P50      float64 `json:"p50"` // from the answer to a poll that sees the row
	P99      float64 `json:"p99"`
	P50Quiet float64 `json:"p50_quiet"` // of quiet runs only
	P99Quiet float64 `json:"p99_quiet"`
	// What footfall_freshness_seconds says of the same events: from before the fsync until
	// behind the commit, as the upper ends of its buckets.
	P50Metric float64 `json:"p50_metric"`
	P99Metric float64 `json:"p99_metric"`
	Goal      float64 `json:"goal"`
	Kept, All int     // runs
}

// rateShare is how much of the wanted rate makes a run one at that rate.
const rateShare = 0.97

// verdict knows that noise makes rows later and never sooner: a goal that is met with it
// is met, and one that is missed with it says nothing.
func (f freshness) verdict() string {
	switch {
	case f.Rate < rateShare*f.Wanted:
		return "inconclusive"
	case f.P99 <= f.Goal && f.P99Metric <= f.Goal:
		return "met"
	case f.Kept < pairsWanted:
		return "inconclusive"
	case f.P99Quiet <= f.Goal:
		return "met"
	}
	return "MISSED"
}

// Goals of freshness, in seconds, and what they are measured with.
const (
	freshGoal     = 1
	freshHalfGoal = 3
	freshRate     = 1000
	freshRuns     = 6
	freshTopic    = "bench.fresh"

	warmUp   = 3 * time.Second
	drainMax = time.Minute
)

// path is the whole product between a generator and a table.
type path struct {
	b         *sinkBench
	load      *generator
	watch     *watcher
	collector string // host:port
	admin     string // of the sink
	stops     []func() string
}

// freshness runs the whole path at two rates: the one of the promise, and half of what it
// can take on this machine, beside the generator.
func (b *sinkBench) freshness(ctx context.Context) (err error) {
	if len(b.brokers) == 0 || b.s.freshSeconds == 0 || left(b.s.without, "freshness") {
		return nil
	}
	if err := b.db.empty(ctx); err != nil {
		return err
	}
	p, err := b.startPath(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if said := p.stop(); err != nil {
			err = fmt.Errorf("freshness: %w: %s", err, tail(said, 3000))
		}
	}()
	if _, err := p.run(ctx, freshRate, warmUp); err != nil {
		return err
	}
	length := time.Duration(b.s.freshSeconds) * time.Second
	at, err := p.repeat(ctx, "1,000 events a second", freshRate, length, freshGoal)
	if err != nil {
		return err
	}
	b.report.Freshness = append(b.report.Freshness, at)
	if b.report.Capacity, err = p.capacity(ctx, length); err != nil {
		return err
	}
	at, err = p.repeat(ctx, "half of capacity", b.report.Capacity/2, length, freshHalfGoal)
	b.report.Freshness = append(b.report.Freshness, at)
	return err
}

func (b *sinkBench) startPath(ctx context.Context) (p *path, err error) {
	p = &path{b: b}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w: %s", err, p.stop())
		}
	}()
	if p.collector, err = freeAddr(); err != nil {
		return p, err
	}
	if p.admin, err = freeAddr(); err != nil {
		return p, err
	}
	brokers := strings.Join(b.brokers, ",")
	for name, args := range map[string][]string{
		// On the server's core: the load's has the generator, Kafka and the sink.
		"collector": {"taskset", "-c", "0", b.s.bin, "collector", "--brokers", brokers, "--topic", freshTopic,
			"--listen", p.collector, "--admin-listen", "127.0.0.1:0", "--spool", filepath.Join(b.s.dir, "fresh-spool"),
			"--spool-max-bytes", "64GiB", "--trusted-proxies", "127.0.0.1", "--address-rate", "0", "--log-level", "warn"},
		"sink": {b.s.bin, "sink", "--brokers", brokers, "--topic", freshTopic, "--database-url", b.s.database,
			"--group", b.name("fresh"), "--admin-listen", p.admin, "--log-level", "error"},
	} {
		stop, _, err := process(b.s, name, nil, args...)
		if err != nil {
			return p, err
		}
		p.stops = append(p.stops, stop)
	}
	if p.watch, err = watch(ctx, b.s.database); err != nil {
		return p, err
	}
	p.load = newGenerator(p.collector)
	return p, p.awaitFirst(ctx)
}

func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// awaitFirst sends events until one of them is a row.
func (p *path) awaitFirst(ctx context.Context) error {
	for deadline := time.Now().Add(drainMax); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		if p.watch.rows() > 0 {
			return nil
		}
		p.load.send()
	}
	return errors.New("no event becomes a row")
}

func (p *path) stop() string {
	if p.watch != nil {
		p.watch.stop()
	}
	var said strings.Builder
	for _, stop := range p.stops {
		said.WriteString(stop())
	}
	return said.String()
}

// run sends at a rate and waits until all that was accepted is in the table.
func (p *path) run(ctx context.Context, rate float64, length time.Duration) (sent []answer, err error) {
	rows := p.watch.rows()
	if sent, err = p.load.open(ctx, rate, length); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(drainMax); p.watch.rows() < rows+int64(len(sent)); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, fmt.Errorf("%d of %d accepted events are rows after %s", p.watch.rows()-rows, len(sent), drainMax)
		}
	}
	return sent, p.watch.failed()
}

// repeat measures one rate several times.
func (p *path) repeat(ctx context.Context, name string, rate float64, length time.Duration, goal float64) (f freshness, err error) {
	f = freshness{Name: name, Wanted: rate, Goal: goal, All: freshRuns}
	var all, quiet []float64
	events := 0
	metric, err := p.metric(ctx)
	if err != nil {
		return f, err
	}
	for i := range freshRuns {
		// Noise only delays, so no run is repeated for it.
		still := p.b.gate.looks(patience, before)
		began := time.Now()
		sent, err := p.run(ctx, rate, length)
		if err != nil {
			return f, err
		}
		ages, err := p.ages(ctx, began, sent)
		if err != nil {
			return f, err
		}
		events += len(sent)
		all = append(all, ages...)
		still = still && p.b.gate.looks(lookback, after)
		if still {
			quiet, f.Kept = append(quiet, ages...), f.Kept+1
		}
		fmt.Fprintf(os.Stderr, "run %d of %d: %s, %.0f/s: p50 %.0f ms, p99 %.0f ms %s\n", i+1, freshRuns, name,
			float64(len(sent))/length.Seconds(), 1000*quantile(ages, 0.5), 1000*quantile(ages, 0.99), noisy(still))
	}
	f.Rate = float64(events) / (freshRuns * length.Seconds())
	f.P50, f.P99 = quantile(all, 0.5), quantile(all, 0.99)
	f.P50Quiet, f.P99Quiet = quantile(quiet, 0.5), quantile(quiet, 0.99)
	later, err := p.metric(ctx)
	if err != nil {
		return f, err
	}
	f.P50Metric, f.P99Metric = later.since(metric, 0.5), later.since(metric, 0.99)
	return f, nil
}

// ages are from each event's answer until its row was seen, in seconds. A row is seen with
// the line that its transaction wrote into the ledger.
func (p *path) ages(ctx context.Context, since time.Time, sent []answer) ([]float64, error) {
	rows, err := p.b.db.conn.Query(ctx, "select event_id, xmin::text from footfall.events where received_at >= $1", since.Add(-time.Second))
	if err != nil {
		return nil, err
	}
	by := map[event.UUID]string{}
	var id [16]byte
	var transaction string
	if _, err := pgx.ForEachRow(rows, []any{&id, &transaction}, func() error {
		by[id] = transaction
		return nil
	}); err != nil {
		return nil, err
	}
	ages := make([]float64, 0, len(sent))
	for _, a := range sent {
		seen, ok := p.watch.seen(by[a.id])
		if !ok {
			return nil, fmt.Errorf("event %s was accepted and its transaction never seen", a.id)
		}
		ages = append(ages, max(0, seen.Sub(a.at).Seconds()))
	}
	return ages, nil
}

// capacity is how many rows a second arrive while as much is sent as is answered, without
// the first quarter of that time.
func (p *path) capacity(ctx context.Context, length time.Duration) (float64, error) {
	began := time.Now()
	if _, err := p.run(ctx, 0, length); err != nil {
		return 0, err
	}
	return p.watch.rate(began.Add(length/4), began.Add(length)), nil
}

func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}
