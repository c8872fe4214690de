package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

func options(dir string) Options {
	return Options{Dir: dir, SegmentBytes: 4 << 10, MinFree: -1,
		Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()}
}

func open(t *testing.T, o Options) *Spool {
	t.Helper()
	o.Metrics = metrics.NewSet()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func add(t *testing.T, s *Spool, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if err := s.Append(t.Context(), [][]byte{payload(i)}); err != nil {
			t.Fatalf("Append %d: %v", i, err)
		}
	}
}

func payload(i int) []byte { return fmt.Appendf(nil, "record %04d %0100d", i, i) }

// readTo reads until the record with number last.
func readTo(t *testing.T, s *Spool, from, last uint64) []uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r := s.Reader(from)
	defer r.Close()
	var seqs []uint64
	for {
		rec, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("Next after %v: %v", seqs, err)
		}
		if want := string(payload(int(rec.Seq))); string(rec.Payload) != want {
			t.Fatalf("record %d is %q, want %q", rec.Seq, rec.Payload, want)
		}
		seqs = append(seqs, rec.Seq)
		if rec.Seq >= last {
			return seqs
		}
	}
}

func upTo(from, to uint64) (seqs []uint64) {
	for i := from; i <= to; i++ {
		seqs = append(seqs, i)
	}
	return seqs
}

func TestRecordsComeOutInOrderAcrossSegmentsAndRestarts(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 100)
	if got := readTo(t, s, 1, 100); !slices.Equal(got, upTo(1, 100)) {
		t.Fatalf("read %v", got)
	}
	id := s.ID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	if s.ID() != id {
		t.Errorf("id changed from %s to %s", id, s.ID())
	}
	add(t, s, 101, 130)
	if got := readTo(t, s, 57, 130); !slices.Equal(got, upTo(57, 130)) {
		t.Errorf("read %v", got)
	}
}

func TestReaderWaitsForWhatComes(t *testing.T) {
	t.Parallel()
	s := open(t, options(t.TempDir()))
	var got []uint64
	var wg sync.WaitGroup
	wg.Go(func() { got = readTo(t, s, 1, 80) })
	add(t, s, 1, 80)
	wg.Wait()
	if !slices.Equal(got, upTo(1, 80)) {
		t.Errorf("read %v", got)
	}
}

func TestManyAppendersShareCommitsAndLoseNothing(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.SegmentBytes = 64 << 10
	s := open(t, o)
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := range 20 {
				if err := s.Append(t.Context(), [][]byte{fmt.Appendf(nil, "%d/%d", w, i), []byte("second")}); err != nil {
					t.Errorf("Append: %v", err)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	r := s.Reader(1)
	defer r.Close()
	for range 2000 {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seen[string(rec.Payload)]++
	}
	if seen["second"] != 1000 || len(seen) != 1001 {
		t.Errorf("%d different payloads, %d times second; want 1001 and 1000", len(seen), seen["second"])
	}
	if n := s.stats.groups.Get(); n >= 1000 {
		t.Errorf("%d commits for 1000 appends: none were shared", n)
	}
}

// crash leaves the directory as a killed process would: nothing is closed in order.
func crash(t *testing.T, s *Spool) {
	t.Helper()
	if err := s.unlock(); err != nil {
		t.Fatal(err)
	}
	s.unlock = func() error { return nil }
}

func TestUnfinishedEndIsCutAndTheRestKept(t *testing.T) {
	t.Parallel()
	tails := map[string]func([]byte) []byte{
		"half a record":            func(b []byte) []byte { return b[:len(b)-commitSize-9] },
		"records without a commit": func(b []byte) []byte { return b[:len(b)-commitSize] },
		"half a commit":            func(b []byte) []byte { return b[:len(b)-commitSize/2] },
		"commit that fits nothing": func(b []byte) []byte {
			return append(b[:len(b)-commitSize], bytes.Repeat([]byte{0xaa}, commitSize)...)
		},
		"garbage": func([]byte) []byte { return []byte("\x10\x00\x00\x00garbage garbage") },
	}
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t.TempDir())
			s := open(t, o)
			add(t, s, 1, 5)
			g := s.segments[0]
			torn := tail(appendCommit(appendRecord(nil, 6, payload(999)), 6))
			if _, err := g.file.WriteAt(torn, g.end); err != nil {
				t.Fatal(err)
			}
			crash(t, s)
			s = open(t, o)
			if got := s.Durable(); got != 5 {
				t.Fatalf("durable is %d, want 5", got)
			}
			if n := s.stats.cut.Get(); n == 0 {
				t.Error("bytes were cut and not counted")
			}
			add(t, s, 6, 9)
			if got := readTo(t, s, 1, 9); !slices.Equal(got, upTo(1, 9)) {
				t.Errorf("read %v", got)
			}
		})
	}
}

