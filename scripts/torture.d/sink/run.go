package sink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"

	"footfall/scripts/torture.d/parts"
)

const (
	healMax     = 2 * time.Minute  // until the last row is there
	frozenMax   = 90 * time.Second // and more beside a frozen sink: a statement's minute, a wait for its lock
	shutdownMax = 15 * time.Second
	rssLimit    = 1 << 30
)

// run is one seed under way.
type run struct {
	s               settings
	m               *machines
	plan            *plan
	dir             string
	v               *verdict
	topic, group    string
	database, space string
	url             string
	made            bool // the database
	o               *oracle
	loaded          chan struct{} // closed when all records are acknowledged

	// Of the sinks' lane, and then of healing:
	sinks   []*process
	started int
	zombies sync.WaitGroup
}

// process is a sink.
type process struct {
	*parts.Process
	mayDie bool   // by itself: it has a failpoint
	name   string // of its sessions
	zombie bool   // it is stopped and does not count
	frozen bool   // and stays so until all rows are there
	ended  bool   // by us
}

func newRun(s settings, m *machines, p *plan, dir string, v *verdict) *run {
	name := fmt.Sprintf("torture_%d_%d", p.seed, time.Now().UnixMilli())
	v.Faults = p.faults()
	return &run{s: s, m: m, plan: p, dir: dir, v: v, topic: name, group: name, database: name,
		loaded: make(chan struct{})}
}

func (x *run) all(ctx context.Context) (err error) {
	if x.o, err = newOracle(x.plan, x.s.kafka.Seeds(), x.topic); err != nil {
		return err
	}
	defer x.o.client.Close()
	if err := x.begin(ctx); err != nil {
		return fmt.Errorf("before the load: %w", err)
	}
	if err := x.breakIt(ctx); err != nil {
		return err
	}
	if err := x.heal(ctx); err != nil {
		return err
	}
	return x.judge(ctx)
}

// begin makes topic and database, and sinks that have made the tables.
func (x *run) begin(ctx context.Context) error {
	admin := kadm.NewClient(x.o.client)
	if _, err := admin.CreateTopic(ctx, int32(x.plan.partitions), int16(len(x.s.kafka.Seeds())), nil, x.topic); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	if err := x.prepare(ctx); err != nil {
		return err
	}
	x.url = x.m.pg.URL(x.database, x.plan.bothHosts || x.plan.needs() == syncStandby || x.plan.needs() == asyncStandby)
	if err := x.ensure(); err != nil {
		return err
	}
	if err := x.migrated(ctx); err != nil {
		return err
	}
	statements := constraints
	if x.plan.trigger {
		statements += ";" + trigger
	}
	return x.exec(ctx, x.database, statements)
}

// migrated waits until the positions are there: then so is the schema.
func (x *run) migrated(ctx context.Context) (err error) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		var n int
		err = x.sql(ctx, func(c *pgx.Conn) error {
			return c.QueryRow(ctx, "select count(*) from footfall.sink_offsets").Scan(&n)
		})
		if err == nil && n == x.plan.partitions {
			return nil
		}
		sleep(ctx, 20*time.Millisecond)
	}
	return fmt.Errorf("the sinks do not begin: %w; %s", errors.Join(err, ctx.Err()), x.tails())
}

