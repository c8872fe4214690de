package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"footfall/collector/spool"
	"footfall/event"
)

// groupBytesMax is the most that one damaged place may cost, or two of them when a page
// lies across two groups.
const groupBytesMax = 2 << 20

// damage destroys a part of the spool while Kafka is away, and takes from the oracle
// exactly what is gone. spool verify has to name each of these records.
func damage(how string) func(*run, context.Context) error {
	return func(x *run, ctx context.Context) error {
		release, err := x.s.kafka.Hold(1)
		if err != nil {
			return err
		}
		defer release()
		if err := x.fillSegments(ctx); err != nil {
			return err
		}
		x.stopLoad()
		defer func() { x.beginLoad(ctx) }()
		x.c.Kill()
		before, err := x.scan()
		if err != nil {
			return err
		}
		if err := x.destroy(how); err != nil {
			return err
		}
		after, err := x.scan()
		if err != nil {
			return err
		}
		return x.account(before, after, how)
	}
}

// fillSegments waits until three files are there.
func (x *run) fillSegments(ctx context.Context) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		if files, _ := filepath.Glob(filepath.Join(x.spool, "*.seg")); len(files) >= 3 {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.Join(ctx.Err(), errors.New("no three segments in 30 s"))
}

type stored struct {
	number int // of the event
	bytes  int
}

// scan reads all records that a reader would get, by sequence number.
func (x *run) scan() (map[uint64]stored, error) {
	out := map[uint64]stored{}
	err := spool.Scan(x.spool, func(r spool.Record) error {
		var e struct{ Props struct{ N int } }
		_, value := event.SplitRecord(r.Payload)
		if err := json.Unmarshal(value, &e); err != nil {
			return err
		}
		out[r.Seq] = stored{e.Props.N, len(r.Payload)}
		return nil
	})
	return out, err
}

// destroy damages a file that is not the last: where the last one was torn, nobody can
// tell damage from a write that never ended.
func (x *run) destroy(how string) error {
	infos, err := spool.Inspect(x.spool)
	if err != nil || len(infos) < 2 {
		return errors.Join(err, errors.New("too few segments to damage one"))
	}
	info := infos[x.r.IntN(len(infos)-1)]
	path := filepath.Join(x.spool, info.File)
	if how == "remove" {
		return os.Remove(path)
	}
	size := info.Bytes
	at := 64 + x.r.Int64N(size-64)
	if how == "truncate" {
		return os.Truncate(path, at)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1)
	if how == "zero" {
		b = make([]byte, 4096)
	} else if _, err := f.ReadAt(b, at); err != nil {
		return err
	} else {
		b[0] ^= 1 << x.r.IntN(8)
	}
	_, err = f.WriteAt(b[:min(int64(len(b)), size-at)], at)
	return err
}

// account compares what was there with what is left.
func (x *run) account(before, after map[uint64]stored, how string) error {
	infos, err := spool.Inspect(x.spool)
	if err != nil {
		return err
	}
	named := func(seq uint64) bool {
		for _, info := range infos {
			for _, gap := range info.Missing {
				if seq >= gap.From && seq <= gap.To {
					return true
				}
			}
		}
		return false
	}
	first := infos[0].First
	bytes := 0
	for seq, r := range before {
		if _, left := after[seq]; left {
			continue
		}
		x.damaged[r.number] = true
		x.v.Damaged++
		bytes += r.bytes
		// Before the first file there may have been others: only a watermark can tell.
		if !named(seq) && seq >= first {
			x.v.Unnamed++
		}
	}
	if how != "remove" && how != "truncate" && bytes > groupBytesMax {
		return fmt.Errorf("%s cost %d bytes of records", how, bytes)
	}
	return nil
}

func copyDir(from, to string) error {
	out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}

// replaceDir puts the spool of one disk in the place of that of another.
func replaceDir(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(from, "filler")); err != nil {
		return err
	}
	return copyDir(from, to)
}
