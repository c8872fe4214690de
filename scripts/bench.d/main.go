// Bench measures the collector or, with sink or snippet as its first argument, that one, each
// against what it has to bear comparison with, in one run; see scripts/bench, which builds and
// starts what it needs.
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

// benches are those besides the collector's.
var benches = map[string]func(context.Context, []string) error{"sink": benchSink, "snippet": benchSnippet,
	"overload": overloadMain, "generate": generatorMain}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 {
		if run := benches[os.Args[1]]; run != nil {
			if err := run(ctx, os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
			return
		}
	}
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
	Overload []overload    `json:"overload"`
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
	if err := save(r, r.svg(), s.json, s.plot); err != nil {
		return err
	}
	if !r.good() {
		return errors.New("a goal is not met, or the machine was too noisy to tell")
	}
	return nil
}

// save writes the figures and the picture to the files that are asked for.
func save(report any, svg, figures, picture string) error {
	if figures != "" {
		b, err := json.MarshalIndent(report, "", " ")
		if err == nil {
			err = os.WriteFile(figures, append(b, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if picture != "" {
		return os.WriteFile(picture, []byte(svg), 0o644)
	}
	return nil
}
