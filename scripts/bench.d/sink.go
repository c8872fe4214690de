package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"footfall/event"
	"footfall/sink/postgres"
)

type sinkSettings struct {
	bin, dir, database, brokers, naive, connect, json, plot string
	rounds, rows, naiveRows, connectRows, partitions        int
	fill, without                                           string
	freshSeconds                                            int
	only                                                    bool // freshness
}

// runMax ends a side that gets nowhere.
const runMax = 5 * time.Minute

const connectTopic = "bench.connect"

func benchSink(ctx context.Context, args []string) error {
	var s sinkSettings
	f := flag.NewFlagSet("sink", flag.ExitOnError)
	f.StringVar(&s.bin, "bin", "", "footfall")
	f.StringVar(&s.dir, "dir", "", "directory for everything")
	f.StringVar(&s.database, "database-url", "", "PostgreSQL, as a superuser, on this machine")
	f.StringVar(&s.brokers, "brokers", "", "Kafka; none: without the sides that need it")
	f.StringVar(&s.naive, "naive", "", "python with kafka-python and psycopg2; none: without it")
	f.StringVar(&s.connect, "connect", "", "directory of Kafka Connect's jars; none: without it")
	f.IntVar(&s.rounds, "rounds", 8, "turns of each side")
	f.IntVar(&s.rows, "rows", 400_000, "rows of a run")
	f.IntVar(&s.naiveRows, "naive-rows", 3000, "rows of a run of the naive sink")
	f.IntVar(&s.connectRows, "connect-rows", 100_000, "rows of a run of Kafka Connect")
	f.IntVar(&s.partitions, "partitions", 4, "partitions of the topic")
	f.StringVar(&s.fill, "fill", "0,5000000,20000000", "rows in the table before a run, for the curve; empty: no curve")
	f.IntVar(&s.freshSeconds, "fresh-seconds", 8, "length of a run that measures freshness; 0: none")
	f.BoolVar(&s.only, "only-freshness", false, "nothing but freshness")
	f.StringVar(&s.without, "without", "", "sides to leave out: their names' beginnings, with commas")
	f.StringVar(&s.json, "json", "", "file for the figures")
	f.StringVar(&s.plot, "plot", "", "file for a picture (SVG)")
	f.Parse(args)
	b := &sinkBench{s: s, gate: newGate(), runs: map[string][]kept{}}
	if s.brokers != "" {
		b.brokers = strings.Split(s.brokers, ",")
	}
	return b.run(ctx)
}

// sinkBench is one run of everything.
type sinkBench struct {
	s       sinkSettings
	gate    *gate
	db      *database
	brokers []string
	events  []*event.Event
	clock   time.Time // where the curve's next events begin
	shared  string    // a directory for files that the server reads
	file    string    // the same events, as the server reads them
	runs    map[string][]kept
	names   int
	report  sinkReport
}

func (b *sinkBench) name(what string) string {
	b.names++
	return fmt.Sprintf("bench-%s-%d", what, b.names)
}

func (b *sinkBench) topic(partitions int) string { return fmt.Sprintf("bench.%d", partitions) }

// step is one side: a way of getting rows into the empty table.
type step struct {
	name string
	run  func(context.Context) (rows int64, took time.Duration, err error)
}

const (
	sideServer = "server COPY from its file"
	sideSink   = "footfall sink from Kafka"
	sideStage  = "footfall COPY stage alone"
	sideDouble = "footfall, 2 % duplicates"
	sideNaive  = "naive sink"

	sideConnect = "Debezium JDBC, "
	sideInsert  = sideConnect + "insert"
	sideUpsert  = sideConnect + "upsert"
)

var sinkSides = []string{sideServer, sideSink, sideStage, sideDouble, sideNaive, sideInsert, sideUpsert}

