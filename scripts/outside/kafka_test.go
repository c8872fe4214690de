//go:build outside

// Package outside holds the tests that treat the parts as an operator meets them: processes that
// are started, killed and started again. They need more than Go (a JDK, k6, PostgreSQL), hence
// the build tag; scripts/test runs them as its ring `outside`.
package outside

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestKafkaKeepsTakingRecordsWhenOneOfThreeBrokersIsKilled holds scripts/kafka to its contract,
// which the other tests of this ring rest on.
func TestKafkaKeepsTakingRecordsWhenOneOfThreeBrokersIsKilled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "kafka")
	t.Cleanup(func() { kafka(context.Background(), t, "down", "--dir", dir) })

	addresses := kafka(ctx, t, "up", "--brokers", "3", "--dir", dir)
	brokers := strings.Split(addresses, ",")
	if len(brokers) != 3 {
		t.Fatalf("up printed %q, want three addresses", addresses)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("walk"))
	if err != nil {
		t.Fatalf("make client: %v", err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 3, 3, nil, "walk"); err != nil {
		t.Fatalf("create topic: %v", err)
	}

	produce(ctx, t, client, 0, 300)
	kafka(ctx, t, "kill", "2", "--dir", dir)
	if err := exec.CommandContext(ctx, "../kafka", "status", "--dir", dir).Run(); err == nil {
		t.Error("status is content with a dead broker")
	}
	produce(ctx, t, client, 300, 600)
	kafka(ctx, t, "start", "2", "--dir", dir)
	if again := kafka(ctx, t, "up", "--dir", dir); again != addresses {
		t.Errorf("after kill and start the brokers are at %s, before at %s", again, addresses)
	}
	produce(ctx, t, client, 600, 900)
	if got := distinct(ctx, t, client, 900); got != 900 {
		t.Errorf("read %d different records of 900", got)
	}
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

func produce(ctx context.Context, t *testing.T, client *kgo.Client, from, to int) {
	t.Helper()
	var records []*kgo.Record
	for i := from; i < to; i++ {
		value := []byte(fmt.Sprintf("record %d", i))
		records = append(records, &kgo.Record{Topic: "walk", Value: value})
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("produce records %d to %d: %v", from, to, err)
	}
}

// distinct reads until it has seen want different values or ctx ends.
func distinct(ctx context.Context, t *testing.T, client *kgo.Client, want int) int {
	t.Helper()
	seen := map[string]bool{}
	for len(seen) < want && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
	return len(seen)
}
