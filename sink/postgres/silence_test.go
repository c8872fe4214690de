package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/event"
	"footfall/kafka"
	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

// network leads to a server. While it is silent it takes connections and bytes, and
// passes nothing on; what it swallowed does not come later.
type network struct {
	silent atomic.Bool
	mu     sync.Mutex
	conns  []net.Conn
}

// newNetwork returns the URL of a fresh database by way of the network, and without it.
func newNetwork(t *testing.T) (n *network, through, direct string) {
	t.Helper()
	direct = pgtest.New(t)
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	n = &network{}
	server := u.Host
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			go n.carry(client, server)
		}
	}()
	u.Host = ln.Addr().String()
	return n, u.String(), direct
}

func (n *network) carry(client net.Conn, server string) {
	defer client.Close()
	n.mu.Lock()
	n.conns = append(n.conns, client)
	n.mu.Unlock()
	to, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		defer client.Close()
		n.pass(client, to)
	}()
	n.pass(to, client)
}

func (n *network) pass(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		size, err := from.Read(buf)
		if err != nil {
			return
		}
		if n.silent.Load() {
			io.Copy(io.Discard, from) // a stream that lacks bytes is of no use any more
			return
		}
		if _, err := to.Write(buf[:size]); err != nil {
			return
		}
	}
}

// cut ends every connection, so that nobody waits for a polite end.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.Close()
	}
}

// hasty is a store that waits only as long as a test does.
func hasty(t *testing.T, n *network, url string) *Store {
	t.Helper()
	s := openAt(t, url)
	t.Cleanup(n.cut)
	s.limits.ask, s.limits.task = 300*time.Millisecond, time.Second
	s.limits.tables, s.limits.rollback = 300*time.Millisecond, 300*time.Millisecond
	return s
}

// ends fails when a call is still there after half a minute.
func ends(t *testing.T, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: still there", what)
		return nil
	}
}

// mend lets the network pass everything again, and waits until the store has noticed.
func mend(t *testing.T, n *network, s *Store) {
	t.Helper()
	n.silent.Store(false)
	n.cut()
	for began := time.Now(); s.Ping(t.Context()) != nil; {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the database is not reached any more")
		}
	}
}

func TestNoCallWaitsForASilentNetworkForEver(t *testing.T) {
	t.Parallel()
	n, through, _ := newNetwork(t)
	s := hasty(t, n, through)
	own(t, s, 0)
	write(t, s, part(0, 0, []byte("no json")))
	id, p := event.NewUUID(time.Now()), Position{Cluster: "c1", Topic: topic, TopicID: topicID, Next: 1}
	calls := map[string]func(context.Context) error{
		"positions": func(ctx context.Context) error {
			_, err := s.Positions(ctx, "c1", topic, topicID, map[int32]int64{0: 0})
			if _, ok := errors.AsType[*Fault](err); !ok {
				t.Errorf("positions gave %v, which is no Fault", err)
			}
			return err
		},
		"write": func(ctx context.Context) error { return s.Write(ctx, batch(part(0, 1, encoded(at(today()))...))) },
		"check": func(ctx context.Context) error { _, err := s.Check(ctx); return err },
		"ping":  s.Ping,
		"tidy":  func(ctx context.Context) error { s.tidy(ctx, time.Now()); return s.Warning() },
		"stalled": func(ctx context.Context) error {
			s.endStalled(ctx, "c1", topicID, []int32{0})
			return errors.New("logged")
		},
		"recent":       func(ctx context.Context) error { _, _, err := s.Recent(ctx, "", 10); return err },
		"find":         func(ctx context.Context) error { _, _, err := s.Find(ctx, id, today()); return err },
		"next":         func(ctx context.Context) error { _, err := s.Next(ctx); return err },
		"spool":        func(ctx context.Context) error { _, _, err := s.SpoolPosition(ctx, id); return err },
		"set spool":    func(ctx context.Context) error { return s.SetSpoolPosition(ctx, id, 7) },
		"pending":      func(ctx context.Context) error { _, _, err := s.Pending(ctx); return err },
		"positions ls": func(ctx context.Context) error { _, err := s.AllPositions(ctx); return err },
		"stood":        func(ctx context.Context) error { _, err := s.Stood(ctx, "c1", topicID); return err },
		"skip":         func(ctx context.Context) error { return s.Skip(ctx, p, 5) },
		"dead show":    func(ctx context.Context) error { _, err := s.DeadLetter(ctx, 1); return err },
		"dead replay":  func(ctx context.Context) error { _, err := s.ReplayDead(ctx, 1); return err },
		"dead drop":    func(ctx context.Context) error { return s.DropDead(ctx, 1) },
		"replay": func(ctx context.Context) error {
			_, err := s.CreateReplay(ctx, "public.again", &consume.Selection{})
			return err
		},
	}
	for what, call := range calls {
		mend(t, n, s) // so that the call finds a connection
		n.silent.Store(true)
		if err := ends(t, what, func() error { return call(t.Context()) }); err == nil {
			t.Errorf("%s got an answer out of a silent network", what)
		}
	}
	mend(t, n, s)
	if next := own(t, s, 0); next[0] != 1 {
		t.Errorf("positions are %v once the network is back", next)
	}
}

