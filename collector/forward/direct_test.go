package forward

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"footfall/kafka"
)

func newDirect(t *testing.T, wait bool, brokers ...string) *Direct {
	t.Helper()
	d, err := NewDirect(DirectOptions{Kafka: kafka.Cluster{Brokers: brokers}, Topic: topic, Partitions: 2, Wait: wait,
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); d.Close() })
	return d
}

func one(i int) (keys, values [][]byte) {
	return [][]byte{fmt.Appendf(nil, "key %d", i%7)}, [][]byte{fmt.Appendf(nil, "value %d", i)}
}

func TestADirectAppendIsInKafkaWhenItReturns(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	d := newDirect(t, true, cluster.ListenAddrs()...)
	for deadline := time.Now().Add(20 * time.Second); d.Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(d.Err())
		}
	}
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			keys, values := one(i)
			if err := d.Append(keys, values); err != nil {
				t.Errorf("append %d: %v", i, err)
			}
			copy(values[0], "XXXXX") // it is the caller's again
		})
	}
	wg.Wait()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	seen := map[string]bool{}
	for len(seen) < 500 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
	}
	if len(seen) != 500 || !seen["value 499"] {
		t.Errorf("%d values are in Kafka, want 500", len(seen))
	}
	if d.Err() != nil || d.passed.Get() != 500 {
		t.Errorf("error %v, %d passed", d.Err(), d.passed.Get())
	}
}

// A broker that takes connections and never says a word is the worst there is: the
// client waits for it. outside/ has the same with a real one that is stopped.
func TestADirectAppendDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	d := newDirect(t, true, ln.Addr().String())
	d.ready.Store(true) // the topic was there before the broker fell silent
	keys, values := one(1)
	done := make(chan error, 1)
	go func() { done <- d.Append(keys, values) }()
	select {
	case err := <-done:
		if !errors.Is(err, ErrAway) {
			t.Errorf("%v, want ErrAway", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still waiting after 30 s")
	}
	if d.Err() == nil {
		t.Error("health has nothing to say")
	}
}

func TestWithoutWaitingTheMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d := newDirect(t, false, "127.0.0.1:1")
	value := make([]byte, 100<<10)
	n := 0
	for ; n < 10_000; n++ {
		if err := d.Append([][]byte{[]byte("k")}, [][]byte{value}); err != nil {
			if !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			break
		}
	}
	if bytes := n * len(value); bytes > directBytesMax || bytes < directBytesMax/2 {
		t.Errorf("%d bytes were taken, at most %d fit", bytes, directBytesMax)
	}
	if d.lost.Get() != 0 {
		t.Errorf("%d records were lost after their 2xx", d.lost.Get())
	}
	if err := d.Close(); err == nil {
		t.Error("what was in memory is gone, and nobody is told")
	}
}

// A stranger's large event must not take the collector out of service.
func TestARecordThatIsTooLargeSaysNothingOfKafka(t *testing.T) {
	t.Parallel()
	c := broker(t)
	d := newDirect(t, true, c.ListenAddrs()...)
	for deadline := time.Now().Add(20 * time.Second); d.Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(d.Err())
		}
	}
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		return refuseProduce(req, kerr.MessageTooLarge.Code), nil, true
	})
	keys, values := one(1)
	if err := d.Append(keys, values); !errors.Is(err, ErrTooLarge) {
		t.Errorf("append: %v, want ErrTooLarge", err)
	}
	if err := d.Err(); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
	if err := d.Append(keys, values); err != nil {
		t.Errorf("the next append: %v", err)
	}
}
