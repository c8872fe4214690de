package collector

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"footfall/failpoint"
	"footfall/scripts/torture.d/parts"
)

// fault is one way to break things. It is called under load with a running collector,
// and leaves one running, or none: then the next is started clean.
type fault struct {
	name   string
	weight int
	root   bool // needs to be root
	do     func(x *run, ctx context.Context) error
}

func faults() []fault {
	list := []fault{
		{"kill -9", 4, false, (*run).killed},
		{"SIGTERM under load", 2, false, (*run).terminated},
		{"SIGSTOP", 1, false, (*run).stopped},
		{"broker stalled", 2, false, (*run).stalled},
		{"broker killed", 1, false, (*run).brokerKilled},
		{"topic deleted", 1, false, (*run).topicDeleted},
		// strace counts calls by thread, and there are many.
		{"fsync EIO", 2, false, func(x *run, ctx context.Context) error {
			return x.injected(ctx, "fdatasync", fmt.Sprintf("error=EIO:when=%d+%d", 1+x.r.IntN(5), 3+x.r.IntN(30)), syncFailed)
		}},
		{"every fsync EIO", 1, false, func(x *run, ctx context.Context) error {
			return x.injected(ctx, "fdatasync,fsync", fmt.Sprintf("error=EIO:when=%d+", 5+x.r.IntN(10)), syncFailed)
		}},
		{"write ENOSPC", 2, false, func(x *run, ctx context.Context) error {
			return x.injected(ctx, "pwrite64", fmt.Sprintf("error=ENOSPC:when=%d+%d", 1+x.r.IntN(5), 3+x.r.IntN(30)), syncFailed)
		}},
		{"few file descriptors", 1, false, (*run).starved},
		{"full disk", 1, true, (*run).fullDisk},
		{"slow fsync", 1, false, func(x *run, ctx context.Context) error {
			return x.injected(ctx, "fdatasync", fmt.Sprintf("delay_enter=%dms:when=1+", 20+x.r.IntN(400)), slow)
		}},
		{"fsync hangs, SIGTERM", 1, false, (*run).hung},
		{"segment bit flipped", 1, false, damage(false, "flip")},
		{"segment page zeroed", 1, false, damage(false, "zero")},
		{"segment truncated", 1, false, damage(false, "truncate")},
		{"segment missing", 1, false, damage(false, "remove")},
		{"segment header damaged", 1, false, damage(false, "header")},
		{"segment header and page zeroed", 1, false, damage(false, "header and page")},
		{"last segment bit flipped", 1, false, damage(true, "flip")},
		{"last segment page zeroed", 1, false, damage(true, "zero")},
		{"last segment truncated", 1, false, damage(true, "truncate")},
		{"last segment header damaged", 1, false, damage(true, "header")},
		{"last segment header and page zeroed", 1, false, damage(true, "header and page")},
		{"clock jump", 1, false, (*run).clockJump},
		{"clock jump under rate limits", 2, false, (*run).clockJumpWithRates},
	}
	for _, place := range []string{failpoint.SpoolWritten, failpoint.SpoolSynced, failpoint.ForwardAcked} {
		list = append(list, fault{"kill -9 at " + place, 2, false,
			func(x *run, ctx context.Context) error { return x.failpoint(ctx, place) }})
	}
	return list
}

func (x *run) killed(ctx context.Context) error {
	x.pause(ctx, 600)
	x.c.Kill()
	return nil
}

func (x *run) terminated(ctx context.Context) error {
	x.pause(ctx, 600)
	return x.c.Terminate(shutdownMax)
}

func (x *run) stopped(ctx context.Context) error {
	x.c.Signal(syscall.SIGSTOP)
	x.pause(ctx, 3000)
	x.c.Signal(syscall.SIGCONT)
	x.pause(ctx, 400)
	return nil
}