func TestDamageIsSteppedOverAndCountedExactly(t *testing.T) {
	t.Parallel()
	for _, reopen := range []bool{false, true} {
		t.Run(fmt.Sprintf("reopen %v", reopen), func(t *testing.T) {
			t.Parallel()
			o := options(t.TempDir())
			s := open(t, o)
			add(t, s, 1, 100)
			// A flipped bit in the payload of the second record of the first segment.
			g := s.segments[0]
			at := int64(headerSize + recordHead + len(payload(1)) + commitSize + recordHead + 3)
			flip(t, g.path, at)
			if reopen {
				crash(t, s)
				s = open(t, o)
			}
			want := slices.Delete(upTo(1, 100), 1, 2)
			if got := readTo(t, s, 1, 100); !slices.Equal(got, want) {
				t.Errorf("read %v, want %v", got, want)
			}
			if n := s.stats.missing.Get(); n != 1 {
				t.Errorf("counted %d missing, want 1", n)
			}
		})
	}
}

func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func TestFullSpoolRefusesAndTakesAgainAfterRelease(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.MaxBytes = 3 * o.SegmentBytes
	s := open(t, o)
	n := 0
	var err error
	for ; err == nil && n < 1000; n++ {
		err = s.Append(t.Context(), [][]byte{payload(n + 1)})
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("after %d records: %v, want ErrFull", n, err)
	}
	if err := s.Err(); !errors.Is(err, ErrFull) {
		t.Errorf("Err is %v, want ErrFull", err)
	}
	if err := s.Release(s.Durable()); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), [][]byte{payload(int(s.Durable()) + 1)}); err != nil {
		t.Errorf("Append after Release: %v", err)
	}
	files, _ := filepath.Glob(filepath.Join(o.Dir, "*.seg"))
	if len(files) != 2 {
		t.Errorf("%d segment files, want 2", len(files))
	}
}

func TestDiskWithoutRoomRefuses(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.MinFree = 1 << 60
	if err := open(t, o).Append(t.Context(), [][]byte{payload(1)}); !errors.Is(err, ErrFull) {
		t.Errorf("Append: %v, want ErrFull", err)
	}
}

func TestSecondOpenSaysWhoHasTheDirectory(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	open(t, o)
	o.Metrics = metrics.NewSet()
	_, err := Open(o)
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || locked.PID != os.Getpid() {
		t.Errorf("second Open: %v, want a LockedError of pid %d", err, os.Getpid())
	}
}

func TestFailedWriteFailsTheAppendAndGoesOnInANewSegment(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 3)
	s.segments[0].file.Close() // every write to it fails from now on
	if err := s.Append(t.Context(), [][]byte{payload(4)}); err == nil {
		t.Fatal("Append to a closed file succeeded")
	}
	add(t, s, 5, 9) // number 4 is never used again
	want := append(upTo(1, 3), upTo(5, 9)...)
	if got := readTo(t, s, 1, 9); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if n := s.stats.missing.Get(); n != 0 {
		t.Errorf("counted %d missing: a refused record is not a lost one", n)
	}
	crash(t, s)
	s = open(t, o)
	if got := readTo(t, s, 1, 9); !slices.Equal(got, want) {
		t.Errorf("after a restart read %v, want %v", got, want)
	}
}

