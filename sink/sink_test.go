package sink

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/event"
	"footfall/kafka"
	"footfall/sink/consume"
	"footfall/sink/postgres/pgtest"
)

type pipe struct {
	t       *testing.T
	network *kfake.VirtualNetwork
	broker  *kfake.Cluster
	url     string
}

func newPipe(t *testing.T) *pipe {
	t.Helper()
	p := &pipe{t: t, network: &kfake.VirtualNetwork{}, url: pgtest.New(t)}
	var err error
	p.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(p.network.Listen),
		kfake.ClusterID("c1"), kfake.SeedTopics(4, consume.Topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.broker.Close)
	return p
}

// start runs a sink until stop is called or the test ends.
func (p *pipe) start(o Options) (s *Sink, stop func()) {
	p.t.Helper()
	o.Kafka = kafka.Cluster{Brokers: p.broker.ListenAddrs(), Dial: p.network.DialContext}
	if o.DatabaseURL == "" {
		o.DatabaseURL = p.url
	}
	s = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				p.t.Error(err)
			}
		case <-time.After(15 * time.Second):
			p.t.Error("the sink does not stop")
		}
	})
	p.t.Cleanup(stop)
	return s, stop
}

// produce sends n records of which every fiftieth repeats an earlier one, and
// returns how many different events there are among them.
func (p *pipe) produce(n int) (unique int) {
	p.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(p.broker.ListenAddrs()...),
		kgo.Dialer(p.network.DialContext), kgo.DefaultProduceTopic(consume.Topic))
	if err != nil {
		p.t.Fatal(err)
	}
	defer client.Close()
	var sent []*event.Event
	var records []*kgo.Record
	for i := range n {
		e := newEvent(i)
		if i%50 == 49 {
			e = sent[i*7%len(sent)]
		} else {
			sent = append(sent, e)
		}
		records = append(records, &kgo.Record{Key: []byte(e.Key()), Value: e.AppendJSON(nil)})
	}
	if err := client.ProduceSync(p.t.Context(), records...).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
	return len(sent)
}

