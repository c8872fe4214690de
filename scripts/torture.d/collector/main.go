// Package collector tortures collectors: every event that was answered 2xx is in the
// topic, with the payload that was sent, and nothing is there that nobody sent.
package collector

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"footfall/scripts/torture.d/parts"
	"footfall/scripts/torture.d/seeds"
)

// settings of a run.
type settings struct {
	seeds.Settings
	bin    string
	kafka  parts.Kafka
	events int
	fault  string // the only one to try; "" for all
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

// Bad reports whether the collector broke its word.
func (v verdict) Bad() bool {
	return v.Lost+v.Invented+v.Altered+v.Unnamed > 0 || v.Problem != ""
}

const header = "  seed      sent     acked  lost  damaged invented  doubled seconds  faults"

// Line stands under the header.
func (v verdict) Line() string {
	return fmt.Sprintf("%6d %9d %9d %5d %8d %8d %8d %7.1f  %s", v.Seed, v.Sent, v.Acknowledged, v.Lost,
		v.Damaged, v.Invented, v.Doubled, v.Seconds, strings.Join(v.Faults, ", "))
}

// Trouble says what was bad.
func (v verdict) Trouble() string {
	return fmt.Sprintf("%d altered, %d destroyed and not named; %s", v.Altered, v.Unnamed, v.Problem)
}

// Torture is the command.
func Torture(ctx context.Context, args []string) error {
	s := settings{Settings: seeds.Settings{Seeds: 10}}
	f := flag.NewFlagSet("collector", flag.ExitOnError)
	s.Flags(f)
	f.StringVar(&s.bin, "bin", "", "footfall, built with the tag failpoint")
	f.StringVar(&s.kafka.Addresses, "brokers", "", "Kafka")
	f.StringVar(&s.kafka.Script, "kafka", "", "scripts/kafka")
	f.StringVar(&s.kafka.Dir, "kafka-dir", "", "its --dir")
	f.IntVar(&s.events, "events", 26_000, "acknowledged events a seed, about")
	f.StringVar(&s.fault, "fault", "", "the only one to try, or the beginning of some")
	f.Parse(args)
	all := seeds.Run(ctx, s.Settings, header,
		func(ctx context.Context, seed uint64) verdict { return one(ctx, s, seed) })
	return seeds.Tell(s.Settings, "collector", fmt.Sprint("--events ", s.events), all, sum(all))
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
	case v.Bad() && s.Keep:
		v.Problem += " " + seeds.Kept(dir)
	default:
		if err := os.RemoveAll(dir); err != nil {
			v.Problem += err.Error()
		}
	}
	v.Seconds = time.Since(began).Seconds()
	return v
}
