package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"
)

// overload is what becomes of five times as many beacons as the collector can take, or as
// a site may send. They come when they are due, whatever became of those before, as
// strangers do; a rate that only follows the answers would never be too high. What the
// generator's core and its bounded connections do not get sent is told.
type overload struct {
	Name      string
	Limit     float64 // beacons a second: what there is place for
	Least     float64 // to be sent for a verdict, as a multiple of Limit
	Offered   float64 // sent, as a multiple of Limit
	Due       float64 // wanted, as a multiple of Limit
	Goodput   float64 // answered 2xx, as a share of Limit
	Refused   float64 // 429 and 503 a second
	Failed    float64 // answered otherwise or not at all, a second
	RefuseP50 float64 // milliseconds from when they were due, of those refused
	RefuseP99 float64
	AckP99    float64 // of those accepted
	RSSMax    int64
}

const (
	overloadTimes   = 5
	overloadClients = 5000
	siteRate        = 1000 // beacons a second, far below what a core can take
)

// overloaded measures both, the first beside a capacity of the same minute and of as many
// connections: what thousands of them cost by themselves is no overload (GROUP COMMIT has it).
func overloaded(ctx context.Context, s settings) (all []overload, err error) {
	var cores, rates []overload
	for range 3 {
		most, _, err := once(ctx, s, beacon, overloadClients)
		if err != nil {
			return nil, err
		}
		o, err := flood(ctx, s, beacon, "a core's capacity", most.rate-most.failed)
		if err != nil {
			return nil, err
		}
		o.Least = leastOfCore
		cores = append(cores, o)
		limited := beacon
		limited.start = func(s settings, dir, port string) *exec.Cmd {
			cmd := footfall(s, dir, port)
			cmd.Args = append(cmd.Args, "--site-rate", strconv.Itoa(siteRate))
			return cmd
		}
		if o, err = flood(ctx, s, limited, "a site's rate", siteRate); err != nil {
			return nil, err
		}
		o.Least = leastOfRate
		rates = append(rates, o)
	}
	return []overload{middle(cores), middle(rates)}, nil
}

// Goals under overload.
const (
	goodputGoal = 0.9 // of what there is place for
	refusalGoal = 50  // milliseconds, of 99 in a hundred refusals
	rssGoal     = 256 << 20
)

// A core of load cannot send much more than a core of collector takes: at that limit the
// verdict is for as much as it can.
const (
	leastOfCore = 0.9
	leastOfRate = 0.9 * overloadTimes
)

func (o overload) good() bool {
	return o.Offered >= o.Least && o.Goodput >= goodputGoal && o.RefuseP99 <= refusalGoal && o.RSSMax <= rssGoal
}

func printOverload(w io.Writer, all []overload) {
	fmt.Fprintf(w, "\nOVERLOAD, %d times as much\tPLACE FOR/S\tSENT\tGOODPUT\tREFUSED/S\tP50 MS\tP99 MS\tFAILED/S\tACK P99 MS\tMOST MEMORY\n", overloadTimes)
	for _, o := range all {
		fmt.Fprintf(w, "%s\t%.0f\t%.1f times\t%.0f %%\t%.0f\t%.1f\t%.1f\t%.1f\t%.0f\t%d MiB\n", o.Name, o.Limit, o.Offered,
			100*o.Goodput, o.Refused, o.RefuseP50, o.RefuseP99, o.Failed, o.AckP99, o.RSSMax>>20)
	}
}

// middle is the run with the median goodput, and the most memory of all.
func middle(runs []overload) overload {
	slices.SortFunc(runs, func(a, b overload) int { return int(1e6 * (a.Goodput - b.Goodput)) })
	o := runs[len(runs)/2]
	for _, r := range runs {
		o.RSSMax = max(o.RSSMax, r.RSSMax)
	}
	return o
}

// flood sends overloadTimes the limit from a generator with a core of its own.
func flood(ctx context.Context, s settings, sv server, name string, limit float64) (o overload, err error) {
	r, err := sv.run(s)
	if err != nil {
		return o, err
	}
	defer r.stop()
	self, err := os.Executable()
	if err != nil {
		return o, err
	}
	cmd := exec.CommandContext(ctx, "taskset", "-c", "1", self, "generate", r.addr,
		strconv.Itoa(int(overloadTimes*limit)), strconv.Itoa(overloadClients), strconv.Itoa(s.seconds))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return o, fmt.Errorf("generate load: %w", err)
	}
	var g generated
	if err := json.Unmarshal(out, &g); err != nil {
		return o, fmt.Errorf("read the generator's answer: %w", err)
	}
	seconds := float64(s.seconds)
	return overload{Name: name, Limit: limit, Offered: g.Sent / seconds / limit, Due: g.Due / seconds / limit,
		Goodput: g.Accepted / seconds / limit, Refused: g.Refused / seconds, Failed: g.Failed / seconds,
		RefuseP50: g.RefuseP50, RefuseP99: g.RefuseP99, AckP99: g.AckP99, RSSMax: r.rssMax()}, nil
}

// generated is what a generator saw.
type generated struct {
	Due, Sent, Accepted, Refused, Failed float64
	RefuseP50, RefuseP99, AckP99         float64 // milliseconds from when they were due
}

// floodUp is not measured: connections are made, and a site's burst, ten seconds' worth, is
// used up.
const floodUp = 4 * time.Second

