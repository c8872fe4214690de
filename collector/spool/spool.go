// Package spool is the log on disk that makes a 2xx true: Append returns only when
// its records are fsynced, and every record comes out of a Reader, in order, until
// Release lets it go.
//
// A spool is a directory of segment files, each a header and groups: the records of
// one group commit followed by a commit frame with their checksum (segment.go has
// the bytes). One goroutine writes; while one fsync runs the next group gathers, so
// a thousand clients share a handful of fsyncs.
//
// When things go wrong:
//   - kill -9, power loss: what stands after the last commit frame was never
//     acknowledged and is cut at Open.
//   - a failed write or fsync: the waiting appends get the error, the file is not
//     written to again (after a failed fsync the kernel may have dropped the
//     pages), and the next group begins a new one.
//   - a segment that cannot be made: the append gets the error, and the segment before
//     it does not grow any more, because the file may turn up at a later start.
//   - a watermark ahead of the spool (an older copy of the directory was put back):
//     SkipTo goes on with numbers that no reader has passed.
//   - damaged bytes in the middle: the reader steps over them to the next intact
//     group and counts exactly which sequence numbers are missing. Nothing is wiped:
//     Release renames such a file to .corrupt instead of deleting it, and Warning says so.
//   - a damaged header: Open makes it again from the file's name and the files around it
//     (mend.go), so that the records behind it are read or counted like all others. A last
//     file that lost its header or its end is not written to any more, and the numbers go on
//     behind all that may have been given out in it.
//   - a disk that does not answer: Append waits for seconds, or until its context ends, and
//     Close for a bounded time.
//   - a file removed behind our back: readers go on with what is open of it, and the next
//     group begins a new one.
//   - full: at MaxBytes, or when the disk has less than MinFree, Append returns
//     ErrFull before anything is written.
//   - a second process on the directory: Open returns a LockedError with its pid.
//
// What a spool does not do: it does not know what its records mean, and it keeps no
// position for anybody but in the file that Watermark returns.
package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"footfall/event"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"
)

// Errors of Append. All mean that nothing was acknowledged.
var (
	ErrFull   = errors.New("spool is full")
	ErrBusy   = errors.New("too many appends are waiting for the disk")
	ErrHung   = errors.New("the disk does not answer")
	ErrClosed = errors.New("spool is closed")
	ErrTooBig = errors.New("append is larger than a segment")
)

// Options of a spool. Zero values mean the defaults named.
type Options struct {
	Dir          string        // made when missing, mode 0700
	SegmentBytes int64         // 16 MiB; size of one preallocated file
	MaxBytes     int64         // 1 GiB; of all segments together, at least two
	MinFree      int64         // 512 MiB; bytes the disk has to keep free, less than 0 for none
	Keep         time.Duration // 0; how long segments stay that were let go, as long as there is room
	Waiting      int           // 16,384; appends that may wait for the disk at once
	Logger       *slog.Logger  // required
	Metrics      *metrics.Set  // required
	DiskCheck    time.Duration // 1 s; how old the disk's free space may be

	disk disk // the machine's, but in tests
}

