package collector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"footfall/collector/spool"
	"footfall/event"
)

// groupBytesMax is the most that one damaged place may cost, or two of them when a page
// lies across two groups.
const groupBytesMax = 2 << 20

// damage destroys a part of the spool while Kafka is away, and takes from the oracle
// exactly what is gone. spool verify has to name each of these records, and a reader has to
// count them; only behind the last frame of the last file nobody can, and then the start
// has to say that it found something there.
func damage(last bool, how string) func(*run, context.Context) error {
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
		if err := x.destroy(last, how); err != nil {
			return err
		}
		after, err := x.scan()
		if err != nil {
			return err
		}
		missing, behind, err := x.account(before, after, how)
		if err != nil {
			return err
		}
		release()
		return x.counted(ctx, missing, behind)
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

// destroy damages a file. In the last one no zeros are written over its end: they are what
// stands there anyhow, and nobody can tell.
func (x *run) destroy(last bool, how string) error {
	infos, err := spool.Inspect(x.spool)
	if err != nil {
		return err
	}
	infos = slices.DeleteFunc(infos, func(i spool.SegmentInfo) bool { return i.Records == 0 })
	if len(infos) < 2 {
		return errors.New("too few segments to damage one")
	}
	info := infos[len(infos)-1]
	if !last {
		info = infos[x.r.IntN(len(infos)-1)]
	}
	path := filepath.Join(x.spool, info.File)
	size := info.Bytes
	at := headerBytes + x.r.Int64N(size-headerBytes)
	switch how {
	case "remove":
		return os.Remove(path)
	case "truncate":
		return os.Truncate(path, at)
	case "header":
		return overwrite(path, 0, x.r.Int64N(headerBytes)+1)
	case "header and page":
		return overwrite(path, 0, min(pageBytes, size-1))
	case "zero":
		if last {
			at = min(at, max(headerBytes, size-pageBytes-1))
		}
		return overwrite(path, at, min(pageBytes, size-at-1))
	}
	return flip(path, at, x.r.IntN(8))
}

const (
	headerBytes = 64
	pageBytes   = 4096
)

// overwrite writes zeros.
func overwrite(path string, at, n int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, n), at)
	return errors.Join(err, f.Close())
}

func flip(path string, at int64, bit int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	if err == nil {
		b[0] ^= 1 << bit
		_, err = f.WriteAt(b, at)
	}
	return errors.Join(err, f.Close())
}

// account compares what was there with what is left. missing is how many records a reader
// has to count from the watermark on, behind how many are gone behind the last frame.
func (x *run) account(before, after map[uint64]stored, how string) (missing, behind int, err error) {
	infos, err := spool.Inspect(x.spool)
	if err != nil {
		return 0, 0, err
	}
	next, err := x.watermark()
	if err != nil {
		return 0, 0, err
	}
	gone := map[uint64]bool{} // what a reader counts
	// Also what an earlier fault took in front of what is now the first file: a collector that
	// starts counts from its watermark, whatever the one before it has counted.
	for seq := next; next > 1 && seq < infos[0].First; seq++ {
		gone[seq] = true
	}
	var newest uint64
	for _, info := range infos {
		newest = max(newest, info.Last)
		for _, gap := range info.Missing {
			newest = max(newest, gap.To)
			for seq := gap.From; seq <= gap.To; seq++ {
				gone[seq] = true
			}
		}
	}
	bytes := 0
	for seq, r := range before {
		if _, left := after[seq]; left {
			continue
		}
		x.damaged[r.number] = true
		x.v.Damaged++
		bytes += r.bytes
		switch {
		case gone[seq]:
		case seq < infos[0].First: // verify cannot know of a first file; a reader can
			gone[seq] = true
		case seq > newest:
			behind++
		default:
			x.v.Unnamed++
		}
	}
	if how == "header" && bytes > 0 {
		return 0, 0, fmt.Errorf("a damaged header cost %d bytes of records", bytes)
	}
	if how != "remove" && how != "truncate" && bytes > groupBytesMax {
		return 0, 0, fmt.Errorf("%s cost %d bytes of records", how, bytes)
	}
	for seq := range gone {
		if seq >= next {
			missing++
		}
	}
	return missing, behind, nil
}

// watermark is the number of the first record that was not passed on, as the spool has it: 1
// as long as none was.
func (x *run) watermark() (uint64, error) {
	b, err := os.ReadFile(filepath.Join(x.spool, "watermark.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	var w struct {
		Next uint64 `json:"next_seq"`
	}
	return w.Next, json.Unmarshal(b, &w)
}

// counted starts the collector and waits until it has counted what is missing.
func (x *run) counted(ctx context.Context, missing, behind int) error {
	if err := x.start(ctx, nil); err != nil {
		return err
	}
	got := -1
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; {
		if err := x.drain(ctx); err != nil {
			return err
		}
		if got = x.metric("footfall_spool_missing_records_total"); got >= missing {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got != missing {
		return errors.Join(ctx.Err(), fmt.Errorf("%d records are missing from the watermark on, "+
			"and %d were counted: %s", missing, got, x.c.Tail()))
	}
	if cut := x.metric("footfall_spool_cut_bytes_total"); behind > 0 && cut <= 0 {
		return fmt.Errorf("%d records at the end of the last file are gone without a word", behind)
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
