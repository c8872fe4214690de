package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"footfall/collector"
	"footfall/collector/forward"
	"footfall/collector/spool"
	"footfall/event"
	"footfall/kafka"
	"footfall/local"
	"footfall/sink"
	"footfall/sink/consume"
	"footfall/sink/postgres"
	"footfall/site"
	"footfall/snippet"

	"github.com/VictoriaMetrics/metrics"
)

// upCmd runs the whole path in one process. Without brokers it uses the one in
// process, without a database a private PostgreSQL below its directory.
type upCmd struct {
	dataFlags
	kafkaFlags
	databaseFlags
	collectorFlags
	sinkFlags
	siteFlags
	adminFlags
	KafkaListen address `help:"Open the in-process broker on this loopback address, for kcat and the like. It has no protection." placeholder:"HOST:PORT"`
}

// upFile is DIR/up.json, by which the other commands find a running up.
type upFile struct {
	PID         int      `json:"pid"`
	Collector   string   `json:"collector"`
	Site        string   `json:"site"`
	Sites       []string `json:"sites"` // names whose events are taken
	Admin       string   `json:"admin"`
	DatabaseURL string   `json:"database_url"`
	Brokers     []string `json:"brokers"`
}

// up is a running up. Parts are in the order in which they are started; they are
// stopped in the reverse one.
type up struct {
	cmd *upCmd
	p   *program
	set *metrics.Set

	collectorLn, siteLn, adminLn net.Listener
	collector                    *collector.Collector
	postgres                     *local.Postgres // nil with a database of one's own
	databaseURL                  string
	store                        *postgres.Store
	broker                       *local.Broker // nil with brokers of one's own
	sink                         *sink.Sink
}

// Run starts everything, says where it is, and stops everything when ctx ends or a
// part does.
func (c *upCmd) Run(ctx context.Context, p *program) (err error) {
	u := &up{cmd: c, p: p, set: metrics.NewSet()}
	defer func() { err = errors.Join(err, u.free()) }()
	if err := u.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while starting
		}
		return err
	}
	return u.serve(ctx)
}

