package spool

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rewrite changes the bytes of a file.
func rewrite(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// zero clears the bytes from one place to another.
func zero(from, to int) func([]byte) []byte {
	return func(b []byte) []byte { clear(b[from:min(to, len(b))]); return b }
}

const groupBytes = recordHead + 112 + commitSize // of one payload

func TestADamagedHeaderCostsNoRecord(t *testing.T) {
	t.Parallel()
	for _, which := range []string{"first", "middle", "last", "all"} {
		t.Run(which, func(t *testing.T) {
			t.Parallel()
			o := options(t.TempDir())
			s := open(t, o)
			add(t, s, 1, 100)
			if err := s.Watermark().Store(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			id, files := s.ID(), slices.Clone(s.segments)
			crash(t, s)
			at := map[string]int{"first": 0, "middle": 1, "last": len(files) - 1}
			for i, g := range files {
				if which == "all" || i == at[which] {
					flip(t, g.path, 35)
				}
			}
			if seqs, infos := scanned(t, o.Dir); !slices.Equal(seqs, upTo(1, 100)) ||
				!infos[at[which]].NoHeader || infos[at[which]].State != Damaged {
				t.Errorf("a scan before the start finds %v, %+v", seqs, infos)
			}
			s = open(t, o)
			if n := int(s.stats.mended.Get()); n != 1 && n != len(files) {
				t.Errorf("%d headers were made again", n)
			}
			if err := s.Warning(); err == nil || !strings.Contains(err.Error(), "header of ") {
				t.Errorf("warning is %v", err)
			}
			if s.ID() != id || s.Durable() != 100 {
				t.Errorf("id is %s, was %s; durable is %d", s.ID(), id, s.Durable())
			}
			add(t, s, 101, 150)
			for range 2 { // also after a restart
				if got := readTo(t, s, 1, 150); !slices.Equal(got, upTo(1, 150)) || s.stats.missing.Get() != 0 {
					t.Errorf("read %v, counted %d missing", got, s.stats.missing.Get())
				}
				if aside, _ := filepath.Glob(filepath.Join(o.Dir, "*.corrupt")); len(aside) > 0 {
					t.Errorf("set aside %v", aside)
				}
				crash(t, s)
				s = open(t, o)
			}
		})
	}
}

// What is damaged beside the header is missing, and its numbers are not given out again.
func TestDamageBehindADamagedHeaderIsCountedExactly(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		which  int // file, from the end when negative
		damage func(b []byte) []byte
		lost   func(first, last uint64) (from, to uint64)
	}{
		"first file, header and a group": {0, zero(0, headerSize+9),
			func(first, _ uint64) (uint64, uint64) { return first, first }},
		"middle file, header and three groups": {1, zero(0, headerSize+2*groupBytes+9),
			func(first, _ uint64) (uint64, uint64) { return first, first + 2 }},
		"first file, empty":            {0, func([]byte) []byte { return nil }, whole},
		"middle file, empty":           {1, func([]byte) []byte { return nil }, whole},
		"middle file, all zeros":       {1, zero(0, 1<<20), whole},
		"middle file, another's bytes": {1, otherNumbers, whole},
		"last file, header and a group": {-1, zero(0, headerSize+9),
			func(first, _ uint64) (uint64, uint64) { return first, first }},
		"last file, header and all commit frames": {-1, func(b []byte) []byte {
			for at := headerSize + groupBytes; at <= len(b); at += groupBytes {
				clear(b[at-commitSize : at])
			}
			return zero(0, headerSize)(b)
		}, whole},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t.TempDir())
			s := open(t, o)
			add(t, s, 1, 100)
			if err := s.Watermark().Store(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			g := s.segments[(c.which+len(s.segments))%len(s.segments)]
			from, to := c.lost(g.first, g.last)
			crash(t, s)
			rewrite(t, g.path, c.damage)
			want := slices.DeleteFunc(upTo(1, 100), func(n uint64) bool { return n >= from && n <= to })
			seqs, infos := scanned(t, o.Dir)
			if !slices.Equal(seqs, want) {
				t.Errorf("a scan before the start finds %v, want %v", seqs, want)
			}
			var named []Damage
			for _, i := range infos {
				named = append(named, i.Missing...)
			}
			if len(named) != 1 || named[0].From != from || named[0].To != to {
				t.Errorf("a scan names %+v, want %d to %d", named, from, to)
			}
			s = open(t, o)
			add(t, s, int(s.next), int(s.next)) // payloads tell their number
			if last := s.Durable(); last <= 100 {
				t.Errorf("number %d was given out again", last)
			}
			want = append(want, s.Durable())
			for range 2 { // the forwarder may begin again
				got := readTo(t, s, 1, s.Durable())
				if !slices.Equal(got, want) || s.stats.missing.Get() != to-from+1 {
					t.Errorf("read %v, counted %d missing; want %v and %d", got, s.stats.missing.Get(), want, to-from+1)
				}
			}
			if err := s.Warning(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("lastly %d to %d", from, to)) {
				t.Errorf("warning is %v, want it to name %d to %d", err, from, to)
			}
		})
	}
}

func whole(first, last uint64) (from, to uint64) { return first, last }

func otherNumbers([]byte) []byte {
	return append(make([]byte, headerSize), appendCommit(appendRecord(nil, 99999, []byte("x")), 99999)...)
}