func newEvent(i int) *event.Event {
	id := event.NewUUID(time.Now().Add(-time.Duration(i) * time.Minute))
	return &event.Event{
		EventID: id, Schema: event.Some(event.Schema), Site: "shop", Type: event.Pageview,
		OccurredAt: id.Time(), ReceivedAt: id.Time(), Clock: event.ClockClient,
		Transport: event.TransportBeacon, VisitorID: fmt.Sprint("v", i%100),
		URL: fmt.Sprint("https://shop.example/", i),
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// ledgerSum is text, so that one comparison says all.
const ledgerSum = `select format('in %s rows %s duplicates %s dead %s table %s gaps %s',
	sum(n_in), sum(n_inserted), sum(n_duplicate), sum(n_dead),
	(select count(*) from footfall.events),
	(select count(*) from (select from_offset, lag(to_offset, 1, 0::bigint) over (partition by
		cluster_id, topic_id, partition order by from_offset) as before from footfall.ledger) x
		where from_offset <> before)) from footfall.ledger`

func (p *pipe) wantLedger(records, unique int) {
	p.t.Helper()
	want := fmt.Sprintf("in %d rows %d duplicates %d dead 0 table %d gaps 0",
		records, unique, records-unique, unique)
	eventually(p.t, fmt.Sprint(records, " records"), func() bool {
		return pgtest.Get[int](p.t, p.url,
			"select coalesce(sum(n_in), 0) from footfall.ledger") >= records
	})
	if got := pgtest.Get[string](p.t, p.url, ledgerSum); got != want {
		p.t.Errorf("ledger says %q, want %q", got, want)
	}
}

func TestEveryRecordIsOneRowAndTheLedgerAddsUp(t *testing.T) {
	t.Parallel()
	p := newPipe(t)
	s, _ := p.start(Options{BatchRows: 400})
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	unique := p.produce(5000)
	p.wantLedger(5000, unique)
}

func TestNothingIsLostOrDoubledWhileConnectionsAreShot(t *testing.T) {
	t.Parallel()
	p := newPipe(t)
	first, stopFirst := p.start(Options{BatchRows: 50})
	eventually(t, "ready", func() bool { return first.Ready() == nil })
	shooting, stopShooting := context.WithCancel(t.Context())
	var shots sync.WaitGroup
	shots.Go(func() {
		for shooting.Err() == nil {
			pgtest.Exec(t, p.url, `select pg_terminate_backend(pid) from pg_stat_activity
				where datname = current_database() and pid <> pg_backend_pid()`)
			time.Sleep(30 * time.Millisecond)
		}
	})
	unique := p.produce(3000)
	p.start(Options{BatchRows: 70})
	time.Sleep(time.Second)
	stopFirst()
	stopShooting()
	shots.Wait()
	p.wantLedger(3000, unique)
}

func TestSinkStartsBeforeItsDatabase(t *testing.T) {
	t.Parallel()
	p := newPipe(t)
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	late := strings.TrimPrefix(u.Path, "/") + "_late"
	u.Path = "/postgres"
	server := u.String()
	t.Cleanup(func() { pgtest.Exec(t, server, "drop database if exists "+late+" with (force)") })
	u.Path = "/" + late
	p.url = u.String()
	s, _ := p.start(Options{})
	if s.Store() != nil {
		t.Error("there is a store already")
	}
	eventually(t, "postgres is named", func() bool {
		err := s.Ready()
		return err != nil && strings.Contains(err.Error(), "does not exist")
	})
	unique := p.produce(100)
	pgtest.Exec(t, server, "create database "+late)
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	p.wantLedger(100, unique)
	if _, err := s.Store().Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSinkNamesKafkaWhenItIsAway(t *testing.T) {
	t.Parallel()
	p := newPipe(t)
	s, _ := p.start(Options{})
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	p.broker.Close()
	eventually(t, "kafka is named", func() bool {
		err := s.Ready()
		return err != nil && strings.Contains(err.Error(), "kafka is away")
	})
}

// rowsOf says in one text what a table holds, without when it came there.
func rowsOf(table string) string {
	names := make([]string, len(event.Fields))
	for i := range event.Fields {
		names[i] = event.Fields[i].Name
	}
	return fmt.Sprintf("select count(*) || ' ' || coalesce(md5(string_agg(md5(row(%s)::text), '' order by event_id)), '') from %s",
		strings.Join(names, ", "), table)
}

func TestTheSameEventsEndAsTheSameRowsInAReplay(t *testing.T) {
	t.Parallel()
	p := newPipe(t)
	s, stop := p.start(Options{BatchRows: 400})
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	unique := p.produce(3000)
	p.wantLedger(3000, unique)
	before := pgtest.Get[string](t, p.url, ledgerSum)
	replay := func(into string, from, to consume.Bound) Replayed {
		t.Helper()
		done, err := Replay(t.Context(), ReplayOptions{Kafka: s.o.Kafka, DatabaseURL: p.url, BatchRows: 170,
			From: from, To: to, Into: into})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}

	done := replay("again", consume.Bound{}, consume.Bound{}) // beside the sink
	live := pgtest.Get[string](t, p.url, rowsOf("footfall.events"))
	if got := pgtest.Get[string](t, p.url, rowsOf("again")); got != live {
		t.Errorf("the replay has %s, the sink %s", got, live)
	}
	if done.Inserted != uint64(unique) || done.Duplicate != uint64(3000-unique) || done.Dead != 0 {
		t.Errorf("counts are %+v of %d records with %d events", done.ReplayCounts, 3000, unique)
	}
	stop()

	// In two parts: what is in both is in neither twice.
	middle := map[int32]int64{}
	for _, r := range done.Ranges {
		middle[r.Partition] = (r.From + r.To) / 2
	}
	first := replay("first", consume.Bound{}, consume.Bound{Offsets: middle})
	second := replay("second", consume.Bound{Offsets: middle}, consume.Bound{Time: time.Now()})
	if n := first.Inserted + first.Duplicate + second.Inserted + second.Duplicate; n != 3000 {
		t.Errorf("the parts have %d records of 3000", n)
	}
	pgtest.Exec(t, p.url, "insert into first select * from second on conflict do nothing")
	if got := pgtest.Get[string](t, p.url, rowsOf("first")); got != live {
		t.Errorf("the parts have %s together, the sink %s", got, live)
	}
	if after := pgtest.Get[string](t, p.url, ledgerSum); after != before {
		t.Errorf("the ledger says %q, before the replays %q", after, before)
	}
}

func TestAReplayThatEndsEarlySaysWhatToDrop(t *testing.T) {
	t.Parallel()
	p := newPipe(t)
	s, stop := p.start(Options{})
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	stop()
	p.produce(2000)
	pgtest.Exec(t, p.url, `create function sabotage() returns event_trigger language plpgsql as $$ begin
		if current_query() like 'create table "again_dead%' then
			execute 'create function stop() returns trigger language plpgsql as $f$ begin
				perform pg_terminate_backend(pg_backend_pid()); return new; end $f$';
			execute 'create trigger stop before insert on again for each row execute function stop()';
		end if; end $$`)
	pgtest.Exec(t, p.url, "create event trigger sabotage on ddl_command_end when tag in ('CREATE TABLE') execute function sabotage()")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	o := ReplayOptions{Kafka: s.o.Kafka, DatabaseURL: p.url, Into: "again"}
	_, err := Replay(ctx, o)
	if err == nil || !strings.Contains(err.Error(), "before another try drop table again, again_dead_letters") {
		t.Errorf("ended with %v", err)
	}
	if _, err = Replay(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("another try ended with %v", err)
	}
}