var sinkComparisons = []comparison{
	{"Kafka to table ÷ server COPY", sideSink, sideServer, 0.60},
	{"COPY stage ÷ server COPY", sideStage, sideServer, 0.85},
	{"with duplicates ÷ server COPY", sideDouble, sideServer, 0.55},
	{"Kafka to table ÷ naive sink", sideSink, sideNaive, 20},
	{"Kafka to table ÷ Debezium insert", sideSink, sideInsert, 1},
	{"Kafka to table ÷ Debezium upsert", sideSink, sideUpsert, 5},
}

func (b *sinkBench) steps() []step {
	list := []step{
		{sideServer, func(ctx context.Context) (int64, time.Duration, error) { return b.db.serverCopy(ctx, b.file) }},
		{sideStage, func(ctx context.Context) (int64, time.Duration, error) {
			return b.db.writeBatches(ctx, batches(b.events, 10_000))
		}},
		{sideDouble, func(ctx context.Context) (int64, time.Duration, error) {
			return b.db.writeBatches(ctx, batches(withDuplicates(b.events, 10_000), 10_000))
		}},
	}
	if len(b.brokers) > 0 {
		list = append(list, step{sideSink, func(ctx context.Context) (int64, time.Duration, error) {
			return b.sinkRun(ctx, b.topic(b.s.partitions))
		}})
		if b.s.naive != "" {
			list = append(list, step{sideNaive, b.naiveRun})
		}
		if b.s.connect != "" {
			for _, mode := range []string{"insert", "upsert"} {
				list = append(list, step{sideConnect + mode, func(ctx context.Context) (int64, time.Duration, error) {
					return b.connectRun(ctx, mode)
				}})
			}
		}
	}
	var wanted []step
	for _, st := range list {
		if !left(b.s.without, st.name) {
			wanted = append(wanted, st)
		}
	}
	return wanted
}

