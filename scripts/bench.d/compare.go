package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// clients is how many connections the sides are compared with: enough that a server which
// waits for its disk has something else to do meanwhile.
const clients = 256

// kept is one run, and whether the machine was quiet.
type kept struct {
	load
	quiet bool
}

// rounds lets all sides run by turns.
func rounds(ctx context.Context, s settings, g *gate) (map[string][]kept, error) {
	runs := map[string][]kept{}
	for i := range s.rounds {
		for _, sv := range servers {
			var l *load
			quiet, err := g.quiet(func() (err error) {
				l, err = sv.once(ctx, s)
				return err
			})
			if sv.name == naiveName && ctx.Err() == nil && errors.Is(err, errNothing) {
				// It has threads without a bound, and sometimes gets nowhere.
				fmt.Fprintf(os.Stderr, "round %d of %d: %-17s does not count: %v\n", i+1, s.rounds, sv.name, err)
				runs[sv.name] = append(runs[sv.name], kept{})
				continue
			}
			if err != nil {
				return nil, err
			}
			if l == nil {
				continue
			}
			runs[sv.name] = append(runs[sv.name], kept{*l, quiet})
			fmt.Fprintf(os.Stderr, "round %d of %d: %-17s %9.0f/s %s\n", i+1, s.rounds, sv.name, l.rate, noisy(quiet))
		}
	}
	return runs, nil
}

// once starts the side, loads it and ends it, before anybody looks at the machine: the naive
// side is still busy with what it has accepted. It returns nil for a side that is left out.
func (sv server) once(ctx context.Context, s settings) (*load, error) {
	r, err := sv.run(s)
	if r == nil {
		return nil, err
	}
	defer r.stop()
	l, err := sv.load(ctx, r, clients, s.seconds)
	if err == nil && l.failed > 0 && ctx.Err() == nil {
		err = fmt.Errorf("%s: %.0f requests a second fail", sv.name, l.failed)
	}
	return &l, err
}

func noisy(quiet bool) string {
	if quiet {
		return ""
	}
	return "(noisy: does not count)"
}

// side is one of the servers by itself.
type side struct {
	Name              string  `json:"name"`
	Rate, Least, Most float64 // requests or rows a second
	Kept, All         int
}

// ratio is the median over pairs of the same round.
type ratio struct {
	Name        string  `json:"name"`
	Median      float64 `json:"median"`
	Least, Most float64
	Goal        float64 `json:"goal"`
	Pairs       int     `json:"pairs"`
	Wanted      int     `json:"wanted"`
}

func (r ratio) verdict() string {
	switch {
	case r.Pairs < r.Wanted:
		return "inconclusive"
	case r.Median < r.Goal:
		return "MISSED"
	}
	return "met"
}

// pairsWanted are the fewest that make a verdict.
const pairsWanted = 5

// comparison is a ratio of two sides that has to reach a goal.
type comparison struct {
	name, over, under string
	goal              float64
}

func compare(runs map[string][]kept, s settings) ([]side, []ratio) {
	var names []string
	for _, sv := range servers {
		names = append(names, sv.name)
	}
	return pairUp(runs, names, []comparison{
		{"pixel ÷ nginx empty_gif", "footfall pixel", "nginx empty_gif", 0.50},
		{"beacon after fsync ÷ nginx return 204", "footfall beacon", "nginx return 204", 0.38},
		{"beacon after fsync ÷ naive collector", "footfall beacon", naiveName, 40},
	})
}

// pairUp sums up the quiet runs of each side, and the pairs of the same round.
func pairUp(runs map[string][]kept, names []string, list []comparison) (sides []side, ratios []ratio) {
	for _, name := range names {
		var rates []float64
		for _, k := range runs[name] {
			if k.quiet {
				rates = append(rates, k.rate)
			}
		}
		if n := len(runs[name]); n > 0 {
			sides = append(sides, side{name, median(rates), least(rates), most(rates), len(rates), n})
		}
	}
	for _, c := range list {
		var all []float64
		for i := range min(len(runs[c.under]), len(runs[c.over])) {
			if over, under := runs[c.over][i], runs[c.under][i]; over.quiet && under.quiet {
				all = append(all, over.rate/under.rate)
			}
		}
		if len(runs[c.under]) > 0 && len(runs[c.over]) > 0 {
			ratios = append(ratios, ratio{c.name, median(all), least(all), most(all), c.goal, len(all),
				pairsWanted})
		}
	}
	return sides, ratios
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func least(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return slices.Min(v)
}

func most(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return slices.Max(v)
}

func printSides(w io.Writer, head string, sides []side, ratios []ratio) {
	fmt.Fprintf(w, "\n%s\tLEAST\tMOST\tQUIET RUNS\n", head)
	for _, s := range sides {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%d of %d\n", s.Name, s.Rate, s.Least, s.Most, s.Kept, s.All)
	}
	fmt.Fprintln(w, "\nRATIO, median of pairs\tMEDIAN\tLEAST\tMOST\tGOAL\tPAIRS\tVERDICT")
	for _, x := range ratios {
		fmt.Fprintf(w, "%s\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%s\n", x.Name, x.Median, x.Least, x.Most, x.Goal, x.Pairs, x.verdict())
	}
}

func (r report) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	printSides(w, fmt.Sprintf("SIDE, one core, %d connections\tREQUESTS/S", clients), r.Sides, r.Ratios)
	fmt.Fprintf(w, "\nGROUP COMMIT (fdatasync of 4 KiB: %.0f us)\tACKS/S\tP50 MS\tP99 MS\n", r.Fsync)
	for _, c := range r.Commits {
		fmt.Fprintf(w, "%d clients\t%.0f\t%.2f\t%.2f\n", c.Clients, c.Rate, c.P50, c.P99)
	}
	printOverload(w, r.Overload)
	fmt.Fprintln(w, "\nALLOCATIONS\tEACH\tBYTES\tNS (handler without disk)")
	for _, a := range r.Allocs {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.0f\n", a.Name, a.Count, a.Bytes, a.Nanoseconds)
	}
	w.Flush()
}

// allocsGoal is the most that an event may cost.
const allocsGoal = 2

func (r report) good() bool {
	ok := true
	for _, o := range r.Overload {
		ok = ok && o.good()
	}
	for _, x := range r.Ratios {
		ok = ok && x.verdict() == "met"
	}
	for _, a := range r.Allocs {
		ok = ok && a.Count <= allocsGoal
	}
	return ok
}
