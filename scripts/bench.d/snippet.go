package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/tabwriter"

	brotli "github.com/molecule-man/go-brrr"
)

type snippetSettings struct {
	bin, dir, json, plot string
	rounds               int
	noPeers              bool
	peers                fileFlags
}

// fileFlags are NAME=FILE, each time that the flag stands.
type fileFlags map[string]string

func (f fileFlags) String() string { return "" }

// Set adds one; package flag calls it.
func (f fileFlags) Set(s string) error {
	name, file, ok := strings.Cut(s, "=")
	if !ok || name == "" || file == "" {
		return errors.New("has to be NAME=FILE")
	}
	f[name] = file
	return nil
}

// tag is one side: a snippet as a page has it.
type tag struct {
	name, version string
	body          []byte // its file; none for the page without a tag
	head          string // what stands in the page's head
	ours          bool   // served by the collector
}

// plain is the page that all others are compared with.
const plain = "no tag"

// cost is what scripts/browser/measure.mjs says of one page; see there.
type cost struct {
	Eval          float64 `json:"eval"`
	Script        float64 `json:"script"`
	ScriptLater   float64 `json:"script_later"`
	Heap          float64 `json:"heap"`
	HeapLater     float64 `json:"heap_later"`
	Requests      int     `json:"requests"`
	Preflights    int     `json:"preflights"`
	Events        int     `json:"events"`
	Layouts       int     `json:"layouts"`
	LayoutsBefore int     `json:"layouts_before"`
	IntlBefore    int     `json:"intl_before"`
	Quiet         bool    `json:"quiet"`
}

func benchSnippet(ctx context.Context, args []string) error {
	s := snippetSettings{peers: fileFlags{}}
	f := flag.NewFlagSet("snippet", flag.ExitOnError)
	f.StringVar(&s.bin, "bin", "", "footfall")
	f.StringVar(&s.dir, "dir", "", "directory for everything")
	f.IntVar(&s.rounds, "rounds", 8, "turns of each side")
	f.BoolVar(&s.noPeers, "no-peers", false, "ours and --peer alone: nothing is fetched")
	f.Var(s.peers, "peer", "NAME=FILE: a snippet that is not on npm")
	f.StringVar(&s.json, "json", "", "file for the figures")
	f.StringVar(&s.plot, "plot", "", "file for a picture (SVG)")
	f.Parse(args)

	collector, err := server{name: "footfall", start: footfall}.run(settings{bin: s.bin, dir: s.dir})
	if err != nil {
		return err
	}
	defer collector.stop()
	b := &snippetBench{s: s, collector: "http://" + collector.addr, gate: newGate(), runs: map[string][]cost{}}
	return b.run(ctx)
}

type snippetBench struct {
	s         snippetSettings
	collector string
	gate      *gate
	tags      []tag
	runs      map[string][]cost
}

func (b *snippetBench) run(ctx context.Context) error {
	ours, err := b.ours()
	if err != nil {
		return err
	}
	peers, lacking, err := b.peers(ctx)
	if err != nil {
		return err
	}
	b.tags = append([]tag{{name: plain}, ours}, peers...)
	for i := range b.s.rounds {
		for j := range b.tags { // each begins a round once
			if err := b.turn(ctx, i, b.tags[(i+j)%len(b.tags)]); err != nil {
				return err
			}
		}
	}
	r := snippetReport{Lacking: lacking}
	for _, t := range b.tags[1:] {
		probe, err := b.measure(ctx, t, true)
		if err != nil {
			return err
		}
		row, err := b.row(t, probe)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, row)
	}
	r.Goals = r.goals()
	r.print(os.Stdout)
	if err := save(r, r.svg(), b.s.json, b.s.plot); err != nil {
		return err
	}
	for _, g := range r.Goals {
		if g.Verdict != "met" {
			return errors.New("a goal is not met, or the machine was too noisy to tell")
		}
	}
	return nil
}