func TestRefusedGroupStaysRefusedAfterARestart(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 3)
	// The group reaches the disk, but its fsync does not succeed.
	g := s.segments[0]
	b := appendCommit(appendRecord(nil, 4, payload(4)), 4)
	if _, err := g.file.WriteAt(b, g.end); err != nil {
		t.Fatal(err)
	}
	s.abandon(g, errors.New("fsync failed"), 5)
	add(t, s, 5, 6)
	crash(t, s)
	s = open(t, o)
	if got, want := readTo(t, s, 1, 6), []uint64{1, 2, 3, 5, 6}; !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

func TestReaderTellsTheNumbersOfRefusedRecords(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 3)
	s.abandon(s.segments[0], errors.New("fsync failed"), 6) // numbers 4 and 5
	add(t, s, 6, 7)
	for _, restarted := range []bool{false, true} {
		if restarted {
			crash(t, s)
			s = open(t, o)
		}
		for _, from := range []uint64{2, 4} {
			r := s.Reader(from)
			for {
				rec, err := r.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				want := uint64(0)
				if rec.Seq == 6 {
					want = 2
				}
				if rec.Refused != want {
					t.Errorf("restarted %v: record %d tells of %d refused, want %d",
						restarted, rec.Seq, rec.Refused, want)
				}
				if rec.Seq == 7 {
					break
				}
			}
			r.Close()
		}
	}
}

func TestFailedWriteOfAFullSpoolIsOverWhenThereIsRoomAgain(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.MaxBytes = 2 * o.SegmentBytes
	s := open(t, o)
	n := 1
	for ; len(s.segments) < 2; n++ {
		add(t, s, n, n)
	}
	s.segments[1].file.Close()
	if err := s.Append(t.Context(), [][]byte{payload(n)}); err == nil {
		t.Fatal("Append to a closed file succeeded")
	}
	if err := s.Append(t.Context(), [][]byte{payload(n)}); !errors.Is(err, ErrFull) {
		t.Fatalf("Append without room for a new segment: %v, want ErrFull", err)
	}
	if s.Err() == nil {
		t.Error("Err is nil while nothing can be written")
	}
	s.Release(s.Durable())
	add(t, s, n+1, n+2)
	if err := s.Err(); err != nil {
		t.Errorf("Err is %v after an append succeeded", err)
	}
}

// sickDisk makes files whose fsync of data fails while it is sick.
type sickDisk struct {
	osDisk
	sick atomic.Bool
}

type sickFile struct {
	file
	disk *sickDisk
}

func (d *sickDisk) create(path string) (file, error) {
	f, err := d.osDisk.create(path)
	return sickFile{f, d}, err
}

func (f sickFile) dataSync() error {
	if f.disk.sick.Load() {
		return errors.New("input/output error")
	}
	return f.file.dataSync()
}

// Every failed group begins a segment of its own, in which there is nothing. They filled
// the spool for good.
func TestSegmentsGivenUpDoNotFillTheSpool(t *testing.T) {
	t.Parallel()
	disk := &sickDisk{}
	o := options(t.TempDir())
	o.MaxBytes, o.disk = 8*o.SegmentBytes, disk
	s := open(t, o)
	add(t, s, 1, 1)
	disk.sick.Store(true)
	for i := range 20 {
		if err := s.Append(t.Context(), [][]byte{payload(0)}); err == nil || errors.Is(err, ErrFull) {
			t.Fatalf("Append %d on the sick disk: %v, want its error", i, err)
		}
	}
	disk.sick.Store(false)
	if err := s.Append(t.Context(), [][]byte{payload(22)}); err != nil {
		t.Fatalf("Append on the disk that is well again: %v", err)
	}
	want := []uint64{1, 22}
	if got := readTo(t, s, 1, 22); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if n := s.stats.missing.Get(); n != 0 {
		t.Errorf("counted %d missing: refused records are no lost ones", n)
	}
	crash(t, s)
	s = open(t, o)
	if got := readTo(t, s, 1, 22); !slices.Equal(got, want) {
		t.Errorf("after a restart read %v, want %v", got, want)
	}
}