func (o *Options) defaults() {
	set := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	set(&o.SegmentBytes, 16<<20)
	set(&o.MaxBytes, 1<<30)
	set(&o.MinFree, 512<<20)
	if o.Waiting == 0 {
		o.Waiting = 16 << 10
	}
	if o.DiskCheck == 0 {
		o.DiskCheck = time.Second
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
}

// Spool is an open spool. Its methods are safe for concurrent use.
type Spool struct {
	o      Options
	id     event.UUID
	unlock func() error
	stats  stats

	queue  chan *pending
	closed chan struct{} // closed first: no append enters the queue any more
	done   chan struct{} // closed when the writer has ended
	enter  sync.RWMutex  // held for reading while entering the queue

	waiting atomic.Int64 // bytes of the appends in the queue

	found error // what Open met, for a person to look at

	answering atomic.Pointer[answering] // how the disk is doing

	looked time.Time // the writer's: when it last saw the file that it writes

	pendings sync.Pool // to be used again: each is answered once, and then nobody else has it

	mu       sync.Mutex
	grown    *sync.Cond // durable or the set of segments changed
	segments []*segment // oldest first; the last one is being written
	durable  uint64     // every record up to this number is on disk
	next     uint64     // numbers before it are not given out any more
	released uint64     // every record before it may go
	failed   error      // why the last group was not written; nil when it was
	failedAt time.Time
	stopping bool
	gaps     []gap // that readers met

	looking  sync.Mutex                // held by the one append that asks the disk, which may hang
	free     atomic.Int64              // bytes the disk had free at freeAsOf
	freeAsOf atomic.Pointer[time.Time] // nil: look at once
}

// answering is a time in which the disk answers, from Open or from the end of a hang on.
type answering struct {
	ended chan struct{} // closed when the disk hangs
	since time.Time     // when the group began that it hangs with; set before ended is closed
}

type stats struct {
	appended, groups, syncFailed, missing, aside, mended, cut *metrics.Counter
	syncSeconds                                               *metrics.PrometheusHistogram
}

// pending is one Append on its way to the disk.
type pending struct {
	records [][]byte
	bytes   int64  // framed
	skipTo  uint64 // not 0: no records, but a new segment that begins with this number
	done    chan error
}

// Open opens or makes the spool in a directory, locks it, and cuts what was never
// acknowledged from its end. Close it.
func Open(o Options) (*Spool, error) {
	o.defaults()
	if o.MaxBytes < 2*o.SegmentBytes {
		// The segment being written never goes: one alone would be full for good.
		return nil, fmt.Errorf("spool of %d bytes is too small: give it at least %d, two segments",
			o.MaxBytes, 2*o.SegmentBytes)
	}
	if err := MakeDir(o.Dir, 0o700); err != nil {
		return nil, unusable(o.Dir, err)
	}
	unlock, err := Lock(o.Dir)
	if err != nil {
		return nil, unusable(o.Dir, err)
	}
	s := &Spool{
		o: o, unlock: unlock,
		queue:  make(chan *pending, o.Waiting),
		closed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	s.grown = sync.NewCond(&s.mu)
	s.answering.Store(&answering{ended: make(chan struct{})})
	s.register()
	if err := s.recover(); err != nil {
		unlock()
		return nil, unusable(o.Dir, err)
	}
	go s.write()
	return s, nil
}

// unusable says what to do about a directory in which there can be no spool.
func unusable(dir string, err error) error {
	if _, ok := errors.AsType[*LockedError](err); ok {
		return err
	}
	advice := ""
	switch {
	case errors.Is(err, unix.EROFS):
		advice = ": mount it for writing, or choose another directory"
	case errors.Is(err, fs.ErrPermission):
		advice = fmt.Sprintf(": give it to user %d, or choose another directory", os.Geteuid())
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		advice = ": make room on its disk, or choose another directory"
	}
	return fmt.Errorf("open spool %s: %w%s", dir, err, advice)
}

func (s *Spool) register() {
	m := s.o.Metrics
	s.stats = stats{
		appended:    m.NewCounter("footfall_spool_records_total"),
		groups:      m.NewCounter("footfall_spool_commits_total"),
		syncFailed:  m.NewCounter("footfall_spool_sync_failed_total"),
		missing:     m.NewCounter("footfall_spool_missing_records_total"),
		aside:       m.NewCounter("footfall_spool_set_aside_segments_total"),
		mended:      m.NewCounter("footfall_spool_mended_headers_total"),
		cut:         m.NewCounter("footfall_spool_cut_bytes_total"),
		syncSeconds: m.NewPrometheusHistogramExt("footfall_spool_sync_seconds", syncBounds),
	}
	m.NewGauge("footfall_spool_bytes", func() float64 { return float64(s.Bytes()) })
	m.NewGauge("footfall_spool_fill_ratio", s.Fill)
}

// syncBounds go from a disk with a cache of its own to one that stands still.
var syncBounds = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}

// ID names this spool for as long as its directory lives.
func (s *Spool) ID() event.UUID { return s.id }

// Append puts records on disk, all or none, and returns when they are fsynced. The errors
// are those above, or the disk's own. It keeps nothing of the records, unless the disk does
// not answer for some seconds or until ctx ends: then it returns ErrHung or ctx's error, the
// records are the spool's for ever, and may be on disk later.
func (s *Spool) Append(ctx context.Context, records [][]byte) error {
	bytes := int64(0)
	for _, r := range records {
		bytes += recordHead + int64(len(r))
	}
	if headerSize+bytes+commitSize > s.o.SegmentBytes {
		return ErrTooBig
	}
	if err := s.room(bytes); err != nil {
		return err
	}
	return s.submit(ctx, records, bytes, 0)
}

// SkipTo makes next the number of the next record, when it would be a lower one. It
// is for a watermark that is ahead of the spool, as after an older copy of the
// directory was put back: readers from that watermark on would never see numbers
// that are given out a second time. Call it before the first append.
func (s *Spool) SkipTo(ctx context.Context, next uint64) error {
	s.mu.Lock()
	durable, first := s.durable, max(s.next, s.durable+1)
	s.mu.Unlock()
	if next <= first {
		return nil
	}
	s.o.Logger.Error("spool is older than its watermark: it goes on with later numbers",
		"durable", durable, "next", next)
	return s.submit(ctx, nil, 0, next)
}

// waitingMax bounds the memory of the appends that wait for a slow disk.
const waitingMax = 64 << 20

func (s *Spool) submit(ctx context.Context, records [][]byte, bytes int64, skipTo uint64) error {
	hung := s.answering.Load().ended
	defer s.waiting.Add(-bytes)
	if s.waiting.Add(bytes) > waitingMax {
		return ErrBusy
	}
	p, ok := s.pendings.Get().(*pending)
	if !ok {
		p = &pending{done: make(chan error, 1)}
	}
	p.records, p.bytes, p.skipTo = records, bytes, skipTo
	err := s.enqueue(p, hung)
	if err == nil {
		select {
		case err = <-p.done:
		case <-hung: // the writer has p still
			return ErrHung
		case <-ctx.Done(): // and here
			return fmt.Errorf("wait for the disk: %w", ctx.Err())
		}
	}
	p.records = nil
	s.pendings.Put(p)
	return err
}

func (s *Spool) enqueue(p *pending, hung <-chan struct{}) error {
	s.enter.RLock()
	defer s.enter.RUnlock()
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	select {
	case <-hung:
		return ErrHung
	default:
	}
	select {
	case s.queue <- p:
		return nil
	default:
		return ErrBusy
	}
}

// room refuses early what would not fit.
func (s *Spool) room(bytes int64) error {
	s.mu.Lock()
	active := s.segments[len(s.segments)-1]
	full := (active.broken || active.end+bytes+commitSize > s.o.SegmentBytes) && s.atMax()
	s.mu.Unlock()
	if full {
		return ErrFull
	}
	return s.diskRoom()
}

// atMax says that there can be no further segment, even if those that are only kept go.
// It is called with mu locked.
func (s *Spool) atMax() bool {
	return int64(len(s.segments)-s.kept()+1)*s.o.SegmentBytes > s.o.MaxBytes
}

// kept is the number of segments that nobody needs any more. It is called with mu locked.
func (s *Spool) kept() (n int) {
	for n+1 < len(s.segments) && s.segments[n+1].first <= s.released {
		n++
	}
	return n
}

// makeRoom deletes kept segments until another one fits.
func (s *Spool) makeRoom() error {
	return s.drop(func(*segment) bool { // with mu locked
		return int64(len(s.segments)+1)*s.o.SegmentBytes > s.o.MaxBytes
	})
}

// diskRoom goes by the figure of the last look, so that a disk that hangs holds one append,
// not all.
func (s *Spool) diskRoom() error {
	if s.o.MinFree < 0 {
		return nil
	}
	if at := s.freeAsOf.Load(); (at == nil || time.Since(*at) >= s.o.DiskCheck) && s.looking.TryLock() {
		free, err := diskFree(s.o.Dir)
		if err == nil {
			s.free.Store(free)
			s.freeAsOf.Store(new(time.Now()))
		}
		s.looking.Unlock()
		if err != nil {
			return fmt.Errorf("read free disk space: %w", err)
		}
	}
	if s.freeAsOf.Load() == nil || s.free.Load() >= s.o.MinFree {
		return nil
	}
	if s.o.Keep > 0 {
		s.freeAsOf.Store(nil) // look again: what is kept may be enough
		if err := s.drop(func(*segment) bool { return true }); err != nil {
			return err
		}
	}
	return ErrFull
}

// Bytes returns what the segments take on disk.
func (s *Spool) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.segments)) * s.o.SegmentBytes
}

