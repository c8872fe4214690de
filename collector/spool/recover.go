package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"footfall/event"
)

// recover finds the segments and makes the last one ready to be written on.
func (s *Spool) recover() error {
	paths, err := filepath.Glob(filepath.Join(s.o.Dir, "*.seg"))
	if err != nil {
		return err
	}
	slices.Sort(paths)
	var known bool
	if s.id, known = readID(s.o.Dir, paths); !known {
		s.id = event.NewUUID(time.Now())
	}
	var lost *headless // the last segment's end
	for i, path := range paths {
		end, err := s.adopt(path, paths[i+1:])
		if err != nil {
			return err
		}
		if end != nil {
			lost = end
		}
	}
	if len(s.segments) == 0 {
		s.next = 1
		g, err := newSegment(s.o, s.id, 1, 0)
		if err != nil {
			return fmt.Errorf("make first segment: %w", err)
		}
		s.segments = append(s.segments, g)
		return nil
	}
	if lost == nil {
		if lost, err = s.cutTail(); err != nil {
			return err
		}
	}
	if lost != nil {
		if err := s.seal(*lost); err != nil {
			return err
		}
	}
	// Only the last segment can have an unfinished end; the others were left at a
	// commit frame, and the next one's header says which.
	for i, g := range s.segments[:len(s.segments)-1] {
		info, err := g.file.Stat()
		if err != nil {
			return err
		}
		g.last, g.end = s.segments[i+1].before, info.Size()
	}
	// A process that was killed while it made the file may not have come to this.
	if err := s.o.disk.syncDir(s.o.Dir); err != nil {
		return err
	}
	active := s.segments[len(s.segments)-1]
	s.durable, s.next = active.last, max(active.first, active.last+1)
	return nil
}

// adopt opens one segment file. One without an intact header gets a new one, or is set
// aside, never deleted: a person can still look. lost is as mend returns it.
func (s *Spool) adopt(path string, later []string) (lost *headless, err error) {
	g, err := openSegment(s.o.disk, path)
	if errors.Is(err, errHeader) {
		if g, lost, err = s.mend(path, later); err == nil && g == nil {
			return nil, s.setAside(path)
		}
	}
	if err != nil {
		return nil, err
	}
	if g.id != s.id {
		return nil, errors.Join(fmt.Errorf("%s belongs to spool %s, the segments before it to %s: "+
			"move it to a directory of its own", path, g.id, s.id), g.close())
	}
	s.segments = append(s.segments, g)
	return lost, nil
}

// asidePath returns a name that is free.
func asidePath(path string) string {
	aside := path + ".corrupt"
	for i := 2; ; i++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			return aside
		}
		aside = fmt.Sprintf("%s.%d.corrupt", path, i)
	}
}

func (s *Spool) setAside(path string) error {
	aside := asidePath(path)
	s.stats.aside.Inc()
	s.o.Logger.Error("set aside spool segment with a damaged header", "path", aside)
	return errors.Join(s.o.disk.rename(path, aside), s.o.disk.syncDir(s.o.Dir))
}

// cutTail finds the last commit frame of the last segment and clears what follows it. A
// file that has become shorter has lost its end: it has to be sealed, hence lost.
func (s *Spool) cutTail() (lost *headless, err error) {
	g := s.segments[len(s.segments)-1]
	b, err := os.ReadFile(g.path)
	if err != nil {
		return nil, err
	}
	// Damage before a later intact commit is the reader's to count; an unfinished
	// group at the end has no commit behind it.
	end, err := walk(b[headerSize:], func(_, _ int, _ []Record, last uint64) error {
		g.last = last
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.end = int64(headerSize + end)
	tail := bytes.TrimRight(b[g.end:], "\x00")
	if short := s.o.SegmentBytes - int64(len(b)); short > 0 {
		return &headless{first: g.first, seen: g.last, tail: len(tail) + int(short)}, nil
	}
	if len(tail) > 0 {
		s.stats.cut.Add(len(tail))
		s.o.Logger.Warn("cut what stood behind the last commit of the spool: a group that was never "+
			"acknowledged, or one whose commit frame is damaged", "path", g.path, "bytes", len(tail))
	}
	// After an fsync that failed the kernel may hold bytes that are not on disk and never
	// will be: a later fsync passes them over, unless they are written again.
	clear(tail)
	if _, err := g.file.WriteAt(b[:int(g.end)+len(tail)], 0); err != nil {
		return nil, fmt.Errorf("cut unfinished end of %s: %w", g.path, err)
	}
	if err := errors.Join(g.file.reserve(s.o.SegmentBytes), g.file.Sync()); err != nil {
		return nil, fmt.Errorf("cut unfinished end of %s: %w", g.path, err)
	}
	return nil, nil
}