// breakIt runs the lanes beside the load.
func (x *run) breakIt(ctx context.Context) error {
	began := time.Now()
	errs := make([]error, len(x.plan.lanes)+1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(x.loaded)
		if err := x.o.load(ctx); err != nil {
			errs[len(x.plan.lanes)] = fmt.Errorf("load: %w", err)
		}
	})
	for l, steps := range x.plan.lanes {
		wg.Go(func() {
			for _, s := range steps {
				sleep(ctx, time.Until(began.Add(s.at)))
				if ctx.Err() != nil {
					return
				}
				if err := s.do(x, ctx, rand.New(rand.NewPCG(s.seed, 2))); err != nil {
					errs[l] = errors.Join(errs[l], fmt.Errorf("%s: %w", s.name, err))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// heal waits until every record is accounted for, with sinks that nobody disturbs, and
// ends them in order.
func (x *run) heal(ctx context.Context) error {
	began := time.Now()
	x.zombies.Wait()
	for _, s := range x.sinks {
		s.zombie = s.frozen
	}
	err := x.ensure()
	if err == nil {
		err = x.settled(ctx)
	}
	x.v.Healing = time.Since(began).Seconds()
	for _, s := range x.sinks {
		if s.Running() {
			if s.frozen {
				s.Signal(syscall.SIGCONT)
			}
			err = errors.Join(err, x.terminate(s))
		}
		x.v.RSSMax = max(x.v.RSSMax, s.RSS())
	}
	if x.v.RSSMax > rssLimit {
		x.v.problem("a sink took %d MiB", x.v.RSSMax>>20)
	}
	return err
}

// settled waits until the positions are where the log ends.
func (x *run) settled(ctx context.Context) error {
	ends, err := kadm.NewClient(x.o.client).ListEndOffsets(ctx, x.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return err
	}
	want := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { want[o.Partition] = o.Offset })
	limit := healMax
	if slices.ContainsFunc(x.sinks, func(s *process) bool { return s.frozen }) {
		limit += frozenMax
	}
	var behind string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline) && ctx.Err() == nil; {
		err := x.sql(ctx, func(c *pgx.Conn) (err error) { behind, err = lag(ctx, c, want); return err })
		if err != nil {
			return err
		}
		if behind == "" {
			return nil
		}
		if err := x.ensure(); err != nil {
			return err
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return fmt.Errorf("not healed within %s: %s; %s", limit, behind, x.tails())
}

// lag says which partitions are not read to their ends.
func lag(ctx context.Context, c *pgx.Conn, want map[int32]int64) (behind string, err error) {
	rows, err := c.Query(ctx, "select partition, next_offset from footfall.sink_offsets")
	if err != nil {
		return "", err
	}
	got := map[int32]int64{}
	var p int32
	var n int64
	if _, err := pgx.ForEachRow(rows, []any{&p, &n}, func() error { got[p] = n; return nil }); err != nil {
		return "", err
	}
	for p, end := range want {
		if got[p] < end {
			behind += fmt.Sprintf("partition %d is at %d of %d ", p, got[p], end)
		}
	}
	return behind, nil
}

func armed(place string, hits int) string {
	return fmt.Sprintf("FOOTFALL_TEST_FAILPOINT=%s:%d", place, hits)
}

func (x *run) startSink(group string, env ...string) (*process, error) {
	x.started++
	name := fmt.Sprintf("sink-%d", x.started)
	args := []string{x.s.bin, "sink", "--brokers", x.s.kafka.Addresses, "--topic", x.topic, "--group", group,
		"--database-url", x.url + "&application_name=" + name, "--batch-rows", strconv.Itoa(x.plan.batchRows), "--admin-listen", "127.0.0.1:0"}
	p, err := parts.Start(x.dir, filepath.Join(x.dir, name+".log"), args, env...)
	if err != nil {
		return nil, err
	}
	s := &process{Process: p, name: name}
	x.sinks = append(x.sinks, s)
	return s, nil
}

// running is the sinks that are awake.
func (x *run) running() (list []*process) {
	for _, s := range x.sinks {
		if s.Running() && !s.zombie {
			list = append(list, s)
		}
	}
	return list
}

// ensure starts sinks until there are as many as planned. One that ended by itself, which
// no sink has a reason to do, is a problem.
func (x *run) ensure() error {
	for _, s := range x.sinks {
		if !s.Running() && !s.ended {
			s.ended = true
			if !s.mayDie {
				x.v.problem("a sink ended by itself: %s", s.Tail())
			}
		}
	}
	for len(x.running()) < x.plan.sinks {
		if _, err := x.startSink(x.group); err != nil {
			return err
		}
	}
	return nil
}

// end kills a sink.
func (x *run) end(s *process) {
	s.ended = true
	s.Kill()
	x.v.RSSMax = max(x.v.RSSMax, s.RSS())
}

// terminate asks a sink to end, which it does in time whatever else is broken.
func (x *run) terminate(s *process) error {
	s.ended = true
	if err := s.Terminate(shutdownMax); err != nil && !s.mayDie {
		x.v.problem("%v", err)
	}
	return nil
}

// tails is the end of what the sinks printed that run.
func (x *run) tails() (text string) {
	for _, s := range x.running() {
		text += s.Tail() + "\n"
	}
	return text + x.m.pg.Tail()
}

// clean removes what the seed made, also when it failed or was interrupted.
func (x *run) clean() {
	for _, s := range x.sinks {
		if s.Running() {
			s.Signal(syscall.SIGCONT)
			s.Kill()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for _, p := range x.m.pg.Proxies() {
		p.Set(parts.Pass)
	}
	if x.m.disk != nil {
		os.Remove(filepath.Join(x.m.disk.Dir, "filler"))
	}
	err := errors.Join(x.drop(ctx), x.s.kafka.Do(ctx, "start", 1, 2, 3))
	if err == nil {
		err = x.s.kafka.DeleteTopic(ctx, x.topic)
	}
	if err != nil {
		x.v.problem("clean up: %v", err)
	}
}