// stalled leaves the broker without an answer for a while, then kills or keeps the
// collector.
func (x *run) stalled(ctx context.Context) error {
	release, err := x.s.kafka.Hold(1)
	if err != nil {
		return err
	}
	defer release()
	x.pause(ctx, 3000)
	if x.r.IntN(2) == 0 {
		x.c.Kill()
	}
	return nil
}

func (x *run) brokerKilled(ctx context.Context) error {
	for _, step := range []string{"kill", "start"} {
		if err := x.s.kafka.Do(ctx, step, 1); err != nil {
			return err
		}
		x.pause(ctx, 1000)
	}
	return nil
}

// topicDeleted waits until all that was acknowledged has been read: what a deleted
// topic takes along is not the collector's to keep.
func (x *run) topicDeleted(ctx context.Context) error {
	x.stopLoad()
	if err := x.t.wait(ctx, time.Minute, x.damaged); err != nil {
		return err
	}
	x.stopReading()
	if err := x.s.kafka.DeleteTopic(ctx, x.topic); err != nil {
		return fmt.Errorf("delete topic: %w", err)
	}
	x.beginReading(ctx)
	x.beginLoad(ctx)
	x.pause(ctx, 1000)
	return nil
}

// strace is the command that does something to system calls. It does nothing to calls that
// it does not trace.
func strace(calls, how string) []string {
	return []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls,
		"-e", "inject=" + calls + ":" + how}
}

// injected restarts the collector under strace, and makes sure that it was met.
func (x *run) injected(ctx context.Context, calls, how string, met func(*run) bool) error {
	x.c.Kill()
	if err := x.start(ctx, strace(calls, how)); err != nil {
		return err
	}
	x.pause(ctx, 2500)
	for deadline := time.Now().Add(20 * time.Second); !met(x) && x.c.Running(); wait(ctx, 50*time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("%s:%s did nothing to the collector", calls, how)
		}
	}
	x.c.Kill()
	return nil
}

func syncFailed(x *run) bool { return x.metric("footfall_spool_sync_failed_total") > 0 }

// slow reports whether an fsync took 18 ms; those of a good disk take less.
func slow(x *run) bool {
	return x.metric("footfall_spool_sync_seconds_count") > 0 &&
		x.seconds("footfall_spool_sync_seconds_sum")/float64(x.metric("footfall_spool_sync_seconds_count")) > 0.018
}

// hung ends a collector in order whose fsyncs do not come back.
func (x *run) hung(ctx context.Context) error {
	x.c.Kill()
	if err := x.start(ctx, strace("fdatasync", "delay_enter=60s:when="+strconv.Itoa(1+x.r.IntN(4))+"+")); err != nil {
		return err
	}
	for deadline := time.Now().Add(20 * time.Second); ; { // until nothing is acknowledged
		n := x.o.nAcked.Load()
		if wait(ctx, 2*time.Second); x.o.nAcked.Load() == n {
			break
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return errors.New("strace did not make the fsyncs hang")
		}
	}
	x.c.Signal(syscall.SIGTERM) // strace itself does not listen
	defer x.c.Kill()            // nor does it always see the end of a call that it delays
	for deadline := time.Now().Add(shutdownMax); !strings.Contains(x.c.Tail(), "the disk has not answered"); {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("a disk that hangs holds it for %s: %s", shutdownMax, x.c.Tail())
		}
		wait(ctx, 50*time.Millisecond)
	}
	return nil
}

func (x *run) failpoint(ctx context.Context, place string) error {
	x.c.Kill()
	if err := x.start(ctx, nil, fmt.Sprintf("FOOTFALL_TEST_FAILPOINT=%s:%d", place, 1+x.r.IntN(80))); err != nil {
		return err
	}
	select {
	case <-x.c.Done():
	case <-time.After(8 * time.Second): // too few hits came
		x.c.Kill()
	case <-ctx.Done():
	}
	return nil
}