// falters is a place whose network goes silent when its transaction has begun.
type falters struct {
	*Store
	n *network
}

func (f falters) claim(context.Context, pgx.Tx, *work) error {
	f.n.silent.Store(true)
	return consume.ErrMoved
}

func TestARollbackIntoASilentNetworkCostsItsConnection(t *testing.T) {
	t.Parallel()
	n, through, _ := newNetwork(t)
	s := hasty(t, n, through)
	own(t, s, 0)
	w := s.prepare(batch(part(0, 0, encoded(at(today()))...)))
	w.place = falters{s, n}
	err := ends(t, "rollback", func() error { return s.attempt(t.Context(), w) })
	if !errors.Is(err, consume.ErrMoved) {
		t.Errorf("attempt: %v", err)
	}
	mend(t, n, s)
	write(t, s, part(0, 0, encoded(at(today()))...))
	for began := time.Now(); s.pool.Stat().AcquiredConns() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("the pool keeps the connection that does not answer")
		}
	}
}

// journey is a consumer that stores from a Kafka by way of a network.
type journey struct {
	t        *testing.T
	n        *network
	store    *Store
	direct   string
	broker   *kfake.Cluster
	inMemory *kfake.VirtualNetwork
	sent     int
}

func newJourney(t *testing.T) *journey {
	t.Helper()
	j := &journey{t: t, inMemory: &kfake.VirtualNetwork{}}
	var through string
	j.n, through, j.direct = newNetwork(t)
	j.store = hasty(t, j.n, through)
	var err error
	j.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(j.inMemory.Listen),
		kfake.SeedTopics(1, consume.Topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.broker.Close)
	return j
}

func (j *journey) options() consume.Options {
	return consume.Options{Kafka: kafka.Cluster{Brokers: j.broker.ListenAddrs(), Dial: j.inMemory.DialContext}}
}

func (j *journey) start(store consume.Store) *consume.Consumer {
	c := consume.New(j.options(), store)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	j.t.Cleanup(func() {
		cancel()
		if err := ends(j.t, "the consumer", func() error { return <-done }); err != nil {
			j.t.Error(err)
		}
	})
	return c
}

func (j *journey) produce(n int) {
	j.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(j.broker.ListenAddrs()...),
		kgo.Dialer(j.inMemory.DialContext), kgo.DefaultProduceTopic(consume.Topic))
	if err != nil {
		j.t.Fatal(err)
	}
	defer client.Close()
	var records []*kgo.Record
	for _, e := range events(n, today()) {
		records = append(records, &kgo.Record{Value: e.AppendJSON(nil)})
	}
	if err := client.ProduceSync(j.t.Context(), records...).FirstErr(); err != nil {
		j.t.Fatal(err)
	}
	j.sent += n
}

// awaits waits up to a minute until Ready says a text; "" is nothing.
func (j *journey) awaits(c *consume.Consumer, text string) {
	j.t.Helper()
	said := func() bool {
		err := c.Ready()
		return err == nil && text == "" || err != nil && text != "" && strings.Contains(err.Error(), text)
	}
	for began := time.Now(); !said(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			j.t.Fatalf("health says %v, want %q", c.Ready(), text)
		}
	}
}

// arrives waits until as many rows are there as records were sent, each once.
func (j *journey) arrives() {
	j.t.Helper()
	sent := int64(j.sent)
	for began := time.Now(); counted(j.t, j.direct).rows < sent; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			j.t.Fatalf("database holds %+v, want %d rows", counted(j.t, j.direct), sent)
		}
	}
	wantCounts(j.t, j.direct, counts{rows: sent, in: sent, inserted: sent})
}

func TestASilentNetworkBeforePartitionsAreOurs(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.produce(20)
	j.n.silent.Store(true)
	c := j.start(j.store)
	j.awaits(c, "store tells no positions")
	j.n.silent.Store(false)
	j.awaits(c, "")
	j.arrives()
}

func TestASilentNetworkUnderAnIdleSink(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	j.produce(20)
	c := j.start(j.store)
	j.arrives()
	j.awaits(c, "")
	j.n.silent.Store(true)
	j.awaits(c, "positions are not looked at")
	j.produce(10)
	j.awaits(c, "store takes no batch")
	j.n.silent.Store(false)
	j.awaits(c, "")
	j.arrives()
}

// fenced is a store whose first write finds that the position moved, just before the
// network goes silent.
type fenced struct {
	*Store
	n     *network
	first atomic.Bool
}

func (f *fenced) Prepare(b consume.Batch) func(context.Context) error {
	write := f.Store.Prepare(b)
	return func(ctx context.Context) error {
		if f.first.CompareAndSwap(false, true) {
			f.n.silent.Store(true)
			return consume.ErrMoved
		}
		return write(ctx)
	}
}

func TestASilentNetworkWhilePositionsAreReadAgain(t *testing.T) {
	t.Parallel()
	j := newJourney(t)
	c := j.start(&fenced{Store: j.store, n: j.n})
	j.awaits(c, "")
	j.produce(20)
	j.awaits(c, "store tells no positions")
	j.n.silent.Store(false)
	j.awaits(c, "")
	j.arrives()
}