func left(without, name string) bool {
	for prefix := range strings.SplitSeq(without, ",") {
		if prefix != "" && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// withDuplicates repeats every fiftieth event, one of an earlier batch: what is repeated within
// a batch never reaches the database.
func withDuplicates(list []*event.Event, batch int) []*event.Event {
	out := slices.Clone(list)
	back := batch + 9 // an event that is itself no repetition
	for i := back; i < len(out); i++ {
		if i%50 == 49 {
			out[i] = list[i-back]
		}
	}
	return out
}

func (b *sinkBench) run(ctx context.Context) (err error) {
	if b.db, err = openDatabase(ctx, b.s.database); err != nil {
		return err
	}
	defer b.db.close()
	if b.s.only {
		return b.finish(b.freshness(ctx))
	}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for i := range b.s.rounds {
		for _, st := range b.steps() {
			rate, quiet, err := b.measure(ctx, st)
			if err != nil {
				b.report.Sides, b.report.Ratios = pairUp(b.runs, sinkSides, sinkComparisons)
				return b.finish(fmt.Errorf("%s: %w", st.name, err))
			}
			b.runs[st.name] = append(b.runs[st.name], kept{load{rate: rate}, quiet})
			fmt.Fprintf(os.Stderr, "round %d of %d: %-26s %9.0f rows/s %s\n", i+1, b.s.rounds, st.name, rate, noisy(quiet))
		}
	}
	r := &b.report
	r.Sides, r.Ratios = pairUp(b.runs, sinkSides, sinkComparisons)
	r.prepared(b.events)
	if err := b.freshness(ctx); err != nil {
		return b.finish(err)
	}
	return b.finish(b.curves(ctx))
}

// finish prints and saves what was measured, also when something failed or a signal ended
// it: half an hour is too long for nothing.
func (b *sinkBench) finish(failed error) error {
	r := &b.report
	r.print(os.Stdout)
	svg := bars(fmt.Sprintf("Rows a second into the product's table, server on one core, runs of %d", b.s.rows), r.Sides, r.Ratios)
	if err := errors.Join(failed, save(r, svg, b.s.json, b.s.plot)); err != nil {
		return err
	}
	if !r.good() {
		return errors.New("a goal is not met, or the machine was too noisy to tell")
	}
	return nil
}

// prepare makes the events, the server's file of them, and the topics.
func (b *sinkBench) prepare(ctx context.Context) error {
	b.events, b.report.Rows = pageviews(b.s.rows), b.s.rows
	if err := b.db.empty(ctx); err != nil {
		return err
	}
	_, before, err := b.db.sizes(ctx)
	if err != nil {
		return err
	}
	if _, _, err := b.db.writeBatches(ctx, batches(b.events, 10_000)); err != nil {
		return err
	}
	disk, after, err := b.db.sizes(ctx)
	if err != nil {
		return err
	}
	b.report.Disk, b.report.WAL = float64(disk)/float64(b.s.rows), float64(after-before)/float64(b.s.rows)
	dir, err := shared(b.s.dir)
	if err != nil {
		return err
	}
	b.shared = dir
	if err := b.db.keepRows(ctx); err != nil {
		return err
	}
	if b.file, err = b.db.serverFile(ctx, dir); err != nil || len(b.brokers) == 0 {
		return err
	}
	for _, n := range []int{1, 2, 4} {
		if err := produce(ctx, b.brokers, b.topic(n), n, b.events, asJSON); err != nil {
			return err
		}
	}
	if n := b.s.partitions; n != 1 && n != 2 && n != 4 {
		if err := produce(ctx, b.brokers, b.topic(n), n, b.events, asJSON); err != nil {
			return err
		}
	}
	if b.s.connect == "" {
		return nil
	}
	return produce(ctx, b.brokers, connectTopic, b.s.partitions, b.connectEvents(), connectForm)
}

// measure runs a side on the empty table.
func (b *sinkBench) measure(ctx context.Context, st step) (rate float64, quiet bool, err error) {
	quiet, err = b.gate.quiet(func() error {
		if err := b.db.empty(ctx); err != nil {
			return err
		}
		rows, took, err := st.run(ctx)
		rate = float64(rows) / took.Seconds()
		return err
	})
	return rate, quiet, err
}

// point is a place on a curve: the median of the runs there.
type point struct {
	At     int     `json:"at"`
	Rate   float64 `json:"rows_per_second"`
	Server float64 `json:"server_rows_per_second,omitempty"` // of its own COPY on the same table
	Quiet  int     `json:"quiet_runs"`
}

const curveRuns = 3

// curves measures over partitions, and over rows that the table has already.
func (b *sinkBench) curves(ctx context.Context) error {
	for _, n := range []int{1, 2, 4} {
		if len(b.brokers) == 0 || left(b.s.without, "curve") {
			break
		}
		p := point{At: n}
		var rates []float64
		for range curveRuns {
			rate, quiet, err := b.measure(ctx, step{"", func(ctx context.Context) (int64, time.Duration, error) {
				return b.sinkRun(ctx, b.topic(n))
			}})
			if err != nil {
				return err
			}
			if rates = append(rates, rate); quiet {
				p.Quiet++
			}
			fmt.Fprintf(os.Stderr, "curve: %d partitions: %9.0f rows/s %s\n", n, rate, noisy(quiet))
		}
		p.Rate = median(rates)
		b.report.Partitions = append(b.report.Partitions, p)
	}
	for text := range strings.SplitSeq(b.s.fill, ",") {
		if text == "" || left(b.s.without, "curve") {
			break
		}
		rows, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("--fill: %w", err)
		}
		p, err := b.filled(ctx, rows)
		if err != nil {
			return err
		}
		b.report.Filled = append(b.report.Filled, p)
	}
	return b.db.empty(ctx)
}

// filled measures the COPY stage on a table of so many rows, with fresh events each time.
func (b *sinkBench) filled(ctx context.Context, rows int) (p point, err error) {
	// What there is stays for the next point, if that is larger.
	if have, err := b.db.count(ctx); err != nil {
		return p, err
	} else if have >= rows {
		if err := b.db.empty(ctx); err != nil {
			return p, err
		}
	}
	if _, err := b.db.conn.Exec(ctx, "truncate footfall.sink_offsets"); err != nil {
		return p, err
	}
	if rows > 0 { // a row to fill with
		if _, _, err := b.db.writeBatches(ctx, batches(pageviews(1), 1)); err != nil {
			return p, err
		}
		fmt.Fprintf(os.Stderr, "curve: filling the table with %d rows\n", rows)
		if err := b.db.fill(ctx, rows); err != nil {
			return p, err
		}
	}
	p.At = rows
	stage := func() (int64, time.Duration, error) {
		return b.db.writeBatches(ctx, batches(pageviewsFrom(b.later(), b.s.rows), 10_000))
	}
	server := func() (int64, time.Duration, error) {
		path, err := b.db.freshFile(ctx, b.shared, b.later())
		if err != nil {
			return 0, 0, err
		}
		return b.db.serverCopy(ctx, path)
	}
	// By turns: the first to write after the filling finds other pages in memory than who
	// comes later.
	var ours, its []float64
	for range curveRuns {
		rate, quiet, err := b.onTop(ctx, "COPY stage", rows, stage)
		if err != nil {
			return p, err
		}
		limit, also, err := b.onTop(ctx, "server COPY", rows, server)
		if err != nil {
			return p, err
		}
		if ours, its = append(ours, rate), append(its, limit); quiet && also {
			p.Quiet++
		}
	}
	p.Rate, p.Server = median(ours), median(its)
	return p, nil
}

// later returns the time of a run's first event: behind all of the runs before, because events
// arrive in the order of their time, and one among others costs the key's index more.
func (b *sinkBench) later() time.Time {
	if b.clock.IsZero() {
		b.clock = time.Now().Add(-3 * time.Hour)
	}
	first := b.clock
	b.clock = first.Add(time.Duration(b.s.rows) * time.Millisecond)
	return first
}

// onTop measures one way to add fresh rows to a table of so many.
func (b *sinkBench) onTop(ctx context.Context, name string, rows int, run func() (int64, time.Duration, error)) (
	rate float64, quiet bool, err error) {
	quiet, err = b.gate.quiet(func() error {
		if _, err := b.db.conn.Exec(ctx, "truncate footfall.sink_offsets; checkpoint"); err != nil {
			return err
		}
		n, took, err := run()
		rate = float64(n) / took.Seconds()
		return err
	})
	if err == nil {
		fmt.Fprintf(os.Stderr, "curve: %s, %d rows in the table: %9.0f rows/s %s\n", name, rows, rate, noisy(quiet))
	}
	return rate, quiet, err
}

// sinkReport is everything that was measured.
type sinkReport struct {
	Rows        int         `json:"rows"`
	Sides       []side      `json:"sides"`
	Ratios      []ratio     `json:"ratios"`
	Nanoseconds float64     `json:"prepare_ns_per_row"`
	Allocs      float64     `json:"prepare_allocs_per_row"`
	Bytes       float64     `json:"prepare_bytes_per_row"`
	Disk        float64     `json:"disk_bytes_per_row"`
	WAL         float64     `json:"wal_bytes_per_row"`
	Partitions  []point     `json:"by_partitions"`
	Filled      []point     `json:"by_rows_in_the_table"`
	Freshness   []freshness `json:"freshness"`
	Capacity    float64     `json:"capacity_rows_per_second"` // of the whole path, generator included
}

// prepared measures decoding and encoding.
func (r *sinkReport) prepared(list []*event.Event) {
	const rows = 1000
	store, batch := new(postgres.Store), batches(list[:min(rows, len(list))], rows)[0]
	m := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			store.Prepare(batch)
		}
	})
	n := float64(len(batch.Parts[0].Records))
	r.Nanoseconds, r.Allocs = float64(m.NsPerOp())/n, float64(m.AllocsPerOp())/n
	r.Bytes = float64(m.AllocedBytesPerOp()) / n
}

