package spool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// powerDisk is a disk that knows which bytes and which names were synced. What was not
// may be lost, in any part, when the power goes; a killed process loses none of it. It
// does at most left operations.
type powerDisk struct {
	mu     sync.Mutex
	rng    *rand.Rand
	left   int
	eio    bool              // an fsync fails now and then, and its bytes may be gone
	names  map[string]*inode // on disk for sure
	live   map[string]*inode // as a process sees them
	unsure []func(map[string]*inode)
}

type inode struct {
	sure   []byte
	unsure []change
}

// change is a write, or a new length when b is nil.
type change struct {
	at int64
	b  []byte
}

var errOff = errors.New("power is off")

// do counts an operation. The last one may have begun: it is done, and yet fails.
func (d *powerDisk) do(op func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	if d.left < 0 && (d.left < -1 || d.rng.IntN(2) == 0) {
		return errOff
	}
	if err := op(); err != nil || d.left >= 0 {
		return err
	}
	return errOff
}

func (d *powerDisk) rename(from, to string) error {
	return d.do(func() error {
		ino := d.live[filepath.Base(from)]
		d.name(func(m map[string]*inode) {
			delete(m, filepath.Base(from))
			m[filepath.Base(to)] = ino
		})
		return os.Rename(from, to)
	})
}

func (d *powerDisk) name(change func(map[string]*inode)) {
	change(d.live)
	d.unsure = append(d.unsure, change)
}

func (d *powerDisk) remove(path string) error {
	return d.do(func() error {
		d.name(func(m map[string]*inode) { delete(m, filepath.Base(path)) })
		return os.Remove(path)
	})
}

func (d *powerDisk) create(path string) (f file, err error) {
	err = d.do(func() error {
		real, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		ino := &inode{}
		d.name(func(m map[string]*inode) { m[filepath.Base(path)] = ino })
		f = &powerFile{real, d, ino}
		return nil
	})
	return f, err
}

func (d *powerDisk) open(path string) (file, error) {
	real, err := os.OpenFile(path, os.O_RDWR, 0)
	return &powerFile{real, d, d.live[filepath.Base(path)]}, err
}

func (d *powerDisk) syncDir(string) error {
	return d.do(func() error {
		d.names, d.unsure = maps.Clone(d.live), nil
		return nil
	})
}

type powerFile struct {
	*os.File
	d   *powerDisk
	ino *inode
}

func (f *powerFile) WriteAt(b []byte, at int64) (n int, err error) {
	err = f.d.do(func() error {
		f.ino.unsure = append(f.ino.unsure, change{at, slices.Clone(b)})
		n, err = f.File.WriteAt(b, at)
		return err
	})
	return n, err
}

func (f *powerFile) Truncate(size int64) error {
	return f.d.do(func() error {
		f.ino.unsure = append(f.ino.unsure, change{at: size})
		return f.File.Truncate(size)
	})
}

func (f *powerFile) reserve(size int64) error { return f.Truncate(size) }
func (f *powerFile) dataSync() error          { return f.Sync() }

func (f *powerFile) Sync() error {
	return f.d.do(func() error {
		if f.d.eio && f.d.rng.IntN(12) == 0 {
			f.ino.sure, f.ino.unsure = f.ino.remains(f.d.rng), nil
			return errors.New("input/output error")
		}
		for _, c := range f.ino.unsure {
			f.ino.sure = c.apply(f.ino.sure)
		}
		f.ino.unsure = nil
		return nil
	})
}

func (c change) apply(b []byte) []byte {
	end := c.at + int64(len(c.b))
	if int64(len(b)) < end {
		b = append(b, make([]byte, end-int64(len(b)))...)
	}
	if c.b == nil {
		return b[:end]
	}
	copy(b[c.at:], c.b)
	return b
}

// remains is what a file holds after the power went: any sectors of what was not
// synced, some of them torn.
func (i *inode) remains(rng *rand.Rand) []byte {
	const sector = 512
	b, luck := slices.Clone(i.sure), rng.IntN(5)
	keep := func() bool { return rng.IntN(4) < luck }
	for _, c := range i.unsure {
		if c.b == nil {
			if keep() {
				b = c.apply(b)
			}
			continue
		}
		for at := c.at; at < c.at+int64(len(c.b)); {
			end := min((at/sector+1)*sector, c.at+int64(len(c.b)))
			part := c.b[at-c.at : end-c.at]
			if rng.IntN(8) == 0 {
				part = part[:rng.IntN(len(part)+1)]
			}
			if keep() && len(part) > 0 {
				b = change{at, part}.apply(b)
			}
			at = end
		}
	}
	return b
}

