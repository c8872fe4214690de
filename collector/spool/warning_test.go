package spool

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestADamagedSegmentIsKeptForAPersonAndTold(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 60)
	if err := s.Warning(); err != nil {
		t.Fatalf("a healthy spool warns: %v", err)
	}
	group := int64(recordHead + len(payload(1)) + commitSize)
	flip(t, s.segments[0].path, headerSize+group+20) // in the second record
	if got := readTo(t, s, 1, 60); !slices.Equal(got, slices.Delete(upTo(1, 60), 1, 2)) {
		t.Errorf("read %v", got)
	}
	if err := s.Warning(); err == nil || !strings.Contains(err.Error(), "1 records are missing since the start, lastly 2 to 2") {
		t.Errorf("warning is %v", err)
	}
	path, others := s.segments[0].path, len(s.segments)
	if err := s.Release(60); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(o.Dir, "*"+"corrupt"))
	if err != nil || !slices.Equal(left, []string{path + ".corrupt"}) || len(s.segments) == others {
		t.Errorf("of %d segments %d are left, set aside %v: %v", others, len(s.segments), left, err)
	}
}

// Damage in what has been passed on already costs nobody anything.
func TestDamageBeforeTheWatermarkIsNoLoss(t *testing.T) {
	t.Parallel()
	s := open(t, options(t.TempDir()))
	add(t, s, 1, 20)
	group := int64(recordHead + len(payload(1)) + commitSize)
	flip(t, s.segments[0].path, headerSize+group+20)
	if got := readTo(t, s, 10, 20); !slices.Equal(got, upTo(10, 20)) {
		t.Errorf("read %v", got)
	}
	if n := s.stats.missing.Get(); n != 0 || s.Warning() != nil || s.segments[0].damaged {
		t.Errorf("counted %d missing, warning is %v", n, s.Warning())
	}
}

func TestANearlyFullSpoolWarnsBeforeItRefuses(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	o.MaxBytes = 10 * o.SegmentBytes
	s := open(t, o)
	n := 0
	for s.Fill() < warnShare {
		if err := s.Warning(); err != nil {
			t.Fatalf("at %.0f %%: %v", 100*s.Fill(), err)
		}
		n++
		add(t, s, n, n)
	}
	if err := s.Warning(); err == nil || !strings.Contains(err.Error(), "80 % of") || s.Err() != nil {
		t.Errorf("warning is %v, and what it refuses by %v", err, s.Err())
	}
	o = options(t.TempDir())
	free, err := diskFree(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	o.MinFree = free * 2 / 3
	s = open(t, o)
	add(t, s, 1, 1)
	if err := s.Warning(); err == nil || !strings.Contains(err.Error(), "bytes free") {
		t.Errorf("with a third above the least free space the warning is %v", err)
	}
}