func (u *up) start(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		u.openBroker, u.openSpool, u.listen, u.openDatabase, u.makeSink,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (u *up) listen(context.Context) (err error) {
	if u.collectorLn, err = listen("listen", u.cmd.Listen); err != nil {
		return err
	}
	if u.siteLn, err = listen("site-listen", u.cmd.SiteListen); err != nil {
		return err
	}
	u.adminLn, err = listen("admin-listen", u.cmd.AdminListen)
	return err
}

func (u *up) openBroker(context.Context) (err error) {
	if len(u.cmd.Brokers) > 0 {
		return nil
	}
	u.broker, err = local.StartBroker(local.BrokerOptions{Topic: u.cmd.Topic,
		Partitions: int32(u.cmd.Partitions), Listen: string(u.cmd.KafkaListen),
		Logger: u.p.log.With("room", "local")})
	if err != nil {
		return fmt.Errorf("start broker: %w", err)
	}
	return nil
}

// kafka is how the broker in process is reached, or the cluster of the settings.
func (u *up) kafka() (kafka.Cluster, error) {
	if u.broker != nil {
		return kafka.Cluster{Brokers: u.broker.Addrs(), Dial: u.broker.Dial}, nil
	}
	return u.cmd.cluster()
}

// openSpool comes before the ports and the database: its lock is what tells that
// another up has the directory.
func (u *up) openSpool(context.Context) error {
	// Searchable, because the private PostgreSQL of root runs as another user below
	// it. What must not be read there is 0600 or 0700 itself.
	if err := spool.MakeDir(u.cmd.Data, 0o711); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	o, err := u.cmd.collectorFlags.options(u.p, u.set)
	if err != nil {
		return err
	}
	o.Durability, o.SpoolDir = collector.DurabilitySpool, filepath.Join(u.cmd.Data, "spool")
	o.Topic, o.Partitions = u.cmd.Topic, int32(u.cmd.Partitions)
	if o.Kafka, err = u.kafka(); err != nil {
		return err
	}
	if u.broker != nil {
		o.Confirm = true
		o.Watermark = func(id event.UUID) forward.Watermark { return &storeWatermark{u, id} }
	}
	u.collector, err = collector.New(o)
	if locked, ok := errors.AsType[*spool.LockedError](err); ok {
		return fmt.Errorf("footfall up runs already on %s, as process %d: stop it, "+
			"or choose another directory with --data", u.cmd.Data, locked.PID)
	}
	if err != nil {
		return err
	}
	// One that a kill -9 left names addresses where nobody listens.
	if err := os.Remove(u.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old up.json: %w", err)
	}
	return nil
}

func (u *up) file() string { return filepath.Join(u.cmd.Data, "up.json") }

// storeWatermark keeps the spool's position in the database that the events are in,
// so that a database put back to an older state gets the events since again.
type storeWatermark struct {
	u  *up
	id event.UUID
}

func (w *storeWatermark) Load(ctx context.Context) (uint64, error) {
	next, ok, err := w.u.store.SpoolPosition(ctx, w.id)
	if !ok {
		next = 1
	}
	return uint64(next), err
}

func (w *storeWatermark) Store(ctx context.Context, next uint64) error {
	return w.u.store.SetSpoolPosition(ctx, w.id, int64(next))
}

func (u *up) openDatabase(ctx context.Context) (err error) {
	u.databaseURL = string(u.cmd.DatabaseURL)
	if u.databaseURL == "" {
		u.postgres, err = local.StartPostgres(ctx, local.PostgresOptions{
			Dir: u.cmd.Data, Logger: u.p.log.With("room", "local"), Progress: u.p.errs})
		if err != nil {
			return fmt.Errorf("start PostgreSQL: %w", err)
		}
		u.databaseURL = u.postgres.URL()
	}
	u.store, err = postgres.Open(ctx, postgres.Options{DatabaseURL: u.databaseURL,
		Logger: u.p.log.With("room", "postgres"), Metrics: metrics.NewSet()})
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return nil
}

func (u *up) makeSink(context.Context) error {
	cluster, err := u.kafka()
	if err != nil {
		return err
	}
	o := u.cmd.sinkFlags.options(u.p, u.set, cluster, u.cmd.Topic, u.databaseURL)
	if u.broker != nil {
		o.Committed = u.committed
	}
	u.sink = sink.New(o)
	return nil
}

// committed tells the collector what may leave the spool, and frees the broker's
// memory of it.
func (u *up) committed(topicID [16]byte, next map[int32]int64) {
	u.collector.Confirm(topicID, next)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := u.broker.Trim(ctx, next); err != nil {
		u.p.log.Warn("broker not trimmed", "err", err)
	}
}

// serve runs the parts. They end in the order in which events pass them, so that
// each hands on what it has.
func (u *up) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	later, stopSink := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSink()
	last, stopAdmin := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAdmin()

	pages := site.New(site.Options{Collector: u.url(u.collectorLn), Site: u.cmd.Sites[0],
		Recent: recent(u.store), Logger: u.p.log.With("room", "site"), Metrics: u.set})
	var people, sinking, keeping, watching sync.WaitGroup
	ended := make(chan error, 6)
	people.Go(func() { ended <- u.collector.Run(ctx, u.collectorLn) })
	people.Go(func() { ended <- pages.Run(ctx) })
	people.Go(func() { ended <- serve(ctx, u.siteLn, pages) })
	watching.Go(func() { ended <- serve(last, u.adminLn, u.admin().handler()) })
	sinking.Go(func() { ended <- u.sink.Run(later) })
	if u.postgres != nil {
		keeping.Go(func() { ended <- u.keepDatabase(ctx) })
	}

	if err := u.tell(); err != nil {
		ended <- err
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	os.Remove(u.file())
	cancel()
	people.Wait()
	stopSink()
	sinking.Wait()
	keeping.Wait()
	stopAdmin()
	watching.Wait()
	for len(ended) > 0 {
		err = errors.Join(err, <-ended)
	}
	return err
}

// databaseAway is how long the private PostgreSQL may refuse to start again before up
// gives up.
const databaseAway = 5 * time.Minute

// keepDatabase starts the private PostgreSQL again when it ends by itself, killed for
// want of memory, say. Meanwhile events wait in the spool.
func (u *up) keepDatabase(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-u.postgres.Done():
			u.p.log.Error("the private PostgreSQL ended: starting it again", "err", err)
		}
		if err := u.restartDatabase(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

func (u *up) restartDatabase(ctx context.Context) error {
	began := time.Now()
	u.postgres.Close(ctx) // gives its directory back
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		p, err := local.StartPostgres(ctx, local.PostgresOptions{Dir: u.cmd.Data,
			Logger: u.p.log.With("room", "local"), Progress: u.p.errs})
		if err == nil && p.URL() != u.databaseURL {
			err = errors.Join(errors.New("its port was taken meanwhile"), p.Close(ctx))
		}
		if err == nil {
			u.postgres = p
			return nil
		}
		if ctx.Err() != nil || time.Since(began) > databaseAway {
			return fmt.Errorf("start PostgreSQL again: %w; see postgres.log in %s", err, u.cmd.Data)
		}
		u.p.log.Error("the private PostgreSQL does not start", "err", err)
		wait(ctx, pause)
	}
}

// free gives back what start took, as far as it came.
func (u *up) free() error {
	var errs []error
	for _, ln := range []net.Listener{u.collectorLn, u.siteLn, u.adminLn} {
		if ln != nil {
			ln.Close() // twice for those that were served, which is harmless
		}
	}
	if u.broker != nil {
		u.broker.Close()
	}
	if u.store != nil {
		u.store.Close()
	}
	if u.postgres != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		errs = append(errs, u.postgres.Close(ctx))
	}
	if u.collector != nil {
		errs = append(errs, u.collector.Close())
	}
	return errors.Join(errs...)
}

