package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// fdatasyncCost is the median of 500, in microseconds: what no group commit can beat.
func fdatasyncCost(dir string) float64 {
	f, err := os.Create(filepath.Join(dir, "fdatasync"))
	if err != nil {
		return 0
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var all []float64
	block := make([]byte, 4096)
	f.Truncate(500 * 4096)
	f.Sync()
	for i := range 500 {
		f.WriteAt(block, int64(i)*4096)
		began := time.Now()
		unix.Fdatasync(int(f.Fd()))
		all = append(all, float64(time.Since(began).Microseconds()))
	}
	return median(all)
}

// commit is what so many clients get at once.
type commit struct {
	Clients  int
	Rate     float64 // acknowledged beacons a second
	P50, P99 float64 // milliseconds
}

// beacon is the side of which more is asked than rounds.
var beacon = servers[3]

func commits(ctx context.Context, s settings) (all []commit, err error) {
	for _, n := range []int{1, 64, 1000, overloadClients} {
		l, _, err := once(ctx, s, beacon, n)
		if err != nil {
			return nil, err
		}
		all = append(all, commit{n, l.rate - l.failed, l.p50, l.p99})
	}
	return all, nil
}

func once(ctx context.Context, s settings, sv server, clients int) (l load, rss int64, err error) {
	r, err := sv.run(s)
	if err != nil {
		return l, 0, err
	}
	defer r.stop()
	l, err = sv.load(ctx, r, clients, s.seconds)
	return l, r.rssMax(), err
}

// allocations of one request's handler.
type allocations struct {
	Name        string
	Count       int
	Bytes       int
	Nanoseconds float64
}

func allocs(ctx context.Context) (all []allocations, err error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Beacon|Pixel", "-benchmem",
		"./collector").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 8 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		a := allocations{Name: strings.ToLower(strings.TrimPrefix(f[0], "Benchmark"))}
		a.Name, _, _ = strings.Cut(a.Name, "-")
		fmt.Sscan(f[2], &a.Nanoseconds)
		fmt.Sscan(f[4], &a.Bytes)
		fmt.Sscan(f[6], &a.Count)
		all = append(all, a)
	}
	if len(all) != 2 {
		return nil, fmt.Errorf("no benchmark in %s", out)
	}
	return all, nil
}