// Goals beside the ratios: garbage, and how the COPY stage does beside the server's own COPY
// when both write into the same table, whatever it holds.
const (
	rowAllocsGoal = 4
	grownGoal     = 0.85
)

// grown is that ratio of the table that it is worst of. A filled table costs the server too;
// what the sink adds must not grow.
func (r *sinkReport) grown() (x ratio, measured bool) {
	for _, p := range r.Filled {
		if share := p.Rate / p.Server; !measured || share < x.Median {
			name := fmt.Sprintf("COPY stage ÷ server COPY, table of %d rows, the worst", p.At)
			x, measured = ratio{name, share, share, share, grownGoal, p.Quiet, 2}, true
		}
	}
	return x, measured
}

func (r *sinkReport) print(out *os.File) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	r.printFreshness(w)
	if len(r.Sides) > 0 {
		r.printRows(w)
	}
	r.printCurves(w)
}

func (r *sinkReport) printRows(w io.Writer) {
	printSides(w, fmt.Sprintf("SIDE, server on one core, %d rows\tROWS/S", r.Rows), r.Sides, r.Ratios)
	fmt.Fprintf(w, "\nONE ROW\tNS\tALLOCATIONS\tBYTES ALLOCATED\ndecode and encode\t%.0f\t%.3f\t%.0f\n", r.Nanoseconds, r.Allocs, r.Bytes)
	fmt.Fprintf(w, "\nONE ROW\tDISK BYTES\tWAL BYTES\nwith its indexes\t%.0f\t%.0f\n", r.Disk, r.WAL)
}

