// Package sink tortures sinks: every record of the topic ends as exactly one row with
// what was sent, or as exactly one dead letter with its bytes, and nothing else is there.
//
// A seed has a topic, a database and a consumer group of its own. Three lanes of faults
// run side by side under load: on the sinks, on Kafka, on PostgreSQL and the network to
// it. Then everything is healed, and judged. What a seed does, and when, follows from its
// number; what meets what does not, for the clock is real.
package sink

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"footfall/scripts/torture.d/parts"
	"footfall/scripts/torture.d/seeds"
)

// settings of a run.
type settings struct {
	seeds.Settings
	bin     string
	kafka   parts.Kafka
	postgre string // where its programs are
	records int
	load    time.Duration
	plan    bool
}

// verdict is what came of one seed.
type verdict struct {
	Seed       uint64   `json:"seed"`
	Faults     []string `json:"faults"`
	Records    int      `json:"records"` // acknowledged by Kafka
	Expected   int      `json:"expected"`
	Rows       int      `json:"rows"`
	Duplicates int      `json:"duplicates"` // by the ledger
	Dead       int      `json:"dead"`
	Lost       int      `json:"lost"`
	Doubled    int      `json:"doubled"`
	Altered    int      `json:"altered"`
	Invented   int      `json:"invented"`
	DeadWrong  int      `json:"dead_wrong"` // dead letters missing, too many, or with other bytes
	RSSMax     int64    `json:"rss_max_bytes"`
	Healing    float64  `json:"healing_seconds"` // from the last fault and record to the last row
	Seconds    float64  `json:"seconds"`
	Problems   []string `json:"problems,omitempty"`
}

// Bad reports whether a sink broke its word.
func (v verdict) Bad() bool {
	return v.Lost+v.Doubled+v.Altered+v.Invented+v.DeadWrong > 0 || len(v.Problems) > 0
}

const header = "  seed   records      rows duplicates    dead  lost double healing seconds  faults"

// Line stands under the header.
func (v verdict) Line() string {
	return fmt.Sprintf("%6d %9d %9d %10d %7d %5d %6d %7.1f %7.1f  %s", v.Seed, v.Records, v.Rows,
		v.Duplicates, v.Dead, v.Lost, v.Doubled, v.Healing, v.Seconds, strings.Join(v.Faults, ", "))
}

// Trouble says what was bad.
func (v verdict) Trouble() string {
	return fmt.Sprintf("%d altered, %d invented, %d dead letters wrong; %s", v.Altered, v.Invented,
		v.DeadWrong, strings.Join(v.Problems, "; "))
}

func (v *verdict) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// Torture is the command.
func Torture(ctx context.Context, args []string) error {
	s := settings{Settings: seeds.Settings{Seeds: 5}}
	f := flag.NewFlagSet("sink", flag.ExitOnError)
	s.Flags(f)
	f.StringVar(&s.bin, "bin", "", "footfall, built with the tag failpoint")
	f.StringVar(&s.kafka.Addresses, "brokers", "", "Kafka")
	f.StringVar(&s.kafka.Script, "kafka", "", "scripts/kafka")
	f.StringVar(&s.kafka.Dir, "kafka-dir", "", "its --dir")
	f.StringVar(&s.postgre, "postgres", "", "directory of PostgreSQL's programs")
	f.IntVar(&s.records, "records", 200_000, "of a seed")
	f.DurationVar(&s.load, "load", 8*time.Second, "time over which they are produced")
	f.BoolVar(&s.plan, "plan", false, "print what the seeds would do, and do nothing")
	f.Parse(args)
	if s.plan {
		for i := range s.Seeds {
			fmt.Println(newPlan(s, s.Seed+uint64(i), true))
		}
		return nil
	}
	m, err := newMachines(ctx, s)
	if err != nil {
		return err
	}
	all := seeds.Run(ctx, s.Settings, header,
		func(ctx context.Context, seed uint64) verdict { return one(ctx, s, m, seed) })
	if err := m.close(); err != nil {
		return err
	}
	return seeds.Tell(s.Settings, "sink", fmt.Sprint("--records ", s.records), all, sum(all))
}

// machines serve all seeds.
type machines struct {
	pg   *parts.Postgres
	disk *parts.Disk // nil where there are no loop devices
}

func newMachines(ctx context.Context, s settings) (*machines, error) {
	dir, err := os.MkdirTemp("", "machines-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // PostgreSQL runs as another user
	}
	if err != nil {
		return nil, err
	}
	m := &machines{}
	if m.pg, err = parts.NewPostgres(ctx, s.postgre, filepath.Join(dir, "postgres")); err != nil {
		return nil, err
	}
	const diskBytes = 1 << 30 // sparse
	if m.disk, err = parts.NewDisk(dir, diskBytes); err != nil {
		fmt.Println("no seed fills a disk:", err)
	}
	return m, nil
}

func (m *machines) close() error {
	err := m.pg.Close()
	if m.disk != nil {
		if derr := m.disk.Close(); err == nil {
			err = derr
		}
	}
	return err
}

// one runs a seed.
func one(ctx context.Context, s settings, m *machines, seed uint64) (v verdict) {
	began := time.Now()
	v.Seed = seed
	dir, err := os.MkdirTemp("", "sink-")
	if err != nil {
		v.problem("%v", err)
		return v
	}
	x := newRun(s, m, newPlan(s, seed, m.disk != nil), dir, &v)
	if err := x.all(ctx); err != nil {
		v.problem("%v", err)
	}
	x.clean()
	if v.Bad() && s.Keep {
		v.problem("%s", seeds.Kept(dir))
	} else if err := os.RemoveAll(dir); err != nil {
		v.problem("%v", err)
	}
	v.Seconds = time.Since(began).Seconds()
	return v
}
