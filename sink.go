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

// sinkCmd is the sink as a process of its own, between a real Kafka and PostgreSQL.
type sinkCmd struct {
	kafkaFlags
	databaseFlags
	sinkFlags
	adminFlags
}

var (
	errNoBrokers  = errors.New("no brokers: give --brokers host:port, or use footfall up")
	errNoDatabase = errors.New("no database: give --database-url, or use footfall up")
)

// Validate says what is missing; kong calls it.
func (c *sinkCmd) Validate() error {
	err := c.checkKafka()
	if c.DatabaseURL == "" {
		err = errors.Join(err, errNoDatabase)
	}
	return err
}

// Run copies events until ctx ends.
func (c *sinkCmd) Run(ctx context.Context, p *program) error {
	set := metrics.NewSet()
	cluster, err := c.cluster()
	if err != nil {
		return err
	}
	s := sink.New(c.options(p, set, cluster, c.Topic, string(c.DatabaseURL)))
	ln, err := listen("admin-listen", c.AdminListen)
	if err != nil {
		return err
	}
	p.log.Info("sink starts", "version", version(), "admin", ln.Addr().String(),
		"brokers", c.Brokers, "topic", c.Topic, "group", c.Group)
	a := &admin{set: set, log: p.log, health: []health{sinkHealth(s)}}
	return together(ctx, s.Run,
		func(ctx context.Context) error { return serve(ctx, ln, a.handler()) })
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
func sinkHealth(s *sink.Sink) health {
	return health{"sink", func(context.Context) (refused, degraded error) {
		return s.Ready(), s.Warning()
	}}
}