func (r *sinkReport) printCurves(w io.Writer) {
	if len(r.Partitions) > 0 {
		fmt.Fprintln(w, "\nPARTITIONS (sink from Kafka)\tROWS/S\tQUIET RUNS")
	}
	for _, p := range r.Partitions {
		fmt.Fprintf(w, "%d\t%.0f\t%d of %d\n", p.At, p.Rate, p.Quiet, curveRuns)
	}
	if len(r.Filled) > 0 {
		fmt.Fprintln(w, "\nROWS IN THE TABLE\tCOPY STAGE, ROWS/S\tSERVER COPY\tQUIET RUNS")
	}
	for _, p := range r.Filled {
		fmt.Fprintf(w, "%d\t%.0f\t%.0f\t%d of %d\n", p.At, p.Rate, p.Server, p.Quiet, curveRuns)
	}
	if x, measured := r.grown(); measured {
		fmt.Fprintf(w, "\n%s\t%.2f\tgoal %.2f\t%s\n", x.Name, x.Median, x.Goal, x.verdict())
	}
}

func (r *sinkReport) printFreshness(w io.Writer) {
	if len(r.Freshness) == 0 {
		return
	}
	fmt.Fprintf(w, "\nFRESHNESS, 2xx to visible row\tEVENTS/S\tP50 MS\tP99 MS\tBY METRIC P50\tP99\tGOAL P99\tQUIET RUNS\tVERDICT\n")
	for _, f := range r.Freshness {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%d of %d\t%s\n", f.Name, f.Rate, 1000*f.P50, 1000*f.P99,
			1000*f.P50Metric, 1000*f.P99Metric, 1000*f.Goal, f.Kept, f.All, f.verdict())
	}
	fmt.Fprintf(w, "capacity\t%.0f\n", r.Capacity)
}

func (r *sinkReport) good() bool {
	x, measured := r.grown()
	ok := r.Allocs <= rowAllocsGoal && (!measured || x.verdict() == "met")
	for _, f := range r.Freshness {
		ok = ok && f.verdict() == "met"
	}
	for _, x := range r.Ratios {
		ok = ok && x.verdict() == "met"
	}
	return ok
}
