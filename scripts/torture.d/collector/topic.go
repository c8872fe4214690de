package collector

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// topic reads everything that arrives.
type topic struct {
	o *oracle

	mu       sync.Mutex
	seen     map[int]int // by number: how often
	invented int
	altered  int
}

// read consumes from the beginning until ctx ends.
func (t *topic) read(ctx context.Context, brokers []string, name string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...),
		kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.UnknownTopicRetries(-1), kgo.MetadataMaxAge(2*time.Second),
		kgo.MetadataMinAge(250*time.Millisecond), kgo.FetchMaxWait(250*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { t.judge(r.Value) })
	}
	return nil
}

func (t *topic) judge(value []byte) {
	var e struct {
		Name  string
		Props struct {
			N       int
			Padding string
		}
	}
	err := json.Unmarshal(value, &e)
	t.o.mu.Lock()
	known := err == nil && e.Name == "torture" && e.Props.N < len(t.o.sent)
	same := known && t.o.sent[e.Props.N] == hashOf(e.Props.Padding)
	t.o.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !known:
		t.invented++
	case !same:
		t.altered++
	default:
		t.seen[e.Props.N]++
	}
}

// missing counts acknowledged events that have not arrived, except some.
func (t *topic) missing(except map[int]bool) (n int) {
	t.o.mu.Lock()
	defer t.o.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, acked := range t.o.acked {
		if acked && t.seen[i] == 0 && !except[i] {
			n++
		}
	}
	return n
}

// wait returns when nothing is missing, or the limit has passed.
func (t *topic) wait(ctx context.Context, limit time.Duration, except map[int]bool) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		n := t.missing(except)
		if n == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d acknowledged events have not come within %s", n, limit)
		}
	}
}
