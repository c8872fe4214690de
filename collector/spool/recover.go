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
	for _, path := range paths {
		if err := s.adopt(path); err != nil {
			return err
		}
	}
	if len(s.segments) == 0 {
		s.id, s.next = event.NewUUID(time.Now()), 1
		g, err := newSegment(s.o, s.id, 1, 0)
		if err != nil {
			return fmt.Errorf("make first segment: %w", err)
		}
		s.segments = append(s.segments, g)
		return nil
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
	active := s.segments[len(s.segments)-1]
	cut, err := active.cutTail(s.o.SegmentBytes)
	if err != nil {
		return fmt.Errorf("cut unfinished end of %s: %w", active.path, err)
	}
	if cut > 0 {
		s.stats.cut.Add(cut)
		s.o.Logger.Warn("cut what stood behind the last commit of the spool: a group that was never "+
			"acknowledged, or one whose commit frame is damaged", "path", active.path, "bytes", cut)
	}
	// A process that was killed while it made the file may not have come to this.
	if err := s.o.disk.syncDir(s.o.Dir); err != nil {
		return err
	}
	s.durable, s.next = active.last, max(active.first, active.last+1)
	return nil
}

// adopt opens one segment file. One without an intact header is set aside, never
// deleted: its records may have been acknowledged, and a person can still look.
func (s *Spool) adopt(path string) error {
	g, id, err := openSegment(s.o.disk, path)
	if errors.Is(err, errHeader) {
		return s.setAside(path)
	}
	if err != nil {
		return err
	}
	if len(s.segments) > 0 && id != s.id {
		return errors.Join(fmt.Errorf("%s belongs to spool %s, the segments before it to %s: "+
			"move it to a directory of its own", path, id, s.id), g.close())
	}
	s.id = id
	s.segments = append(s.segments, g)
	return nil
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

// cutTail finds the last commit frame and clears what follows it. It returns how many
// bytes that were, without the zeros of a preallocated file.
func (g *segment) cutTail(size int64) (cut int, err error) {
	b, err := os.ReadFile(g.path)
	if err != nil {
		return 0, err
	}
	// Damage before a later intact commit is the reader's to count; an unfinished
	// group at the end has no commit behind it.
	end, err := walk(b[headerSize:], func(_, _ int, _ []Record, last uint64) error {
		g.last = last
		return nil
	})
	if err != nil {
		return 0, err
	}
	g.end = int64(headerSize + end)
	cut = len(bytes.TrimRight(b[g.end:], "\x00"))
	// After an fsync that failed the kernel may hold bytes that are not on disk and never
	// will be: a later fsync passes them over, unless they are written again.
	if _, err := g.file.WriteAt(b[:g.end], 0); err != nil {
		return 0, err
	}
	if err := g.file.Truncate(g.end); err != nil {
		return 0, err
	}
	return cut, errors.Join(g.file.reserve(size), g.file.Sync())
}
