// Bench measures the collector against nginx and against a naive collector, in one run;
// see scripts/bench, which builds and starts what it needs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type settings struct {
	bin, dir, naive, brokers, json, plot string
	rounds, seconds                      int
}

func main() {
	var s settings
	flag.StringVar(&s.bin, "bin", "", "footfall")
	flag.StringVar(&s.dir, "dir", "", "directory for everything")
	flag.StringVar(&s.naive, "naive", "", "python with Flask and kafka-python; none: without it")
	flag.StringVar(&s.brokers, "brokers", "", "Kafka of the naive collector")
	flag.IntVar(&s.rounds, "rounds", 8, "turns of each side")
	flag.IntVar(&s.seconds, "seconds", 3, "length of a run")
	flag.StringVar(&s.json, "json", "", "file for the figures")
	flag.StringVar(&s.plot, "plot", "", "file for a picture (SVG)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func makeTopic(ctx context.Context, brokers string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(brokers, ",")...))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, 12, 1, nil, "naive.events")
	return err
}

// report is everything that was measured.
type report struct {
	Sides    []side        `json:"sides"`
	Ratios   []ratio       `json:"ratios"`
	Fsync    float64       `json:"fdatasync_microseconds"`
	Commits  []commit      `json:"group_commit"`
	Overload overload      `json:"overload"`
	Allocs   []allocations `json:"allocations"`
}

func bench(ctx context.Context, s settings) error {
	if s.naive != "" {
		if err := makeTopic(ctx, s.brokers); err != nil {
			return fmt.Errorf("make the topic of the naive collector: %w", err)
		}
	}
	g := newGate()
	var r report
	runs, err := rounds(ctx, s, g)
	if err != nil {
		return err
	}
	r.Sides, r.Ratios = compare(runs, s)
	r.Fsync = fdatasyncCost(s.dir)
	if r.Commits, err = commits(ctx, s); err != nil {
		return err
	}
	if r.Overload, err = overloaded(ctx, s); err != nil {
		return err
	}
	if r.Allocs, err = allocs(ctx); err != nil {
		return err
	}
	r.print(os.Stdout)
	if s.json != "" {
		b, err := json.MarshalIndent(r, "", " ")
		if err == nil {
			err = os.WriteFile(s.json, append(b, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if s.plot != "" {
		if err := os.WriteFile(s.plot, []byte(r.svg()), 0o644); err != nil {
			return err
		}
	}
	if !r.good() {
		return errors.New("a goal is not met, or the machine was too noisy to tell")
	}
	return nil
}