func TestAFileThatDoesNotFitItsNameIsSetAside(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 100)
	g := s.segments[1]
	first, last := g.first, g.last
	crash(t, s)
	rewrite(t, g.path, otherNumbers)
	stranger := filepath.Join(o.Dir, "stranger.seg")
	if err := os.WriteFile(stranger, []byte("stranger"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	want := slices.DeleteFunc(upTo(1, 100), func(n uint64) bool { return n >= first && n <= last })
	if got := readTo(t, s, 1, 100); !slices.Equal(got, want) || s.stats.aside.Get() != 2 {
		t.Errorf("read %v, set %d files aside", got, s.stats.aside.Get())
	}
	for _, path := range []string{g.path, stranger} {
		if _, err := os.Stat(path + ".corrupt"); err != nil {
			t.Error(err)
		}
	}
}

// Nothing in the file tells how many records there were, and yet none of their numbers may
// come a second time.
func TestNumbersOfALostEndAreNotGivenOutAgain(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"truncated":               func(b []byte) []byte { return b[:headerSize+3*groupBytes+20] },
		"truncated to its header": func(b []byte) []byte { return b[:headerSize] },
		"header damaged and all frames": func(b []byte) []byte {
			for i := range bytes.TrimRight(b, "\x00") {
				b[i] ^= 0x55
			}
			return b
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(t.TempDir())
			s := open(t, o)
			add(t, s, 1, 100)
			g := s.segments[len(s.segments)-1]
			crash(t, s)
			rewrite(t, g.path, damage)
			s = open(t, o)
			if err := s.Warning(); err == nil || !strings.Contains(err.Error(), "was damaged at its end") {
				t.Errorf("warning is %v", err)
			}
			if s.stats.cut.Get() == 0 {
				t.Error("the bytes of the lost end are not counted")
			}
			kept := s.segments[len(s.segments)-1].before
			add(t, s, int(s.next), int(s.next))
			last := s.Durable()
			if last <= 100 {
				t.Errorf("number %d was given out again", last)
			}
			if got := readTo(t, s, 1, last); !slices.Equal(got, append(upTo(1, kept), last)) {
				t.Errorf("read %v, want up to %d and %d", got, kept, last)
			}
			if n := s.stats.missing.Get(); n != 0 {
				t.Errorf("counted %d missing: nothing tells", n)
			}
			crash(t, s)
			if s = open(t, o); s.Durable() != last || s.Warning() != nil {
				t.Errorf("after another start durable is %d, want %d; warning is %v", s.Durable(), last, s.Warning())
			}
		})
	}
}

func TestAMissingFirstFileIsCountedFromTheWatermarkOn(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 100)
	g, second := s.segments[0], s.segments[1].first
	crash(t, s)
	if err := os.Remove(g.path); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[uint64]uint64{1: 0, 7: second - 7, second: 0} {
		s = open(t, o)
		if got := readTo(t, s, from, 100); !slices.Equal(got, upTo(second, 100)) || s.stats.missing.Get() != want {
			t.Errorf("from %d: read %v, counted %d missing, want %d", from, got, s.stats.missing.Get(), want)
		}
		crash(t, s)
	}
}

// Whatever is done to one file, each record is read, named as missing, or behind the last
// frame that is left; a scan before the start says what readers find after it.
func TestAnyDamageOfAFileIsAccountedFor(t *testing.T) {
	t.Parallel()
	for seed := range uint64(120) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 0))
			o := options(t.TempDir())
			o.disk = lazyDisk{}
			s := open(t, o)
			add(t, s, 1, 90)
			if err := s.Watermark().Store(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			last := len(s.segments) - 1
			which := rng.IntN(last + 1)
			path, size := s.segments[which].path, int(s.segments[which].end)
			crash(t, s)
			rewrite(t, path, func(b []byte) []byte { return anyDamage(rng, b, size) })
			accountFor(t, o, which == last)
		})
	}
}

// lazyDisk syncs nothing, for tests in which the machine does not fail.
type lazyDisk struct{ osDisk }

type lazyFile struct{ file }

func (d lazyDisk) create(path string) (file, error) {
	f, err := d.osDisk.create(path)
	return lazyFile{f}, err
}

func (lazyDisk) syncDir(string) error { return nil }
func (lazyFile) Sync() error          { return nil }
func (lazyFile) dataSync() error      { return nil }

func anyDamage(rng *rand.Rand, b []byte, size int) []byte {
	if rng.IntN(3) > 0 {
		b[rng.IntN(headerSize)] ^= byte(1 + rng.IntN(255))
	}
	from := rng.IntN(size)
	to := from + rng.IntN(size-from+1)
	switch rng.IntN(5) {
	case 0:
	case 1:
		clear(b[from:to])
	case 2:
		b[from] ^= byte(1 + rng.IntN(255))
	case 3:
		return b[:from]
	case 4:
		for i := range b[from:to] {
			b[from+i] = byte(rng.Uint32())
		}
	}
	return b
}

func accountFor(t *testing.T, o Options, newest bool) {
	found, infos := scanned(t, o.Dir)
	var named uint64
	for _, i := range infos {
		for _, d := range i.Missing {
			for n := d.From; n <= d.To; n++ {
				named++
				if slices.Contains(found, n) {
					t.Errorf("record %d is there and named as missing", n)
				}
			}
		}
	}
	s := open(t, o)
	cut := s.stats.cut.Get()
	add(t, s, int(max(s.next, s.durable+1)), int(max(s.next, s.durable+1)))
	end := s.Durable()
	got := readTo(t, s, 1, end)
	if !slices.Equal(got[:len(got)-1], found) || s.stats.missing.Get() != named {
		t.Errorf("a scan finds %v and names %d; a reader finds %v and counts %d", found, named, got, s.stats.missing.Get())
	}
	lost := 90 - (uint64(len(found)) + named)
	switch {
	case lost > 0 && (!newest || cut == 0):
		t.Errorf("%d records are lost without a word; %d bytes were cut", lost, cut)
	case end <= 90 && s.stats.mended.Get() > 0:
		t.Errorf("number %d was given out again", end)
	}
}
