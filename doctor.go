package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"footfall/event"
	"footfall/sink/consume"
	"footfall/sink/postgres"

	"github.com/VictoriaMetrics/metrics"
)

// doctorCmd asks each part whether it is well, then sends one event and follows it.
type doctorCmd struct {
	dataFlags
	kafkaFlags
	databaseFlags
	Collector baseURL  `help:"The collector; that of the running footfall up when left out." placeholder:"URL"`
	Site      string   `help:"Site that the canary event is of; by default the first of the running up, else demo." placeholder:"SITE"`
	Admin     baseURL  `help:"Admin listener to ask." placeholder:"URL"`
	Ready     bool     `help:"Only ask the admin listener whether the process is ready."`
	Within    duration `help:"How long the canary may take." default:"15s"`
	Proxy     baseURL  `help:"Only ask the collector through this proxy which address it believes to be ours, and try to deceive it." placeholder:"URL"`
}

// doctor runs checks and prints a line of each.
type doctor struct {
	out  io.Writer
	sick bool
}

// check runs one check. What it returns is printed; an error is a problem found.
func (d *doctor) check(name string, f func() (string, error)) bool {
	began := time.Now()
	said, err := f()
	took := float64(time.Since(began).Microseconds()) / 1000
	if err != nil {
		d.sick = true
		fmt.Fprintf(d.out, "BAD  %-10s %8.1f ms  %v\n", name, took, err)
		return false
	}
	fmt.Fprintf(d.out, "ok   %-10s %8.1f ms  %s\n", name, took, said)
	return true
}

// Run prints a verdict a line. It is a problem when one is bad.
func (c *doctorCmd) Run(ctx context.Context, p *program) error {
	up, ok, err := c.running()
	if err != nil {
		return err
	}
	if ok {
		c.fill(up)
	}
	c.Site = cmp.Or(c.Site, "demo")
	d := &doctor{out: p.out}
	if c.Ready {
		d.check("ready", func() (string, error) { return c.ready(ctx) })
		return d.verdict()
	}
	if c.Proxy != "" {
		d.check("proxy", func() (string, error) { return c.proxy(ctx, p) })
		return d.verdict()
	}
	if c.Collector == "" && len(c.Brokers) == 0 && c.DatabaseURL == "" && c.Admin == "" {
		return fmt.Errorf("nothing to examine: no footfall up runs on %s, and none of "+
			"--collector, --brokers, --database-url is given", c.Data)
	}
	if c.Admin != "" {
		d.check("ready", func() (string, error) { return c.ready(ctx) })
	}
	if len(c.Brokers) > 0 {
		d.check("kafka", func() (string, error) { return c.kafka(ctx, p) })
	}
	var store *postgres.Store
	if c.DatabaseURL != "" {
		d.check("postgres", func() (said string, err error) {
			store, said, err = c.database(ctx, p)
			return said, err
		})
	}
	if store != nil {
		defer store.Close()
	}
	if store != nil && len(c.Brokers) > 0 {
		d.check("positions", func() (string, error) { return c.positions(ctx, p, store) })
	}
	if c.Collector != "" {
		(&canary{c: c, d: d, p: p, store: store}).follow(ctx)
	}
	return d.verdict()
}

func (d *doctor) verdict() error {
	if d.sick {
		return errTold
	}
	return nil
}

// fill takes the addresses of the running up where none are given.
func (c *doctorCmd) fill(up upFile) {
	c.Collector = cmp.Or(c.Collector, baseURL(up.Collector))
	c.Admin = cmp.Or(c.Admin, baseURL(up.Admin))
	c.DatabaseURL = cmp.Or(c.DatabaseURL, databaseURL(up.DatabaseURL))
	c.Site = cmp.Or(c.Site, up.Sites[0])
	if len(c.Brokers) == 0 {
		c.Brokers = up.Brokers
	}
}

func (c *doctorCmd) ready(ctx context.Context) (string, error) {
	if c.Admin == "" {
		c.Admin = "http://127.0.0.1:8082"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, string(c.Admin)+"/health/ready", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", err
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		return "", fmt.Errorf("%s answers %s, which is no health report", c.Admin, resp.Status)
	}
	parts := []string{r.Status}
	for _, name := range slices.Sorted(maps.Keys(r.Checks)) {
		parts = append(parts, name+": "+r.Checks[name])
	}
	said := strings.Join(parts, ", ")
	// A degraded process does its work, so a container's check must not end it; a
	// person who asks for everything wants to hear of it.
	if r.Status == "unavailable" || r.Status != "ok" && !c.Ready {
		return "", errors.New(said)
	}
	return said, nil
}

func (c *doctorCmd) kafka(ctx context.Context, p *program) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cluster, err := c.cluster()
	if err != nil {
		return "", err
	}
	r, err := consume.Check(ctx, consume.Options{Kafka: cluster, Topic: c.Topic, Logger: p.log})
	if err != nil {
		return "", err
	}
	if problems := r.Problems(); len(problems) > 0 {
		return "", errors.New(strings.Join(problems, "; "))
	}
	return fmt.Sprintf("cluster %s, %d brokers, topic %s with %d partitions", r.ClusterID,
		len(r.Brokers), c.Topic, len(r.Partitions)), nil
}