func (x *run) starved(ctx context.Context) error {
	x.c.Kill()
	if err := x.start(ctx, []string{"bash", "-c", `ulimit -n 24; exec "$@"`, "-"}); err != nil {
		return err
	}
	x.pause(ctx, 2000)
	x.c.Kill()
	return nil
}

func (x *run) clockJump(ctx context.Context) error {
	x.c.Kill()
	jumps := []string{"1h", "-1h", "48h", "-48h", "-400000h"}
	if err := x.start(ctx, nil, "FOOTFALL_TEST_CLOCK="+jumps[x.r.IntN(len(jumps))]); err != nil {
		return err
	}
	x.pause(ctx, 1000)
	x.c.Kill()
	return nil
}

// clockJumpWithRates limits the load, lets the clock jump under it, and wants as much to
// come through afterwards as the limit says: neither nothing nor all.
func (x *run) clockJumpWithRates(ctx context.Context) error {
	x.c.Kill()
	const rate, after, watched = 400, 3 * time.Second, 3 * time.Second
	kind, flags := "site", []string{"--site-rate", strconv.Itoa(rate)}
	if x.r.IntN(2) == 0 {
		kind, flags = "address", []string{"--address-rate", strconv.Itoa(rate), "--trusted-proxies", "127.0.0.1/32"}
	}
	jumps := []string{"1h", "-1h", "48h", "-48h", "-400000h"}
	env := fmt.Sprintf("FOOTFALL_TEST_CLOCK=%s@%s", jumps[x.r.IntN(len(jumps))], after)
	began := time.Now()
	if err := x.startWith(ctx, nil, flags, env); err != nil {
		return err
	}
	wait(ctx, time.Until(began.Add(after+500*time.Millisecond)))
	// The burst has to be used up: ten seconds' worth, which eight clients send in one or two.
	refused := fmt.Sprintf("footfall_refused_total{reason=%q}", kind+"_rate")
	for deadline := time.Now().Add(30 * time.Second); x.metric(refused) <= 0; wait(ctx, 50*time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return fmt.Errorf("a limit of %d a second refuses nothing after %s", rate, env)
		}
	}
	from, acked := time.Now(), x.o.nAcked.Load()
	wait(ctx, watched)
	n, most := x.o.nAcked.Load()-acked, int64(rate*time.Since(from).Seconds())+clients*envelopeMax
	x.c.Kill()
	if n > most || n == 0 {
		return errors.Join(ctx.Err(), fmt.Errorf("a limit of %d a second lets %d events through in %s after %s",
			rate, n, watched, env))
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drain waits until little is left in the spool.
func (x *run) drain(ctx context.Context) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; {
		if files, _ := filepath.Glob(filepath.Join(x.spool, "*.seg")); len(files) <= 2 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.Join(ctx.Err(), errors.New("the spool is not passed on within a minute"))
}

// fullDisk moves the spool to a small disk until that is full, and back.
func (x *run) fullDisk(ctx context.Context) error {
	x.stopLoad()
	err := x.drain(ctx)
	x.beginLoad(ctx)
	if err != nil {
		return err
	}
	x.c.Kill()
	small := filepath.Join(x.dir, "small")
	if err := os.MkdirAll(small, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=120m"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	defer syscall.Unmount(small, syscall.MNT_DETACH)
	if err := copyDir(x.spool, small); err != nil {
		return err
	}
	filler := filepath.Join(small, "filler")
	if out, err := exec.Command("fallocate", "-l", strconv.Itoa(int(parts.Free(small)-20<<20)), filler).CombinedOutput(); err != nil {
		return fmt.Errorf("fill disk: %w: %s", err, out)
	}
	home := x.spool
	x.spool = small
	defer func() { x.spool = home }()
	release, err := x.s.kafka.Hold(1) // nothing leaves the spool meanwhile
	if err != nil {
		return err
	}
	defer release()
	if err := x.start(ctx, nil); err != nil {
		return err
	}
	x.pause(ctx, 4000)
	x.c.Kill()
	return replaceDir(small, home)
}
