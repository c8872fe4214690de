//go:build outside

// Package outside holds the tests that treat the parts as an operator meets them: processes that
// are started, killed and started again. They need more than Go (a JDK, k6, PostgreSQL), hence
// the build tag; scripts/test runs them as its ring `outside`.
package outside

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"footfall/event"
)

// three is a cluster of three brokers with a collector and a sink.
type three struct {
	*cluster
	admin, sinkAdmin string
	client           *kgo.Client // that chooses the partitions itself
	adm              *kadm.Client
}

func startThree(t *testing.T) *three {
	t.Helper()
	c := &three{cluster: &cluster{t: t, kafkaDir: filepath.Join(t.TempDir(), "kafka"), databaseURL: database(t),
		spool: filepath.Join(t.TempDir(), "spool"), listen: freePort(t)}, admin: freePort(t), sinkAdmin: freePort(t)}
	t.Cleanup(func() { kafka(context.Background(), t, "down", "--dir", c.kafkaDir) })
	c.brokers = kafka(t.Context(), t, "up", "--brokers", "3", "--dir", c.kafkaDir)
	brokers := strings.Split(c.brokers, ",")
	if len(brokers) != 3 {
		t.Fatalf("up printed %q, want three addresses", c.brokers)
	}
	var err error
	if c.client, err = kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("footfall.events"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(80<<20),
		kgo.ProducerBatchCompression(kgo.GzipCompression())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
	c.adm = kadm.NewClient(c.client)
	c.collector = start(t, "collector", "--brokers", c.brokers, "--listen", c.listen,
		"--admin-listen", c.admin, "--spool", c.spool, "--partitions", "3")
	c.sink = c.startThreeSink()
	return c
}

func (c *three) startThreeSink() *process {
	c.t.Helper()
	return start(c.t, "sink", "--brokers", c.brokers, "--database-url", c.databaseURL, "--admin-listen", c.sinkAdmin)
}

func (c *three) script(command, broker string) {
	c.t.Helper()
	kafka(c.t.Context(), c.t, command, broker, "--dir", c.kafkaDir)
}

// put writes n events straight into a partition.
func (c *three) put(partition int32, n int) {
	c.t.Helper()
	var records []*kgo.Record
	for range n {
		records = append(records, &kgo.Record{Partition: partition,
			Value: mongoRecord(event.NewUUID(time.Now()), `,"name":"straight"`)})
	}
	if err := c.client.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatalf("put %d events into partition %d: %v", n, partition, err)
	}
}

// straight is how many rows there are of what put wrote.
func (c *three) straight() int64 {
	c.t.Helper()
	return query(c.t, c.databaseURL, "select count(*) from footfall.events where name = 'straight'")
}

func (c *three) health(admin string, words ...string) {
	c.t.Helper()
	wait(c.t, fmt.Sprintf("health to say %q", words), func() bool {
		out, _ := run(c.t, "doctor", "--ready", "--admin", "http://"+admin)
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(out, w) })
	})
}

// TestThreeBrokersAndWhatHappensToATopic takes one path through what a cluster does in a year:
// a topic that grows, a leader that dies, a record that is too large, one that nobody can unpack,
// records that retention took, a topic that is deleted, one that is compacted.
func TestThreeBrokersAndWhatHappensToATopic(t *testing.T) {
	t.Parallel()
	c := startThree(t)
	o := &oracle{url: c.url()}
	stop := o.load(t.Context())
	more := func(n int) {
		t.Helper()
		o.reach(t, o.count()+n)
	}
	more(100)
	c.leaderDies(more)
	stop()
	o.judge(t, c.databaseURL)
	c.put(3, 10)
	wait(t, "rows of the partition that was added", func() bool { return c.straight() == 10 })
	c.tooLarge()
	c.cannotUnpack()
	c.expired()
	c.recreated()
	c.compacted()
	wantSays(t, 0, "", "audit", "--database-url", c.databaseURL)
}

// leaderDies also adds a partition, and holds scripts/kafka to its contract.
func (c *three) leaderDies(more func(int)) {
	ctx, t := c.t.Context(), c.t
	t.Helper()
	if _, err := c.adm.UpdatePartitions(ctx, 4, "footfall.events"); err != nil {
		t.Fatal(err)
	}
	leader := func() int32 {
		topics, err := c.adm.ListTopics(ctx, "footfall.events")
		if err != nil {
			return -1
		}
		return topics["footfall.events"].Partitions[0].Leader
	}
	dead := leader()
	c.script("kill", fmt.Sprint(dead))
	if err := exec.CommandContext(ctx, "../kafka", "status", "--dir", c.kafkaDir).Run(); err == nil {
		t.Error("status is content with a dead broker")
	}
	wait(t, "another leader", func() bool { l := leader(); return l >= 0 && l != dead })
	more(200)
	c.script("start", fmt.Sprint(dead))
	if again := kafka(ctx, t, "up", "--dir", c.kafkaDir); again != c.brokers {
		t.Errorf("after kill and start the brokers are at %s, before at %s", again, c.brokers)
	}
	// And back, as the cluster does it by itself after a while.
	wait(t, "the first leader again", func() bool {
		set := kadm.TopicsSet{}
		set.Add("footfall.events", 0)
		c.adm.ElectLeaders(ctx, kadm.ElectPreferredReplica, set)
		return leader() == dead
	})
	more(200)
}

