package collector

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"footfall/scripts/torture.d/parts"
)

// run is one seed under way.
type run struct {
	s             settings
	r             *rand.Rand
	dir, topic    string
	spool         string
	listen, admin string
	c             *parts.Process
	o             *oracle
	t             *topic
	damaged       map[int]bool
	v             *verdict

	stopLoad, stopReading func()
}

const (
	rounds   = 4
	rssLimit = 512 << 20
)

func (x *run) all(ctx context.Context) (err error) {
	x.spool, x.damaged = filepath.Join(x.dir, "spool"), map[int]bool{}
	ports, err := parts.FreePorts(2)
	if err != nil {
		return err
	}
	x.listen, x.admin = ports[0], ports[1]
	if x.o, err = newOracle(filepath.Join(x.dir, "oracle"), "http://"+x.listen); err != nil {
		return err
	}
	defer x.o.file.Close()
	x.t = &topic{o: x.o, seen: map[int]int{}}
	if err := x.start(ctx, nil); err != nil {
		return err
	}
	x.beginReading(ctx)
	x.beginLoad(ctx)
	err = x.breakIt(ctx)
	x.stopLoad()
	err = errors.Join(err, x.heal(ctx))
	x.stopReading()
	x.judge()
	return err
}

// breakIt does the faults by turns, each from a share of the events on.
func (x *run) breakIt(ctx context.Context) error {
	for i := range rounds {
		if err := x.reach(ctx, int64(x.s.events*(i+1)/(rounds+1))); err != nil {
			return err
		}
		f := x.choose()
		x.v.Faults = append(x.v.Faults, f.name)
		if err := f.do(x, ctx); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if x.c.Running() {
			x.v.RSSMax = max(x.v.RSSMax, x.c.RSS())
			continue
		}
		if err := x.start(ctx, nil); err != nil {
			return fmt.Errorf("start after %s: %w", f.name, err)
		}
	}
	return x.reach(ctx, int64(x.s.events))
}

func (x *run) choose() fault {
	list := slices.DeleteFunc(faults(), func(f fault) bool { return !strings.HasPrefix(f.name, x.s.fault) })
	all := 0
	for _, f := range list {
		all += f.weight
	}
	for {
		n := x.r.IntN(all)
		for _, f := range list {
			if n -= f.weight; n >= 0 {
				continue
			}
			if f.root && os.Geteuid() != 0 {
				break
			}
			return f
		}
	}
}

// reach waits until that many events are acknowledged.
func (x *run) reach(ctx context.Context, n int64) error {
	for deadline := time.Now().Add(90 * time.Second); x.o.nAcked.Load() < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%d of %d events acknowledged in 90 s; health is %s: %s", x.o.nAcked.Load(), n,
				x.health(), x.c.Tail())
		}
	}
	return nil
}

// heal ends and starts the collector once more, sends one fresh event, and waits for
// all that was acknowledged.
func (x *run) heal(ctx context.Context) error {
	if x.c.Running() {
		x.v.RSSMax = max(x.v.RSSMax, x.c.RSS())
		if err := x.c.Terminate(shutdownMax); err != nil {
			return err
		}
	}
	if err := x.start(ctx, nil); err != nil {
		return err
	}
	if !x.o.send(ctx, http.DefaultClient, x.r) {
		return errors.New("a fresh event is not accepted after healing: " + x.c.Tail())
	}
	err := x.t.wait(ctx, 90*time.Second, x.damaged)
	x.v.RSSMax = max(x.v.RSSMax, x.c.RSS())
	if x.v.RSSMax > rssLimit {
		err = errors.Join(err, fmt.Errorf("the collector took %d MiB", x.v.RSSMax>>20))
	}
	return errors.Join(err, x.c.Terminate(shutdownMax))
}

func (x *run) judge() {
	x.v.Sent, x.v.Acknowledged = len(x.o.sent), int(x.o.nAcked.Load())
	x.v.Lost = x.t.missing(x.damaged)
	x.v.Invented, x.v.Altered, x.v.InTopic = x.t.invented, x.t.altered, len(x.t.seen)
	for _, n := range x.t.seen {
		if n > 1 {
			x.v.Doubled++
		}
	}
}

func (x *run) beginLoad(ctx context.Context) { x.stopLoad = x.o.load(ctx, x.r) }

func (x *run) beginReading(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { x.t.read(ctx, x.s.kafka.Seeds(), x.topic) })
	x.stopReading = func() { cancel(); wg.Wait() }
}

// clean ends what a failed seed left.
func (x *run) clean() {
	for _, stop := range []func(){x.stopLoad, x.stopReading} {
		if stop != nil {
			stop()
		}
	}
	if x.c != nil && x.c.Running() {
		x.c.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	x.s.kafka.DeleteTopic(ctx, x.topic)
}

// pause waits up to so many milliseconds, by chance.
func (x *run) pause(ctx context.Context, milliseconds int) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(50+x.r.IntN(milliseconds)) * time.Millisecond):
	}
}
