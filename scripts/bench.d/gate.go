package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// gate tells whether the machine gave a run its cores. On shared machines a core stands
// still for seconds and nothing says so; a loop that only counts notices.
type gate struct{ best [2]float64 }

const (
	before = 0.88 // share of the best count so far that a run needs before it
	after  = 0.85 // and after it

	// A core that is taken away is gone for ten seconds and more (measured on such machines).
	// What shows for a second is what the run, or the one before, has left to do: a checkpoint,
	// a broker's collector of garbage.
	patience = 25 // looks before a run, of 0.2 s
	lookback = 5  // looks after it
	attempts = 3  // of a run, until the machine was quiet
)

// quiet does run between two quiet moments, some times over if it has to, and reports whether
// it was: the last run counts.
func (g *gate) quiet(run func() error) (quiet bool, err error) {
	for range attempts {
		first := g.looks(patience, before)
		if err := run(); err != nil {
			return false, err
		}
		if first && g.looks(lookback, after) {
			return true, nil
		}
	}
	return false, nil
}

// looks tells whether one of so many looks finds both cores free.
func (g *gate) looks(n int, share float64) bool {
	for range n {
		if g.share() >= share {
			return true
		}
	}
	return false
}

func newGate() *gate {
	g := &gate{}
	for range 5 {
		g.share()
	}
	return g
}

// share spins on both cores for a moment and returns the lesser share of the best.
func (g *gate) share() float64 {
	var counts [2]float64
	var wg sync.WaitGroup
	for cpu := range counts {
		wg.Go(func() { counts[cpu] = spin(cpu) })
	}
	wg.Wait()
	least := 1.0
	for cpu, n := range counts {
		g.best[cpu] = max(g.best[cpu], n)
		least = min(least, n/g.best[cpu])
	}
	return least
}

func spin(cpu int) (n float64) {
	runtime.LockOSThread() // and never unlocked: the thread ends with its affinity
	var set unix.CPUSet
	set.Set(cpu)
	unix.SchedSetaffinity(0, &set)
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); n++ {
		x := uint64(n)
		for range 1000 {
			x = x*6364136223846793005 + 1442695040888963407
		}
		spun.Store(x)
	}
	return n
}

// spun keeps the compiler from leaving the loop out.
var spun atomic.Uint64