func TestNumbersBeforeAWatermarkAreNotGivenOutAgain(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 10)
	if err := s.SkipTo(t.Context(), 101); err != nil {
		t.Fatal(err)
	}
	if err := s.SkipTo(t.Context(), 50); err != nil { // already past it
		t.Fatal(err)
	}
	add(t, s, 101, 103)
	if got := readTo(t, s, 101, 103); !slices.Equal(got, upTo(101, 103)) {
		t.Errorf("read %v", got)
	}
	crash(t, s)
	s = open(t, o)
	add(t, s, 104, 105)
	if got := readTo(t, s, 1, 105); !slices.Equal(got, append(upTo(1, 10), upTo(101, 105)...)) {
		t.Errorf("after a restart read %v", got)
	}
	if n := s.stats.missing.Get(); n != 0 {
		t.Errorf("counted %d missing: numbers that were skipped are no records", n)
	}
}

func TestKillWhileASegmentIsMadeDoesNoHarm(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 5)
	for i, content := range [][]byte{{}, make([]byte, 20), make([]byte, o.SegmentBytes)} {
		path := segmentPath(o.Dir, 6)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		crash(t, s)
		s = open(t, o)
		if s.Durable() != 5 {
			t.Fatalf("content %d: durable is %d, want 5", i, s.Durable())
		}
	}
	add(t, s, 6, 60)
	if got := readTo(t, s, 1, 60); !slices.Equal(got, upTo(1, 60)) {
		t.Errorf("read %v", got)
	}
	if aside, _ := filepath.Glob(filepath.Join(o.Dir, "*.corrupt")); len(aside) != 3 {
		t.Errorf("set aside %v, want three files", aside)
	}
}

func TestADamagedByteOfACommitFrameCostsNothing(t *testing.T) {
	t.Parallel()
	size := int64(recordHead+len(payload(1))) + commitSize
	for _, group := range []int64{2, 10} { // in the middle, and the very last, which Open would cut
		for at := range int64(commitSize) {
			o := options(t.TempDir())
			s := open(t, o)
			add(t, s, 1, 10)
			crash(t, s)
			flip(t, segmentPath(o.Dir, 1), headerSize+group*size-commitSize+at)
			s = open(t, o)
			add(t, s, 11, 12)
			if got := readTo(t, s, 1, 12); !slices.Equal(got, upTo(1, 12)) {
				t.Errorf("group %d, byte %d of its frame: read %v", group, at, got)
			}
			if n := s.stats.missing.Get() + s.stats.cut.Get(); n != 0 {
				t.Errorf("group %d, byte %d of its frame: %d missing or cut", group, at, n)
			}
			s.Close()
		}
	}
}

func TestACommitFrameThatFitsNothingCostsItsOwnGroupOnly(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 10)
	group := int64(recordHead + len(payload(1)) + commitSize)
	for _, at := range []int64{5, 1} { // its length and checksum
		flip(t, s.segments[0].path, headerSize+2*group-at)
	}
	want := slices.Delete(upTo(1, 10), 1, 2)
	if got := readTo(t, s, 1, 10); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
	if n := s.stats.missing.Get(); n != 1 {
		t.Errorf("counted %d missing, want 1", n)
	}
}

