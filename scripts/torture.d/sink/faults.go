package sink

import (
	"context"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/failpoint"
	"footfall/scripts/torture.d/parts"
)

func faults() []fault {
	return []fault{
		{"kill -9", onSinks, 4, (*run).killed, nothing},
		{"kill -9 at " + failpoint.SinkCopied, onSinks, 3, at(failpoint.SinkCopied), nothing},
		{"kill -9 at " + failpoint.SinkCommitted, onSinks, 3, at(failpoint.SinkCommitted), nothing},
		{"SIGTERM", onSinks, 2, (*run).terminated, nothing},
		{"zombie", onSinks, 2, (*run).stopped, nothing},
		{"frozen in COPY", onSinks, 2, (*run).frozen, nothing},
		{"rebalance storm", onSinks, 2, (*run).storm, nothing},
		{"a sink of another group", onSinks, 1, (*run).otherGroup, nothing},

		{"broker killed", onKafka, 3, (*run).brokerKilled, nothing},
		{"two brokers killed", onKafka, 1, (*run).brokersKilled, nothing},
		{"broker stopped", onKafka, 2, (*run).brokerStopped, nothing},
		{"partitions added", onKafka, 2, (*run).partitionsAdded, nothing},

		{"postgres killed", onPostgres, 3, (*run).postgresKilled, nothing},
		{"backend killed", onPostgres, 2, (*run).backendKilled, nothing},
		{"postgres restarted", onPostgres, 1, (*run).postgresRestarted, nothing},
		{"half the sessions terminated", onPostgres, 4, (*run).sessionsTerminated, nothing},
		{"standby promoted", onPostgres, 2, (*run).promoted, syncStandby},
		{"late standby promoted", onPostgres, 2, (*run).promotedLate, asyncStandby},
		{"disk full", onPostgres, 3, (*run).diskFull, disk},
		{"table locked", onPostgres, 2, (*run).locked, nothing},
		{"schema changed", onPostgres, 4, (*run).schemaChanged, nothing},
		{"connections reset", onPostgres, 3, (*run).reset, nothing},
		{"network silent", onPostgres, 3, (*run).silent, nothing},
		{"network refuses", onPostgres, 1, (*run).refuses, nothing},
	}
}

// between draws a time.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// sleep ends early with ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// killed kills some sinks, perhaps all, at once.
func (x *run) killed(ctx context.Context, r *rand.Rand) error {
	n := 1 + r.IntN(len(x.sinks))
	pause := between(r, 0, 1500*time.Millisecond)
	for _, s := range x.running()[:min(n, len(x.running()))] {
		x.end(s)
	}
	sleep(ctx, pause)
	return x.ensure()
}

// at replaces a sink by one that dies at a chosen place.
func at(place string) func(*run, context.Context, *rand.Rand) error {
	return func(x *run, ctx context.Context, r *rand.Rand) error {
		hits := 1 + r.IntN(10)
		if running := x.running(); len(running) > 0 {
			x.end(running[r.IntN(len(running))])
		}
		s, err := x.startSink(x.group, armed(place, hits))
		if err != nil {
			return err
		}
		s.mayDie = true
		select {
		case <-s.Done():
			return x.ensure()
		case <-time.After(3 * time.Second): // too few hits came so far
		case <-ctx.Done():
		}
		return nil
	}
}

func (x *run) terminated(ctx context.Context, r *rand.Rand) error {
	n := 1 + r.IntN(2)
	for _, s := range x.running()[:min(n, len(x.running()))] {
		if err := x.terminate(s); err != nil {
			return err
		}
	}
	return x.ensure()
}

// stopped makes a zombie: it wakes when the group has long given its partitions to
// others. Meanwhile the lane goes on.
func (x *run) stopped(ctx context.Context, r *rand.Rand) error {
	const sessionTimeout = 10 * time.Second
	length := sessionTimeout + between(r, 500*time.Millisecond, 3*time.Second)
	running := x.running()
	if len(running) == 0 {
		return nil
	}
	s := running[r.IntN(len(running))]
	s.zombie = true
	s.Signal(syscall.SIGSTOP)
	x.zombies.Go(func() {
		sleep(ctx, length)
		s.Signal(syscall.SIGCONT)
	})
	return x.ensure()
}

// frozen makes a zombie in the middle of COPY, where the server ends no session by itself,
// and which wakes when all rows are there: who has its partitions now has to end it. Where
// no COPY is met it stops anywhere.
func (x *run) frozen(ctx context.Context, r *rand.Rand) error {
	running := x.running()
	if len(running) == 0 {
		return nil
	}
	s := running[r.IntN(len(running))]
	s.zombie, s.frozen = true, true
	for range 30 {
		s.Signal(syscall.SIGSTOP)
		sleep(ctx, 100*time.Millisecond) // what it sent arrives
		if met, err := x.copies(ctx, s); met || err != nil {
			break // a server that is away has no COPY either
		}
		s.Signal(syscall.SIGCONT)
		sleep(ctx, between(r, 10*time.Millisecond, 100*time.Millisecond))
	}
	s.Signal(syscall.SIGSTOP)
	return x.ensure()
}

