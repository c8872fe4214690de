// Torture breaks a collector in seeded ways and holds it to its word: every event that
// was answered 2xx is in the topic, with the payload that was sent, and nothing is
// there that nobody sent. It runs real processes and a real Kafka on loopback; see
// scripts/torture, which builds and starts them.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// settings of a run.
type settings struct {
	bin, brokers, kafka, kafkaDir string
	seeds, events                 int
	seed                          uint64
	json, results                 string
	keep                          bool
}

// verdict is what came of one seed.
type verdict struct {
	Seed         uint64   `json:"seed"`
	Faults       []string `json:"faults"`
	Sent         int      `json:"sent"`
	Acknowledged int      `json:"acknowledged"`
	InTopic      int      `json:"in_topic"`
	Lost         int      `json:"lost"`
	Damaged      int      `json:"damaged"` // acknowledged, and destroyed on disk by the test
	Unnamed      int      `json:"unnamed"` // of these, not named by spool verify
	Invented     int      `json:"invented"`
	Altered      int      `json:"altered"`
	Doubled      int      `json:"doubled"` // sent to Kafka twice: the sink makes one row of them
	RSSMax       int64    `json:"rss_max_bytes"`
	Seconds      float64  `json:"seconds"`
	Problem      string   `json:"problem,omitempty"`
}

func (v verdict) bad() bool {
	return v.Lost+v.Invented+v.Altered+v.Unnamed > 0 || v.Problem != ""
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "", "footfall, built with the tag failpoint")
	flag.StringVar(&s.brokers, "brokers", "", "Kafka")
	flag.StringVar(&s.kafka, "kafka", "", "scripts/kafka")
	flag.StringVar(&s.kafkaDir, "kafka-dir", "", "its --dir")
	flag.IntVar(&s.seeds, "seeds", 10, "how many")
	flag.Uint64Var(&s.seed, "seed", 1, "the first")
	flag.IntVar(&s.events, "events", 26_000, "acknowledged events a seed, about")
	flag.StringVar(&s.json, "json", "", "file for the figures")
	flag.StringVar(&s.results, "results", "", "page for the sums")
	flag.BoolVar(&s.keep, "keep", false, "keep the directories of bad seeds")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := torture(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func torture(ctx context.Context, s settings) error {
	var all []verdict
	fmt.Printf("%6s %9s %9s %5s %8s %8s %8s %7s  %s\n", "seed", "sent", "acked", "lost",
		"damaged", "invented", "doubled", "seconds", "faults")
	for i := range s.seeds {
		if ctx.Err() != nil {
			break
		}
		v := one(ctx, s, s.seed+uint64(i))
		if ctx.Err() != nil {
			break // not the collector's fault
		}
		all = append(all, v)
		fmt.Printf("%6d %9d %9d %5d %8d %8d %8d %7.1f  %s\n", v.Seed, v.Sent, v.Acknowledged, v.Lost,
			v.Damaged, v.Invented, v.Doubled, v.Seconds, strings.Join(v.Faults, ", "))
		if v.bad() {
			fmt.Printf("       BAD: %d altered, %d destroyed and not named; %s\n", v.Altered, v.Unnamed, v.Problem)
		}
	}
	total := sum(all)
	fmt.Println(total.line())
	if s.json != "" {
		b, err := json.MarshalIndent(map[string]any{"sum": total, "seeds": all}, "", " ")
		if err == nil {
			err = os.WriteFile(s.json, append(b, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if s.results != "" {
		if err := total.page(s.results, s.seed); err != nil {
			return err
		}
	}
	if len(all) == 0 || total.Bad > 0 {
		return errors.New("the collector did not keep its word, or nothing was tried")
	}
	return nil
}

// one runs a seed: a spool and a topic of its own, faults under load by turns, then
// healing and the verdict.
func one(ctx context.Context, s settings, seed uint64) (v verdict) {
	began := time.Now()
	r := rand.New(rand.NewPCG(seed, 0))
	dir, err := os.MkdirTemp("", "footfall-torture-")
	v.Seed = seed
	if err != nil {
		v.Problem = err.Error()
		return v
	}
	x := &run{s: s, r: r, dir: dir, topic: fmt.Sprintf("torture-%d-%d", seed, began.UnixNano()), v: &v}
	err = x.all(ctx)
	x.clean()
	if err != nil {
		v.Problem = err.Error()
	}
	switch {
	case v.bad() && s.keep:
		v.Problem += " (kept " + dir + ")"
	default:
		if err := os.RemoveAll(dir); err != nil {
			v.Problem += err.Error()
		}
	}
	v.Seconds = time.Since(began).Seconds()
	return v
}