func TestFilesRemovedWhileTheyAreInUseAreStillRead(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 60)
	paths, _ := filepath.Glob(filepath.Join(o.Dir, "*.seg"))
	if len(paths) < 2 {
		t.Fatalf("only %v", paths)
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if got := readTo(t, s, 1, 60); !slices.Equal(got, upTo(1, 60)) {
		t.Errorf("read %v", got)
	}
	time.Sleep(1100 * time.Millisecond) // the writer looks once a second
	add(t, s, 61, 63)
	if got := readTo(t, s, 1, 63); !slices.Equal(got, upTo(1, 63)) {
		t.Errorf("read %v", got)
	}
	if n := s.stats.missing.Get(); n != 0 {
		t.Errorf("counted %d missing", n)
	}
	if err := s.Release(61); err != nil {
		t.Errorf("Release: %v", err)
	}
	crash(t, s)
	s = open(t, o)
	if got := readTo(t, s, 61, 63); !slices.Equal(got, upTo(61, 63)) {
		t.Errorf("after a restart: %v", got)
	}
}

// The next segment must not have the name of the one that is let go.
func TestAnEmptySegmentThatWasRemovedTakesNoOtherWithIt(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	if err := os.Remove(segmentPath(o.Dir, 1)); err != nil {
		t.Fatal(err)
	}
	add(t, s, 2, 3) // number 1 is left out, with its name
	if err := s.Release(2); err != nil {
		t.Fatal(err)
	}
	crash(t, s)
	s = open(t, o)
	if got := readTo(t, s, 2, 3); !slices.Equal(got, upTo(2, 3)) {
		t.Errorf("after a restart: %v", got)
	}
	if n := s.stats.missing.Get(); n != 0 {
		t.Errorf("counted %d missing", n)
	}
}

func TestSpoolOfOneSegmentIsRefused(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.MaxBytes = 2*o.SegmentBytes - 1
	if s, err := Open(o); err == nil {
		s.Close()
		t.Error("a spool that would be full for good was opened")
	}
}

func TestDeadRecordIsKept(t *testing.T) {
	t.Parallel()
	s := open(t, options(t.TempDir()))
	if err := s.Warning(); err != nil {
		t.Errorf("without one: %v", err)
	}
	for range 2 { // again after a restart of the forwarder
		if err := s.KeepDead(7, []byte(`{"a":1}`)); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(s.o.Dir, "dead", s.ID().String()+"-7.json"))
	if err != nil || string(b) != "{\"a\":1}\n" {
		t.Errorf("%q, %v", b, err)
	}
	if err := s.Warning(); err == nil || !strings.HasPrefix(err.Error(), "1 records that Kafka never takes are kept") {
		t.Errorf("health: %v", err)
	}
}

func TestAppendLargerThanASegmentIsRefused(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	if err := s.Append(t.Context(), [][]byte{make([]byte, o.SegmentBytes)}); !errors.Is(err, ErrTooBig) {
		t.Errorf("Append: %v, want ErrTooBig", err)
	}
}

func TestCloseKeepsWhatWasAcknowledgedAndEndsReaders(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	var acked sync.Map
	var wg sync.WaitGroup
	for w := range 20 {
		wg.Go(func() {
			for i := 0; ; i++ {
				b := fmt.Appendf(nil, "%d/%d", w, i)
				if err := s.Append(t.Context(), [][]byte{b}); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Errorf("Append: %v", err)
					}
					return
				}
				acked.Store(string(b), true)
			}
		})
	}
	reading := make(chan error)
	go func() {
		r := s.Reader(1)
		defer r.Close()
		for {
			if _, err := r.Next(context.Background()); err != nil {
				reading <- err
				return
			}
		}
	}()
	for s.Durable() < 200 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := <-reading; !errors.Is(err, ErrClosed) {
		t.Errorf("reader ended with %v, want ErrClosed", err)
	}
	s = open(t, o)
	found := map[string]bool{}
	r := s.Reader(1)
	defer r.Close()
	for range s.Durable() {
		rec, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found[string(rec.Payload)] = true
	}
	acked.Range(func(k, _ any) bool {
		if !found[k.(string)] {
			t.Errorf("%s was acknowledged and is gone", k)
		}
		return true
	})
}