// storm joins and leaves the group with members that take partitions and do nothing.
func (x *run) storm(ctx context.Context, r *rand.Rand) error {
	for range 3 + r.IntN(5) {
		client, err := kgo.NewClient(kgo.SeedBrokers(x.s.kafka.Seeds()...), kgo.ConsumerGroup(x.group),
			kgo.ConsumeTopics(x.topic), kgo.DisableAutoCommit(), kgo.SessionTimeout(10*time.Second))
		if err != nil {
			return err
		}
		polling, cancel := context.WithTimeout(ctx, between(r, 100*time.Millisecond, 900*time.Millisecond))
		for polling.Err() == nil {
			client.PollFetches(polling)
		}
		cancel()
		client.Close()
	}
	return nil
}

// otherGroup is an operator's mistake: two groups read the same topic into one database.
func (x *run) otherGroup(ctx context.Context, r *rand.Rand) error {
	s, err := x.startSink(x.group + "-too")
	if err != nil {
		return err
	}
	sleep(ctx, between(r, 2*time.Second, 5*time.Second))
	if r.IntN(2) == 0 {
		x.end(s)
		return nil
	}
	return x.terminate(s)
}

func (x *run) brokerKilled(ctx context.Context, r *rand.Rand) error {
	return x.killBrokers(ctx, r, 1+r.IntN(3))
}

func (x *run) brokersKilled(ctx context.Context, r *rand.Rand) error {
	spared := 1 + r.IntN(3)
	return x.killBrokers(ctx, r, slices.DeleteFunc([]int{1, 2, 3}, func(n int) bool { return n == spared })...)
}

func (x *run) killBrokers(ctx context.Context, r *rand.Rand, numbers ...int) error {
	if err := x.s.kafka.Do(ctx, "kill", numbers...); err != nil {
		return err
	}
	sleep(ctx, between(r, 0, 2*time.Second))
	return x.s.kafka.Do(ctx, "start", numbers...)
}

func (x *run) brokerStopped(ctx context.Context, r *rand.Rand) error {
	release, err := x.s.kafka.Hold(1 + r.IntN(3))
	if err != nil {
		return err
	}
	defer release()
	sleep(ctx, between(r, 500*time.Millisecond, 5*time.Second))
	return nil
}

// partitionsAdded grows the topic; the load uses the new partitions when it knows them.
func (x *run) partitionsAdded(ctx context.Context, r *rand.Rand) error {
	more := 1 + r.IntN(3)
	admin := kadm.NewClient(x.o.client)
	answers, err := admin.CreatePartitions(ctx, more, x.topic)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		return err
	}
	want := int(x.o.partitions.Load()) + more
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		topics, err := admin.ListTopics(ctx, x.topic)
		if err == nil && len(topics[x.topic].Partitions) == want {
			x.o.client.ForceMetadataRefresh()
			sleep(ctx, time.Second) // for the producer's own view
			x.o.partitions.Store(int32(want))
			return nil
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return nil
}

// network changes all networks to PostgreSQL for a while.
func (x *run) network(ctx context.Context, mode parts.Mode, d time.Duration) {
	for _, p := range x.m.pg.Proxies() {
		p.Set(mode)
	}
	sleep(ctx, d)
	for _, p := range x.m.pg.Proxies() {
		p.Set(parts.Pass)
	}
}

func (x *run) resetConnections() {
	for _, p := range x.m.pg.Proxies() {
		p.Reset()
	}
}

func (x *run) reset(ctx context.Context, r *rand.Rand) error {
	for range 2 + r.IntN(4) {
		x.resetConnections()
		sleep(ctx, between(r, 50*time.Millisecond, 1200*time.Millisecond))
	}
	return nil
}

// silent lets the network swallow one direction or both, and then forget the
// connections, or deliver late.
func (x *run) silent(ctx context.Context, r *rand.Rand) error {
	mode := []parts.Mode{parts.NoUp, parts.NoDown, parts.NoDown, parts.Hold}[r.IntN(4)]
	length := between(r, 300*time.Millisecond, 5*time.Second)
	forget := r.IntN(3) > 0
	for _, p := range x.m.pg.Proxies() {
		p.Set(mode)
	}
	sleep(ctx, length)
	if forget {
		x.resetConnections()
	}
	x.network(ctx, parts.Pass, 0)
	return nil
}

func (x *run) refuses(ctx context.Context, r *rand.Rand) error {
	length := between(r, 500*time.Millisecond, 4*time.Second)
	for _, p := range x.m.pg.Proxies() {
		p.Set(parts.Refuse)
	}
	x.resetConnections()
	x.network(ctx, parts.Refuse, length)
	return nil
}