// off writes what the power left into dir, and is the disk that finds it there.
func (d *powerDisk) off(t *testing.T, dir string) *powerDisk {
	names := maps.Clone(d.names)
	for _, change := range d.unsure {
		if d.rng.IntN(2) == 0 {
			change(names)
		}
	}
	next := &powerDisk{rng: d.rng, eio: d.eio, names: map[string]*inode{}}
	for _, name := range slices.Sorted(maps.Keys(names)) { // in order, for the seed's sake
		if names[name] == nil {
			continue
		}
		b := names[name].remains(d.rng)
		next.names[name] = &inode{sure: b}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next.live = maps.Clone(next.names)
	return next
}

// powerRun is one seed: what was appended, through several losses of power and kills.
type powerRun struct {
	t        *testing.T
	rng      *rand.Rand
	n        int            // number of the newest payload
	acked    map[int]uint64 // payload to the number of its record
	released uint64
}

func (r *powerRun) payload(n int) []byte {
	return fmt.Appendf(nil, "%d %s", n, strings.Repeat(strconv.Itoa(n%10), n*37%900))
}

// work appends and releases until the power goes or it has done enough.
func (r *powerRun) work(s *Spool) {
	for range r.rng.IntN(40) {
		if r.rng.IntN(6) == 0 && s.Durable() > 0 {
			r.released = max(r.released, s.Durable()-min(s.Durable(), r.rng.Uint64N(8)))
			s.Release(r.released) // its error is the next append's
			continue
		}
		r.append(s, 1+r.rng.IntN(3))
	}
}

func (r *powerRun) append(s *Spool, count int) error {
	var records [][]byte
	first := r.n + 1
	for range count {
		r.n++
		records = append(records, r.payload(r.n))
	}
	err := s.Append(r.t.Context(), records)
	if err == nil {
		last := s.Durable()
		for i := range count {
			r.acked[first+i] = last - uint64(count-1-i)
		}
	}
	return err
}

// check reads everything back. What a reader saw has to stay, too, unless an fsync that
// failed has let the kernel forget it.
func (r *powerRun) check(s *Spool, eio bool) {
	if r.append(s, 1) != nil {
		return // the power went; the next start is looked at
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	reader := s.Reader(r.released)
	defer reader.Close()
	seen, before := map[int]uint64{}, 0
	for before != r.n {
		rec, err := reader.Next(ctx)
		if err != nil {
			r.t.Fatalf("Next after payload %d of %d: %v", before, r.n, err)
		}
		text, _, _ := strings.Cut(string(rec.Payload), " ")
		n, err := strconv.Atoi(text)
		if err != nil || n > r.n || string(rec.Payload) != string(r.payload(n)) {
			r.t.Fatalf("record %d was never appended: %q", rec.Seq, rec.Payload)
		}
		if n <= before {
			r.t.Fatalf("payload %d comes after %d", n, before)
		}
		seen[n], before = rec.Seq, n
	}
	for n, seq := range r.acked {
		if seq >= r.released && seen[n] != seq {
			r.t.Fatalf("payload %d was acknowledged as record %d, and is record %d (0: lost)",
				n, seq, seen[n])
		}
	}
	if !eio {
		maps.Copy(r.acked, seen)
	}
}

func TestPowerLossLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	seeds := 400
	first := uint64(1)
	if text := os.Getenv("FOOTFALL_TEST_POWER_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, seeds = seed, 1
	}
	for i := range seeds {
		seed := first + uint64(i)
		t.Run(fmt.Sprintf("FOOTFALL_TEST_POWER_SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			losePower(t, rand.New(rand.NewPCG(seed, 4)), seed%4 == 0)
		})
	}
}

func losePower(t *testing.T, rng *rand.Rand, eio bool) {
	r := &powerRun{t: t, rng: rng, acked: map[int]uint64{}, released: 1}
	dir := t.TempDir()
	d := &powerDisk{rng: rng, eio: eio, names: map[string]*inode{}, live: map[string]*inode{}}
	const rounds = 6
	for round := range rounds {
		d.left = rng.IntN(60)
		if round == rounds-1 {
			d.left, d.eio = math.MaxInt, false
		}
		o := options(dir)
		o.disk = d
		s, err := Open(o)
		if err == nil {
			r.check(s, eio)
			r.work(s)
			d.mu.Lock()
			d.left = min(d.left, 0)
			d.mu.Unlock()
			s.Close()
		} else if round == rounds-1 {
			t.Fatalf("Open: %v", err)
		}
		if rng.IntN(3) > 0 { // else the process was only killed
			dir = t.TempDir()
			d = d.off(t, dir)
		}
	}
	if len(r.acked) == 0 {
		t.Fatal("nothing was acknowledged")
	}
}