// Durable returns the number of the newest record on disk; 0 for none.
func (s *Spool) Durable() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable
}

// failedFor is how long a failed write is news. Whoever takes a collector out of service
// because of it sends it no records by which to find that the disk is well again.
const failedFor = 5 * time.Second

// hangs is how long the disk may take for one group. Whoever waits longer gets ErrHung, and so
// does who comes until it has answered.
const hangs = 5 * time.Second

// Err says why the spool takes no records at present, or nil.
func (s *Spool) Err() error {
	now := s.answering.Load()
	select {
	case <-now.ended:
		return fmt.Errorf("the disk has not answered for %s", time.Since(now.since).Round(time.Second))
	default:
	}
	s.mu.Lock()
	failed := s.failed
	if time.Since(s.failedAt) > failedFor {
		failed = nil
	}
	s.mu.Unlock()
	if failed != nil {
		return failed
	}
	return s.room(recordRoom)
}

// warnShare of MaxBytes, and warnFree times MinFree, are where Warning begins.
const (
	warnShare = 0.8
	warnFree  = 2
)

// Fill returns how much of MaxBytes is in use by what is needed, 0 to 1.
func (s *Spool) Fill() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(int64(len(s.segments)-s.kept())*s.o.SegmentBytes) / float64(s.o.MaxBytes)
}

