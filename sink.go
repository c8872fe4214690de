package main

import (
	"context"
	"errors"
	"time"

	"footfall/kafka"
	"footfall/sink"
	"footfall/sink/postgres"

	"github.com/VictoriaMetrics/metrics"
)

// sinkCmd is the sink as a process of its own, between a real Kafka and PostgreSQL,
// MongoDB or both.
type sinkCmd struct {
	kafkaFlags
	databaseFlags
	mongoFlags
	sinkFlags
	adminFlags
	replayFlags
}

var (
	errNoBrokers  = errors.New("no brokers: give --brokers host:port, or use footfall up")
	errNoDatabase = errors.New("no database: give --database-url or --mongo-url, or use footfall up")
)

// Validate says what is missing; kong calls it.
func (c *sinkCmd) Validate() error {
	err := c.checkKafka()
	if c.DatabaseURL == "" && c.MongoURL == "" {
		err = errors.Join(err, errNoDatabase)
	}
	return errors.Join(err, c.checkReplay(c.DatabaseURL))
}

// Run copies events until ctx ends, or replays.
func (c *sinkCmd) Run(ctx context.Context, p *program) error {
	cluster, err := c.cluster()
	if err != nil {
		return err
	}
	if c.Into != "" {
		return c.replay(ctx, p, cluster)
	}
	ln, err := listen("admin-listen", c.AdminListen)
	if err != nil {
		return err
	}
	p.log.Info("sink starts", "version", version(), "admin", ln.Addr().String(),
		"brokers", c.Brokers, "topic", c.Topic, "group", c.Group,
		"postgres", c.DatabaseURL != "", "mongo", c.MongoURL != "")
	a := &admin{set: metrics.NewSet(), log: p.log}
	var parts []func(context.Context) error
	if c.DatabaseURL != "" {
		s := sink.New(c.options(p, a.set, cluster, c.Topic, string(c.DatabaseURL)))
		a.health, parts = append(a.health, sinkHealth("sink", s)), append(parts, s.Run)
	}
	if c.MongoURL != "" {
		a.mongo = metrics.NewSet()
		o := c.options(p, a.mongo, cluster, c.Topic, "")
		o.Group, o.MongoURL = o.Group+"-mongo", string(c.MongoURL)
		o.Logger = p.log.With("store", "mongo")
		s := sink.NewMongo(o)
		h := sinkHealth("mongo", s)
		if c.DatabaseURL != "" {
			h = waiting(h) // the process goes on with PostgreSQL
		}
		a.health, parts = append(a.health, h), append(parts, s.Run)
	}
	return a.beside(ctx, ln, parts...)
}

func (c *sinkFlags) options(p *program, set *metrics.Set, cluster kafka.Cluster, topic, databaseURL string) sink.Options {
	return sink.Options{Kafka: cluster, Topic: topic, Group: c.Group,
		BatchRows: int(c.BatchRows), DatabaseURL: databaseURL, Retention: c.retention(p), Logger: p.log, Metrics: set}
}

// retention reads the sites' part of it from footfall.yaml each time, so that a change
// there needs no restart.
func (c *sinkFlags) retention(p *program) func() (postgres.Retention, error) {
	return func() (postgres.Retention, error) {
		r := postgres.Retention{All: time.Duration(c.Retention), Sites: map[string]time.Duration{}}
		rules, err := readRules(p.settings)
		if rules == nil || err != nil {
			return r, err
		}
		for _, name := range rules.Names() {
			r.Sites[name] = rules.Get(name).Retention
		}
		return r, nil
	}
}

// sinkHealth is unavailable while records cannot be stored: that is all a sink does.
func sinkHealth(name string, s *sink.Sink) health {
	return health{name, func(context.Context) (refused, degraded error) {
		return s.Ready(), s.Warning()
	}}
}