func TestWatermarkIsOfItsOwnSpool(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	w := s.Watermark()
	if n, err := w.Load(t.Context()); n != 1 || err != nil {
		t.Errorf("Load of a new spool: %d, %v; want 1", n, err)
	}
	if err := w.Store(t.Context(), 42); err != nil {
		t.Fatal(err)
	}
	if n, err := w.Load(t.Context()); n != 42 || err != nil {
		t.Errorf("Load: %d, %v; want 42", n, err)
	}
	other := open(t, options(t.TempDir())).Watermark()
	other.path = w.path
	if n, err := other.Load(t.Context()); n != 1 || err != nil {
		t.Errorf("Load of another spool's file: %d, %v; want 1", n, err)
	}
}

// A full disk has no room for a second file; only a watermark makes room.
func TestAWatermarkIsStoredOnAFullDisk(t *testing.T) {
	t.Parallel()
	s := open(t, options(t.TempDir()))
	w := s.Watermark()
	for _, next := range []uint64{123456, 7, 99, 1 << 60} {
		if err := w.Store(t.Context(), next); err != nil {
			t.Fatalf("store %d: %v", next, err)
		}
		if n, err := w.Load(t.Context()); n != next || err != nil {
			t.Errorf("Load: %d, %v; want %d", n, err, next)
		}
		if err := os.Symlink("/dev/full", w.path+".tmp"); err != nil {
			t.Fatal(err)
		}
	}
	other := open(t, options(t.TempDir())).Watermark()
	if err := os.Symlink("/dev/full", other.path+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := other.Store(t.Context(), 5); err == nil {
		t.Error("a first watermark was stored where there is no room for it")
	}
}

func FuzzGroup(f *testing.F) {
	f.Add(appendCommit(appendRecord(appendRecord(nil, 7, []byte("a")), 8, []byte("bc")), 8))
	f.Add([]byte("\xff\xff\xff\xff garbage"))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, last, size := group(b)
		if size > len(b) {
			t.Fatalf("group is %d bytes of %d", size, len(b))
		}
		if size > 0 {
			var again []byte
			for _, r := range records {
				again = appendRecord(again, r.Seq, r.Payload)
			}
			if again = appendCommit(again, last); string(again) != string(b[:size]) {
				t.Fatalf("group does not encode to itself")
			}
		}
		if after, _ := resync(b); after > len(b) {
			t.Fatalf("resync to %d of %d", after, len(b))
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, clients := range []int{1, 64, 1000} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			s, err := Open(Options{Dir: b.TempDir(), MinFree: -1, MaxBytes: 1 << 40,
				Logger: slog.New(slog.DiscardHandler), Metrics: metrics.NewSet()})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			record := [][]byte{make([]byte, 900)}
			var wg sync.WaitGroup
			per := b.N/clients + 1
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					for range per {
						if err := s.Append(b.Context(), record); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(per*clients)/b.Elapsed().Seconds(), "acks/s")
		})
	}
}

// stubborn is a disk on which one segment cannot be made and its file cannot be removed.
type stubborn struct {
	osDisk
	fail bool
}

type stubbornFile struct{ file }

func (stubbornFile) Sync() error { return errors.New("input/output error") }

func (d *stubborn) create(path string) (file, error) {
	f, err := d.osDisk.create(path)
	if d.fail && err == nil {
		d.fail = false
		return stubbornFile{f}, nil
	}
	return f, err
}

func (d *stubborn) remove(string) error { return errors.New("input/output error") }

func TestSegmentThatCouldNotBeMadeHidesNoRecordLater(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	d := &stubborn{}
	o.disk = d
	s := open(t, o)
	add(t, s, 1, 20)
	d.fail = true
	if err := s.Append(t.Context(), [][]byte{make([]byte, 3<<10)}); err == nil { // needs a new segment
		t.Fatal("Append succeeded without a segment")
	}
	add(t, s, int(s.next), int(s.next)) // would have fitted the old one
	last := s.Durable()
	crash(t, s)
	s = open(t, o)
	if got := readTo(t, s, 1, last); !slices.Equal(got, append(upTo(1, 20), last)) {
		t.Errorf("read %v", got)
	}
}