// Warning says what a person ought to look at although the spool takes records: that it
// is nearly full, that records were missing in it or are kept aside, or that Open found
// damage. It returns nil when all is well.
func (s *Spool) Warning() error {
	var errs []error
	if fill := s.Fill(); fill >= warnShare {
		errs = append(errs, fmt.Errorf("%.0f %% of %d bytes are in use", 100*fill, s.o.MaxBytes))
	}
	if free := s.free.Load(); s.freeAsOf.Load() != nil && free < warnFree*s.o.MinFree {
		errs = append(errs, fmt.Errorf("the disk has %d bytes free, at %d events are refused",
			free, s.o.MinFree))
	}
	if dead, err := ListDead(s.o.Dir); err != nil || len(dead) > 0 {
		errs = append(errs, err, fmt.Errorf("%d records that Kafka never takes are kept: see footfall spool dead", len(dead)))
	}
	errs = append(errs, s.found)
	s.mu.Lock()
	gaps := s.gaps
	s.mu.Unlock()
	if len(gaps) > 0 {
		last := gaps[len(gaps)-1]
		errs = append(errs, fmt.Errorf("%d records are missing since the start, lastly %d to %d: "+
			"see footfall spool verify, and the .corrupt files", s.stats.missing.Get(), last.from, last.to))
	}
	return errors.Join(errs...)
}

// gap is a range of records that ought to have been there.
type gap struct{ from, to uint64 }

// missing counts the records of a gap once, however often readers come to it.
func (s *Spool) missing(g gap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.gaps, g) {
		return
	}
	s.gaps = append(s.gaps, g)
	s.stats.missing.Add(int(g.to - g.from + 1))
	s.o.Logger.Error("records are missing in the spool", "from_seq", g.from, "to_seq", g.to)
}

// mark remembers that a segment is damaged.
func (s *Spool) mark(first uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		if g.first == first {
			g.damaged = true
		}
	}
}

// recordRoom is what Err takes for the room of one more group.
const recordRoom = 1 << 10

// Release lets go of every record before seq. Files are deleted whole, and after Keep, so
// some of those records may still be there at the next Open.
func (s *Spool) Release(seq uint64) error {
	s.mu.Lock()
	s.released = max(s.released, seq)
	s.mu.Unlock()
	return s.drop(func(g *segment) bool { return time.Since(g.wrote) >= s.o.Keep })
}

// drop deletes released segments from the oldest on, as long as they may go; it asks with
// mu locked.
func (s *Spool) drop(may func(*segment) bool) error {
	s.mu.Lock()
	var gone []*segment
	for s.kept() > 0 && may(s.segments[0]) {
		gone = append(gone, s.segments[0])
		s.segments = s.segments[1:]
	}
	s.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	// The watermark beside them, by which they may go, has to be on disk before they are
	// gone: an older one would call them missing.
	if err := s.o.disk.syncDir(s.o.Dir); err != nil {
		return err
	}
	var errs []error
	for _, g := range gone {
		if err := g.letGo(s.o.disk); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("let go of spool segment: %w", err))
		}
	}
	return errors.Join(append(errs, s.o.disk.syncDir(s.o.Dir))...)
}

// closeMax is how long Close waits for the disk.
const closeMax = 3 * time.Second

// Close writes what is queued, ends the readers with ErrClosed and unlocks the
// directory. Appends that come later get ErrClosed. Calling it again is harmless. When the
// disk does not answer for three seconds it gives up with an error: the lock and the files
// are then left to the end of the process.
func (s *Spool) Close() error {
	s.enter.Lock()
	first := false
	select {
	case <-s.closed:
	default:
		first = true
		close(s.closed)
		close(s.queue)
	}
	s.enter.Unlock()
	t := time.NewTimer(closeMax)
	defer t.Stop()
	var hung error
	select {
	case <-s.done:
	case <-t.C:
		hung = fmt.Errorf("close spool: the disk has not answered for %s", closeMax)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	s.grown.Broadcast()
	if !first || hung != nil {
		return hung
	}
	var errs []error
	for _, g := range s.segments {
		errs = append(errs, g.close())
	}
	return errors.Join(append(errs, s.unlock())...)
}