// generatorMain is bench generate ADDRESS RATE CONNECTIONS SECONDS.
func generatorMain(_ context.Context, args []string) error {
	var n [3]int
	for i := range n {
		var err error
		if n[i], err = strconv.Atoi(args[i+1]); err != nil {
			return err
		}
	}
	return generate(args[0], n[0], n[1], n[2])
}

// overloadMain measures nothing else.
func overloadMain(ctx context.Context, args []string) error {
	var s settings
	f := flag.NewFlagSet("overload", flag.ContinueOnError)
	f.StringVar(&s.bin, "bin", "", "footfall")
	f.StringVar(&s.dir, "dir", "", "directory for everything")
	f.IntVar(&s.seconds, "seconds", 3, "length of a run")
	if err := f.Parse(args); err != nil {
		return err
	}
	all, err := overloaded(ctx, s)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	printOverload(w, all)
	w.Flush()
	for _, o := range all {
		if !o.good() {
			return fmt.Errorf("%s: a goal is not met", o.Name)
		}
	}
	return nil
}

// generate sends beacons to addr at a rate, over so many connections at most, and prints
// what became of those that were due after floodUp.
func generate(addr string, rate, conns, seconds int) error {
	due := make(chan time.Time, 64)
	var all []*sender
	var wg sync.WaitGroup
	measure := time.Now().Add(floodUp)
	for range conns {
		x := &sender{addr: addr, from: measure}
		all = append(all, x)
		wg.Go(func() { x.run(due) })
	}
	var wanted, sent atomic.Int64
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := measure.Add(time.Duration(seconds) * time.Second)
	owed, last := 0.0, time.Now()
	for now := last; now.Before(end); now = <-tick.C {
		owed += now.Sub(last).Seconds() * float64(rate)
		last = now
		for ; owed >= 1; owed-- {
			at := time.Now()
			if at.After(measure) {
				wanted.Add(1)
			}
			select {
			case due <- at:
				if at.After(measure) {
					sent.Add(1)
				}
			default: // no connection is free
			}
		}
	}
	close(due)
	wg.Wait()
	g := generated{Due: float64(wanted.Load()), Sent: float64(sent.Load())}
	var acks, refusals []float64
	for _, x := range all {
		acks, refusals = append(acks, x.acks...), append(refusals, x.refusals...)
		g.Failed += float64(x.failed)
	}
	g.Accepted, g.Refused = float64(len(acks)), float64(len(refusals))
	g.RefuseP50, g.RefuseP99, g.AckP99 = quantile(refusals, .5), quantile(refusals, .99), quantile(acks, .99)
	return json.NewEncoder(os.Stdout).Encode(g)
}

// sender has one connection, and one beacon under way on it at most.
type sender struct {
	addr           string
	from           time.Time
	conn           net.Conn
	in             *bufio.Reader
	acks, refusals []float64
	failed         int
}

func (x *sender) run(due <-chan time.Time) {
	request := beaconRequest()
	for at := range due {
		status, err := x.send(request)
		if err != nil || status/100 != 2 && status != 429 && status != 503 {
			if x.conn != nil {
				x.conn.Close()
				x.conn = nil
			}
			if at.After(x.from) {
				x.failed++
			}
			continue
		}
		if !at.After(x.from) {
			continue
		}
		ms := float64(time.Since(at)) / float64(time.Millisecond)
		if status/100 == 2 {
			x.acks = append(x.acks, ms)
		} else {
			x.refusals = append(x.refusals, ms)
		}
	}
	if x.conn != nil {
		x.conn.Close()
	}
}

// send reads just enough of an answer to know where it ends.
func (x *sender) send(request []byte) (status int, err error) {
	if x.conn == nil {
		if x.conn, err = net.DialTimeout("tcp", x.addr, 10*time.Second); err != nil {
			x.conn = nil
			return 0, err
		}
		x.in = bufio.NewReaderSize(x.conn, 1<<10)
	}
	x.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := x.conn.Write(request); err != nil {
		return 0, err
	}
	length, closing := 0, false
	for first := true; ; first = false {
		line, err := x.in.ReadSlice('\n')
		switch {
		case err != nil:
			return 0, err
		case first:
			if len(line) < 12 {
				return 0, io.ErrUnexpectedEOF
			}
			if status, err = strconv.Atoi(string(line[9:12])); err != nil {
				return 0, err
			}
		case len(line) <= 2:
			_, err := x.in.Discard(length)
			if closing { // after its thousandth request, or turned away
				x.conn.Close()
				x.conn = nil
			}
			return status, err
		case bytes.HasPrefix(line, []byte("Content-Length: ")):
			length, _ = strconv.Atoi(string(bytes.TrimSpace(line[16:])))
		case bytes.HasPrefix(line, []byte("Connection: close")):
			closing = true
		}
	}
}

// beaconRequest is what wrk sends too.
func beaconRequest() []byte {
	body := beaconBody()
	return fmt.Appendf(nil, "POST /e HTTP/1.1\r\nHost: c.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) "+
		"Gecko/20100101 Firefox/143.0\r\nAccept: */*\r\nAccept-Language: de-DE,de;q=0.8,en;q=0.5\r\n"+
		"Accept-Encoding: gzip, deflate, br\r\nReferer: https://shop.example/\r\nOrigin: https://shop.example\r\n"+
		"X-Forwarded-For: 8.8.8.8\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}