// tooLarge has Kafka take no record of the size that a page may send.
func (c *three) tooLarge() {
	ctx, t := c.t.Context(), c.t
	t.Helper()
	limit := func(bytes string) {
		t.Helper()
		_, err := c.adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig,
			Name: "max.message.bytes", Value: &bytes}}, "footfall.events")
		if err != nil {
			t.Fatal(err)
		}
	}
	before := query(t, c.databaseURL, "select count(*) from footfall.events")
	limit("1500")
	noise := make([]byte, 2000)
	rand.Read(noise)
	body := fmt.Sprintf(`{"site":"demo","events":[{"type":"custom","name":"small"},{"type":"custom",`+
		`"name":"large","url":"https://shop.example/%x","referrer":"https://shop.example/%x"},`+
		`{"type":"custom","name":"small"}]}`, noise[:1000], noise[1000:])
	resp, err := http.Post(c.url()+"/e", "text/plain", strings.NewReader(body))
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("post: %v %v", resp, err)
	}
	resp.Body.Close()
	waitForRows(t, c.databaseURL, before+2)
	if n := metric(t, c.admin, "footfall_forward_dead_total"); n != 1 {
		t.Errorf("%v records are kept aside, want 1", n)
	}
	kept, err := filepath.Glob(filepath.Join(c.spool, "dead", "*"))
	if err != nil || len(kept) != 1 {
		t.Errorf("the spool keeps %v aside, %v", kept, err)
	}
	limit("1048588")
}

// cannotUnpack writes a record of 200 KB that unpacks to 65 MiB.
func (c *three) cannotUnpack() {
	ctx, t := c.t.Context(), c.t
	t.Helper()
	before := c.straight()
	c.put(1, 5)
	bomb := &kgo.Record{Partition: 1, Value: bytes.Repeat([]byte{'0'}, 65<<20)}
	if err := c.client.ProduceSync(ctx, bomb).FirstErr(); err != nil {
		t.Fatal(err)
	}
	c.put(1, 5)
	c.put(2, 5)
	c.health(c.sinkAdmin, "partition 1 is stopped", "larger than 64 MiB unpacked")
	wait(t, "the rows around it", func() bool { return c.straight() == before+10 })
	wantSays(t, 0, "", "positions", "resume", "--brokers", c.brokers, "--database-url", c.databaseURL,
		"--partition", "1", "--at", fmt.Sprint(bomb.Offset+1))
	wait(t, "the rows behind it", func() bool { return c.straight() == before+15 })
	c.health(c.sinkAdmin, "ok")
}

// expired deletes records that the sink has not read, as retention does.
func (c *three) expired() {
	ctx, t := c.t.Context(), c.t
	t.Helper()
	before := c.straight()
	c.sink.stop()
	c.put(2, 20)
	ends, err := c.adm.ListEndOffsets(ctx, "footfall.events")
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup("footfall.events", 2)
	gone := kadm.Offsets{}
	gone.AddOffset("footfall.events", 2, end.Offset-12, -1)
	if _, err := c.adm.DeleteRecords(ctx, gone); err != nil {
		t.Fatal(err)
	}
	c.sink = c.startThreeSink()
	c.health(c.sinkAdmin, "partition 2 is stopped", "8 offsets are lost")
	if n := metric(t, c.sinkAdmin, "footfall_events_lost_total"); n != 8 {
		t.Errorf("%v events are counted as lost, want 8", n)
	}
	wantSays(t, 1, "2", "positions", "ls", "--brokers", c.brokers, "--database-url", c.databaseURL)
	wantSays(t, 0, "", "positions", "resume", "--brokers", c.brokers, "--database-url", c.databaseURL,
		"--partition", "2")
	wait(t, "the rows that are left", func() bool { return c.straight() == before+12 })
}

// recreated deletes the topic; the collector makes it again.
func (c *three) recreated() {
	t := c.t
	t.Helper()
	if _, err := c.adm.DeleteTopic(t.Context(), "footfall.events"); err != nil {
		t.Fatal(err)
	}
	before := query(t, c.databaseURL, "select count(*) from footfall.events")
	if out, status := run(t, "send", "--collector", c.url(), "--site", "demo", "--n", "100"); status != 0 {
		t.Fatalf("send: %s", out)
	}
	waitForRows(t, c.databaseURL, before+100)
	if n := query(t, c.databaseURL, "select count(distinct topic_id) from footfall.sink_offsets"); n != 2 {
		t.Errorf("positions are of %d topics, want 2", n)
	}
}

// metric reads one value of an admin listener.
func metric(t *testing.T, admin, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("%s has no metric %s", admin, name)
	return 0
}

// kafka runs scripts/kafka and returns what it said on stdout.
func kafka(ctx context.Context, t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "../kafka", args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("scripts/kafka %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(stdout.String())
}