// ours is the tag with the defaults, as the collector serves it.
func (b *snippetBench) ours() (tag, error) {
	answer, err := http.Get(b.collector + "/f.js")
	if err != nil {
		return tag{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		return tag{}, fmt.Errorf("read f.js: %w", err)
	}
	return tag{name: "footfall", version: "f.js", body: body, ours: true,
		head: `<script defer src="%ORIGIN%/f.js" data-site="demo"></script>`}, nil
}

// turn is one page of one side in one round.
func (b *snippetBench) turn(ctx context.Context, round int, t tag) error {
	var c cost
	quiet, err := b.gate.quiet(func() (err error) {
		c, err = b.measure(ctx, t, false)
		return err
	})
	if err != nil {
		return err
	}
	c.Quiet = quiet
	b.runs[t.name] = append(b.runs[t.name], c)
	fmt.Fprintf(os.Stderr, "round %d of %d: %-12s %5.0f ms script %s\n", round+1, b.s.rounds, t.name, c.Script, noisy(c.Quiet))
	return nil
}

func (b *snippetBench) measure(ctx context.Context, t tag, probe bool) (c cost, err error) {
	side := map[string]any{"head": t.head, "probe": probe}
	switch {
	case t.ours:
		side["collector"] = b.collector
	case t.body != nil:
		file := filepath.Join(b.s.dir, "script.js")
		if err := os.WriteFile(file, t.body, 0o644); err != nil {
			return c, err
		}
		side["script"] = file
	}
	argument, err := json.Marshal(side)
	if err != nil {
		return c, err
	}
	cmd := exec.CommandContext(ctx, "node", "scripts/browser/measure.mjs", string(argument))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &c)
	}
	if err != nil {
		return c, fmt.Errorf("measure %s: %w: %s", t.name, err, said.String())
	}
	if t.body != nil && (c.Events == 0 || c.Eval == 0) {
		return c, fmt.Errorf("measure %s: it ran for %.1f ms and sent %d events: it does not count this page",
			t.name, c.Eval, c.Events)
	}
	return c, nil
}

// spread is a median with the least and the most, of the pairs of the same round.
type spread struct {
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
}

func spreadOf(v []float64) spread { return spread{median(v), least(v), most(v)} }

// snippetRow is one line of the table. Times are in milliseconds with the CPU slowed down
// four times, heap in KiB; both are what the page with the tag has more than the page
// without.
type snippetRow struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Raw           int    `json:"raw"`
	Gzip          int    `json:"gzip"`
	Brotli        int    `json:"brotli"`
	Eval          spread `json:"eval"`
	Script        spread `json:"script"`
	ScriptLater   spread `json:"script_later"`
	Heap          spread `json:"heap"`
	HeapLater     spread `json:"heap_later"`
	Requests      int    `json:"requests"` // of a pageview and a leave, with the script
	Preflights    int    `json:"preflights"`
	Layouts       int    `json:"layouts"`
	LayoutsBefore int    `json:"layouts_before"` // before the first event is sent
	IntlBefore    int    `json:"intl_before"`
	Pairs         int    `json:"pairs"` // of quiet runs, which alone count
	Runs          []cost `json:"runs"`
}

func (b *snippetBench) row(t tag, probe cost) (snippetRow, error) {
	r := snippetRow{Name: t.name, Version: t.version, Raw: len(t.body), Runs: b.runs[t.name],
		Layouts: probe.Layouts, LayoutsBefore: probe.LayoutsBefore, IntlBefore: probe.IntlBefore}
	var err error
	if r.Gzip, r.Brotli, err = compressed(t.body); err != nil {
		return r, err
	}
	var eval, script, later, heap, heapLater []float64
	for i, c := range b.runs[t.name] {
		r.Requests, r.Preflights = max(r.Requests, c.Requests), max(r.Preflights, c.Preflights)
		bare := b.runs[plain][i]
		if !c.Quiet || !bare.Quiet {
			continue
		}
		eval = append(eval, c.Eval)
		script = append(script, c.Script-bare.Script)
		later = append(later, c.ScriptLater-bare.ScriptLater)
		heap = append(heap, (c.Heap-bare.Heap)/1024)
		heapLater = append(heapLater, (c.HeapLater-bare.HeapLater)/1024)
	}
	r.Pairs = len(eval)
	r.Eval, r.Script, r.ScriptLater = spreadOf(eval), spreadOf(script), spreadOf(later)
	r.Heap, r.HeapLater = spreadOf(heap), spreadOf(heapLater)
	return r, nil
}