// positions says which partitions wait for a person.
func (c *doctorCmd) positions(ctx context.Context, p *program, store *postgres.Store) (string, error) {
	asking, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cluster, err := c.cluster()
	if err != nil {
		return "", err
	}
	o := consume.Options{Kafka: cluster, Topic: c.Topic, Logger: p.log}
	r, err := consume.Check(asking, o)
	if err != nil {
		return "", err
	}
	next, err := positionsOf(asking, store, r)
	if err != nil {
		return "", err
	}
	found := &positions{store: store, kafka: o, topic: r, next: next}
	if err := found.standing(ctx); err != nil {
		return "", err
	}
	var waiting []string
	behind := int64(0)
	for _, t := range r.Partitions {
		if at, read := next[t.Partition]; read {
			behind += max(0, t.End-max(at.Next, t.Start))
			if why := found.waiting(t); why != "" {
				waiting = append(waiting, why)
			}
		}
	}
	if len(waiting) > 0 {
		return "", errors.New(strings.Join(waiting, "; "))
	}
	return fmt.Sprintf("%d of %d partitions are read, %d records wait", len(next), len(r.Partitions), behind), nil
}

func (c *doctorCmd) database(ctx context.Context, p *program) (*postgres.Store, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	store, err := postgres.Connect(ctx, postgres.Options{DatabaseURL: string(c.DatabaseURL), Logger: p.log,
		Metrics: metrics.NewSet()})
	if err != nil {
		return nil, "", err
	}
	r, err := store.Check(ctx)
	if err != nil {
		store.Close()
		return nil, "", err
	}
	if problems := r.Problems(); len(problems) > 0 {
		// The store is good enough to look for the canary.
		return store, "", errors.New(strings.Join(problems, "; "))
	}
	return store, fmt.Sprintf("PostgreSQL %s, %d events, %d dead letters, days from %s to %s",
		r.Version, r.Events, r.DeadLetters, r.OldestPartition.Format(time.DateOnly),
		r.NewestPartition.Format(time.DateOnly)), nil
}

// canary is one custom event named doctor_canary, followed from the collector to the
// topic and to its row. The row stays.
type canary struct {
	c     *doctorCmd
	d     *doctor
	p     *program
	store *postgres.Store
}

func (k *canary) follow(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(k.c.Within))
	defer cancel()
	id := event.NewUUID(time.Now())
	inTopic := make(chan error, 1)
	watching := make(chan struct{})
	go func() { inTopic <- k.watch(ctx, id, watching) }()
	select {
	case <-watching:
	case <-ctx.Done():
	}
	wait(ctx, 300*time.Millisecond) // a consumer says nothing when it stands at the end

	sent := k.d.check("accepted", func() (string, error) { return "event " + id.String(), k.send(ctx, id) })
	if !sent {
		return
	}
	if len(k.c.Brokers) > 0 || k.c.Admin != "" {
		k.d.check("in topic", func() (string, error) { return k.c.Topic, <-inTopic })
	}
	if k.store != nil {
		k.d.check("in table", func() (string, error) {
			return "footfall.events", k.find(ctx, id)
		})
	}
}

func (k *canary) send(ctx context.Context, id event.UUID) error {
	body, err := json.Marshal(map[string]any{"site": k.c.Site, "sent_at": time.Now().UnixMilli(),
		"events": []any{map[string]any{"event_id": id.String(), "type": event.Custom,
			"name": "doctor_canary"}}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, string(k.c.Collector)+"/e", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("User-Agent", "footfall-doctor")
	origin, err := originOf(k.p, k.c.Site)
	if err != nil {
		return err
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("collector answers %s: %s", resp.Status, b)
	}
	return nil
}

// watch returns nil when the canary passes in the topic.
func (k *canary) watch(ctx context.Context, id event.UUID, watching chan<- struct{}) error {
	found := errors.New("found")
	each := func(line []byte) error {
		if bytes.Contains(line, []byte(id.String())) {
			return found
		}
		return nil
	}
	close(watching)
	cluster, err := k.c.cluster()
	if err != nil {
		return err
	}
	if len(k.c.Brokers) > 0 {
		err = consume.Tail(ctx, consume.Options{Kafka: cluster, Topic: k.c.Topic,
			Logger: k.p.log}, true, func(r consume.Record) error { return each(r.Value) })
	} else {
		err = tailAdmin(ctx, string(k.c.Admin), false, each)
	}
	if errors.Is(err, found) {
		return nil
	}
	return fmt.Errorf("not seen within %s: %w", time.Duration(k.c.Within), err)
}

func (k *canary) find(ctx context.Context, id event.UUID) error {
	for {
		ok, _, err := k.store.Find(ctx, id, id.Time())
		if ok {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("not there within %s: is the sink running?", time.Duration(k.c.Within))
		}
		if err != nil {
			return err
		}
		wait(ctx, 20*time.Millisecond)
	}
}
