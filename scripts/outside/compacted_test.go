//go:build outside

package outside

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/event"
)

// compacted makes a topic that keeps the newest record of each key, waits until Kafka has taken
// the others out, and has it read by a sink and by a replay: gaps are no loss, and none is waited in.
func (c *three) compacted() {
	ctx, t := c.t.Context(), c.t
	t.Helper()
	const topic = "compacted"
	settings := map[string]*string{}
	for key, value := range map[string]string{"cleanup.policy": "compact", "segment.ms": "100",
		"min.cleanable.dirty.ratio": "0.001", "max.compaction.lag.ms": "100"} {
		settings[key] = &value
	}
	if _, err := c.adm.CreateTopic(ctx, 1, 3, settings, topic); err != nil {
		t.Fatal(err)
	}
	put := func(key string) {
		t.Helper()
		r := &kgo.Record{Topic: topic, Key: []byte(key), Value: mongoRecord(event.NewUUID(time.Now()), `,"name":"compacted"`)}
		if err := c.client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		put(fmt.Sprintf("k%d", i%3))
	}
	// What is left, once a later record has ended the segment that has the others.
	left := 0
	wait(t, "the compaction", func() bool {
		put("last")
		var end int64
		left, end = c.holds(topic)
		return left < 40 && end > 60
	})
	put("last")
	left, end := c.holds(topic)
	const lost = "select coalesce(sum(n_lost), 0)::bigint from footfall.ledger"
	before := query(t, c.databaseURL, lost)
	sink := start(t, "sink", "--brokers", c.brokers, "--topic", topic, "--database-url", c.databaseURL, "--admin-listen", freePort(t))
	stored := func() int64 {
		return query(t, c.databaseURL, "select max(next_offset) from footfall.sink_offsets where topic = 'compacted'")
	}
	wait(t, "the sink at the end", func() bool { return stored() == end })
	sink.stop()
	if n := query(t, c.databaseURL, "select count(*) from footfall.events where name = 'compacted'"); n > int64(left) || n < 4 {
		t.Errorf("%d rows, and the log had %d records", n, left)
	}
	if n := query(t, c.databaseURL, lost) - before; n != 0 {
		t.Errorf("%d offsets are lost, which compaction took", n)
	}
	for i, bounds := range []string{"--from 0:0", fmt.Sprintf("--from 0:5 --to 0:%d", 30)} {
		args := append([]string{"sink", "--brokers", c.brokers, "--topic", topic, "--database-url", c.databaseURL,
			"--into", fmt.Sprintf("compacted_%d", i)}, strings.Fields(bounds)...)
		wantSays(t, 0, "0 dead letters", args...)
	}
}

// holds counts what one reader finds in a topic of one partition, as far as its end.
func (c *three) holds(topic string) (records int, end int64) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	ends, err := c.adm.ListEndOffsets(ctx, topic)
	if err != nil {
		c.t.Fatal(err)
	}
	o, _ := ends.Lookup(topic, 0)
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(c.brokers, ",")...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		c.t.Fatal(err)
	}
	defer client.Close()
	for next := int64(0); next < o.Offset; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			c.t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { records, next = records+1, r.Offset+1 })
	}
	return records, o.Offset
}