// tell writes up.json and says to a person what to do next.
func (u *up) tell() error {
	file := upFile{PID: os.Getpid(), Collector: u.url(u.collectorLn), Site: u.url(u.siteLn),
		Sites: u.cmd.Sites, Admin: u.url(u.adminLn), DatabaseURL: u.databaseURL, Brokers: u.cmd.Brokers}
	if file.Brokers == nil {
		file.Brokers = []string{}
	}
	b, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return fmt.Errorf("write up.json: %w", err)
	}
	path := u.file()
	tmp := path + ".tmp"
	if err := errors.Join(os.WriteFile(tmp, append(b, '\n'), 0o600), os.Rename(tmp, path)); err != nil {
		return fmt.Errorf("write up.json: %w", err)
	}
	fmt.Fprintf(u.p.out, `
Demo shop  %s/
Your tag   <script defer src="%s/%s.js" data-site="%s"></script>
Live view  %s/live
Stop       Ctrl-C; every event is found again at the next start

Look inside: psql '%s' -c 'select * from footfall.events'
`, file.Site, file.Collector, snippet.Names(u.cmd.Names).OrDefault().Script, u.cmd.Sites[0], file.Site, u.databaseURL)
	return nil
}

func (u *up) url(ln net.Listener) string { return "http://" + ln.Addr().String() }

func (u *up) admin() *admin {
	a := &admin{set: u.set, log: u.p.log, refusals: u.collector.Refusals, health: []health{
		collectorHealth(u.collector), waiting(sinkHealth("sink", u.sink)),
	}}
	if u.broker != nil {
		a.tail = tailOf(consume.Options{Kafka: kafka.Cluster{Brokers: u.broker.Addrs(), Dial: u.broker.Dial},
			Topic: u.cmd.Topic, Logger: u.p.log})
	}
	return a
}
