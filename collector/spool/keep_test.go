package spool

import (
	"errors"
	"os"
	"slices"
	"testing"
	"time"
)

func TestReleasedSegmentsStayForAsLongAsTheyAreKept(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Keep = time.Hour
	s := open(t, o)
	add(t, s, 1, 200)
	before := len(s.segments)
	if err := s.Release(200); err != nil {
		t.Fatal(err)
	}
	if len(s.segments) != before || s.Fill() > float64(2*o.SegmentBytes)/float64(s.o.MaxBytes) {
		t.Errorf("%d of %d segments are left, and %.3f is in use", len(s.segments), before, s.Fill())
	}
	if got := readTo(t, s, 1, 200); !slices.Equal(got, upTo(1, 200)) {
		t.Errorf("read %v", got)
	}
	old := time.Now().Add(-2 * time.Hour)
	s.mu.Lock()
	for _, g := range s.segments[:3] {
		g.wrote = old
	}
	s.mu.Unlock()
	if err := s.Release(200); err != nil {
		t.Fatal(err)
	}
	if len(s.segments) != before-3 {
		t.Errorf("%d segments are left, want %d: three are older than the hour", len(s.segments), before-3)
	}
	// After a restart their age is the files'.
	path := s.segments[0].path
	crash(t, s)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	if err := s.Release(200); err != nil {
		t.Fatal(err)
	}
	if len(s.segments) != before-4 {
		t.Errorf("%d segments are left after the restart, want %d", len(s.segments), before-4)
	}
}

func TestKeptSegmentsNeverMakeTheSpoolRefuse(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.Keep, o.MaxBytes = time.Hour, 5*o.SegmentBytes
	s := open(t, o)
	for i := 1; i <= 500; i++ {
		add(t, s, i, i)
		if err := s.Release(uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(s.segments); got != 5 {
		t.Errorf("%d segments are there, want the five that fit", got)
	}
	// What is not released does.
	i := 500
	var err error
	for err == nil && i < 1000 {
		i++
		err = s.Append(t.Context(), [][]byte{payload(i)})
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("after %d records: %v", i, err)
	}
	first := s.segments[0].first
	if got := readTo(t, s, first, s.Durable()); !slices.Equal(got, upTo(first, s.Durable())) {
		t.Errorf("read %v", got)
	}
	o = options(t.TempDir())
	o.Keep, o.DiskCheck = time.Hour, time.Nanosecond
	s = open(t, o)
	add(t, s, 1, 100)
	if err := s.Release(100); err != nil {
		t.Fatal(err)
	}
	s.o.MinFree = 1 << 62
	if err := s.Append(t.Context(), [][]byte{payload(101)}); !errors.Is(err, ErrFull) || len(s.segments) != 1 {
		t.Errorf("with a full disk: %v, and %d segments are kept", err, len(s.segments))
	}
}
