package collector

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
		{"fsync EIO", 2, false, func(x *run, ctx context.Context) error {
			return x.injected(ctx, fmt.Sprintf("fdatasync:error=EIO:when=%d+%d", 3+x.r.IntN(40), 7+x.r.IntN(60)))
		}},
		{"every fsync EIO", 1, false, func(x *run, ctx context.Context) error {
			return x.injected(ctx, fmt.Sprintf("fdatasync,fsync:error=EIO:when=%d+", 5+x.r.IntN(40)))
		}},
		{"write ENOSPC", 2, false, func(x *run, ctx context.Context) error {
			return x.injected(ctx, fmt.Sprintf("pwrite64:error=ENOSPC:when=%d+%d", 3+x.r.IntN(40), 7+x.r.IntN(60)))
		}},
		{"few file descriptors", 1, false, (*run).starved},
		{"full disk", 1, true, (*run).fullDisk},
		{"segment bit flipped", 1, false, damage("flip")},
		{"segment page zeroed", 1, false, damage("zero")},
		{"segment truncated", 1, false, damage("truncate")},
		{"segment missing", 1, false, damage("remove")},
		{"clock jump", 1, false, (*run).clockJump},
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

// injected restarts the collector under strace, which makes system calls fail.
func (x *run) injected(ctx context.Context, what string) error {
	x.c.Kill()
	err := x.start(ctx, []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=none",
		"-e", "inject=" + what})
	if err != nil {
		return err
	}
	x.pause(ctx, 2500)
	x.c.Kill()
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
