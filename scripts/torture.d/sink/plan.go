package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// plan is what a seed does. Nothing in it is decided later.
type plan struct {
	seed       uint64
	records    int
	load       time.Duration
	partitions int
	sinks      int
	batchRows  int
	bursts     bool // duplicates come in bursts: COPY straight into the table in between
	trigger    bool
	bothHosts  bool // the database's URL names both nodes
	lanes      [len(laneNames)][]step
}

// lane is what a fault breaks. Faults of one lane do not overlap.
type lane int

const (
	onSinks lane = iota
	onKafka
	onPostgres
)

var laneNames = [...]string{"sinks", "kafka", "postgres"}

// fault is one way to break things under load. do leaves its lane whole.
type fault struct {
	name   string
	lane   lane
	weight int
	do     func(x *run, ctx context.Context, r *rand.Rand) error
	// A fault that needs a machine prepared is the only one of its kind in a seed.
	needs need
}

type need int

const (
	nothing need = iota
	syncStandby
	asyncStandby
	disk
)

type step struct {
	at   time.Duration // since the load began
	seed uint64
	fault
}

// newPlan draws a seed's plan. Without loop devices a seed that would fill a disk is
// another one: withDisk is part of what it follows from.
func newPlan(s settings, seed uint64, withDisk bool) *plan {
	r := rand.New(rand.NewPCG(seed, 0))
	p := &plan{seed: seed, records: s.records, load: s.load, partitions: 3 + r.IntN(6), sinks: 2 + r.IntN(3),
		batchRows: []int{500, 2000, 10_000, 10_000}[r.IntN(4)], bursts: r.IntN(2) == 0,
		trigger: r.IntN(5) == 0, bothHosts: r.IntN(2) == 0}
	counts := [...]int{onSinks: 2 + r.IntN(2), onKafka: r.IntN(2), onPostgres: 2 + r.IntN(2)}
	prepared := false
	for l, n := range counts {
		for range n {
			f := choose(r, lane(l), func(f fault) bool {
				return f.needs == nothing || !prepared && (f.needs != disk || withDisk)
			})
			prepared = prepared || f.needs != nothing
			at := 200*time.Millisecond + time.Duration(r.Int64N(int64(s.load)))
			p.lanes[l] = append(p.lanes[l], step{at, r.Uint64(), f})
		}
		slices.SortFunc(p.lanes[l], func(a, b step) int { return int(a.at - b.at) })
	}
	return p
}

func choose(r *rand.Rand, l lane, fits func(fault) bool) fault {
	var list []fault
	all := 0
	for _, f := range faults() {
		if f.lane == l && fits(f) {
			list = append(list, f)
			all += f.weight
		}
	}
	n := r.IntN(all)
	for _, f := range list {
		if n -= f.weight; n < 0 {
			return f
		}
	}
	return list[0]
}

// needs returns what has to be prepared before the load.
func (p *plan) needs() need {
	for _, steps := range p.lanes {
		for _, s := range steps {
			if s.needs != nothing {
				return s.needs
			}
		}
	}
	return nothing
}

// duplicates is the share of records that are sent again, at the n-th record. Bursts
// have the same share in all.
func (p *plan) duplicates(n int) float64 {
	const windows, share = 10, duplicateShare
	if !p.bursts {
		return share
	}
	if n*windows/p.records%5 == 2 {
		return 5 * share
	}
	return 0
}

func (p *plan) faults() (names []string) {
	for _, steps := range p.lanes {
		for _, s := range steps {
			names = append(names, s.name)
		}
	}
	return names
}

// String is the plan for a person.
func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d records in %s, %d partitions, %d sinks, batches of %d", p.seed, p.records,
		p.load, p.partitions, p.sinks, p.batchRows)
	for _, also := range []struct {
		on  bool
		why string
	}{{p.bursts, "duplicates in bursts"}, {p.trigger, "a trigger"}, {p.bothHosts, "two hosts"}} {
		if also.on {
			b.WriteString(", " + also.why)
		}
	}
	for l, steps := range p.lanes {
		for _, s := range steps {
			fmt.Fprintf(&b, "\n  %6.1f s  %-8s %s", s.at.Seconds(), laneNames[l], s.name)
		}
	}
	return b.String()
}