func compressed(body []byte) (gz, br int, err error) {
	var zipped, brotlied bytes.Buffer
	z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return 0, 0, err
	}
	w, err := brotli.NewWriterOptions(&brotlied, 11, brotli.WriterOptions{LGWin: 24, SizeHint: uint(len(body))})
	if err != nil {
		return 0, 0, err
	}
	for _, c := range []io.WriteCloser{z, w} {
		if _, err := c.Write(body); err != nil {
			return 0, 0, err
		}
		if err := c.Close(); err != nil {
			return 0, 0, err
		}
	}
	return zipped.Len(), brotlied.Len(), nil
}

// snippetReport is everything that was measured.
type snippetReport struct {
	Rows    []snippetRow  `json:"snippets"`
	Goals   []snippetGoal `json:"goals"`
	Lacking []string      `json:"lacking"` // what could not be had, and why
}

// snippetGoal is a figure of ours that must not be higher.
type snippetGoal struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Goal    float64 `json:"goal"`
	Verdict string  `json:"verdict"`
}

func (r snippetReport) goals() (list []snippetGoal) {
	ours := r.Rows[0]
	timed := func(name string, s spread, goal float64) {
		verdict := "met"
		switch {
		case ours.Pairs < pairsWanted:
			verdict = "inconclusive"
		case s.Median > goal:
			verdict = "MISSED"
		}
		list = append(list, snippetGoal{name, s.Median, goal, verdict})
	}
	none := func(name string, n int) {
		list = append(list, snippetGoal{name, float64(n), 0, map[bool]string{true: "met", false: "MISSED"}[n == 0]})
	}
	timed("evaluation, ms", ours.Eval, 15)
	timed("all script, ms", ours.Script, 35)
	timed("heap, KiB", ours.Heap, 100)
	none("forced layouts before the first send", ours.LayoutsBefore)
	none("calls of Intl before the first send", ours.IntlBefore)
	none("preflights", ours.Preflights)
	return list
}

func (r snippetReport) print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nSNIPPET\tVERSION\tRAW\tGZ\tBR\tEVAL MS\tSCRIPT MS\tUNTIL 4 S\tHEAP KIB\tREQUESTS\tPREFLIGHTS\tLAYOUTS\tINTL\tQUIET PAIRS")
	for _, x := range r.Rows {
		of := func(s spread) string {
			if x.Pairs == 0 {
				return "noisy"
			}
			return fmt.Sprintf("%.0f (%.0f–%.0f)", s.Median, s.Least, s.Most)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d of %d\n", x.Name, x.Version, x.Raw, x.Gzip, x.Brotli,
			of(x.Eval), of(x.Script), of(x.ScriptLater), of(x.Heap), x.Requests, x.Preflights, x.LayoutsBefore, x.IntlBefore,
			x.Pairs, len(x.Runs))
	}
	fmt.Fprintln(w, "\nGOAL of ours\tMEDIAN\tMOST\tVERDICT")
	for _, g := range r.Goals {
		fmt.Fprintf(w, "%s\t%.1f\t%.0f\t%s\n", g.Name, g.Value, g.Goal, g.Verdict)
	}
	w.Flush()
	for _, l := range r.Lacking {
		fmt.Fprintln(out, "\nnot measured:", l)
	}
}
