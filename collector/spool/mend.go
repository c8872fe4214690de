package spool

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"footfall/event"
)

// recordMin is the least a record takes in a file, and hence bounds how many numbers were
// given out in so many bytes.
const recordMin = recordHead + 1

// headless is what can be told of a segment whose header is damaged.
type headless struct {
	first uint64 // by the file's name
	seen  uint64 // the highest number of an intact frame; first-1 for none
	tail  int    // bytes behind that frame that are, or were, no zeros
}

// survey looks at b, the bytes of a segment with a damaged header. upTo is the number of
// the last record committed before the segment that follows, MaxUint64 when none does. It
// returns false when nothing in the file was ever acknowledged, as after a kill while it
// was made, and when the records in it do not fit its name.
func survey(path string, b []byte, upTo uint64) (h headless, ok bool) {
	body := b[min(headerSize, len(b)):]
	used := bytes.TrimRight(body, "\x00")
	first, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(path), ".seg"), 10, 63)
	if err != nil || first == 0 || upTo < first || upTo == math.MaxUint64 && len(used) == 0 {
		return h, false
	}
	most := first + uint64(len(body)/recordMin)
	_, err = walk(body, func(_, _ int, records []Record, last uint64) error {
		if last > most || len(records) > 0 && records[0].Seq < first {
			return errHeader
		}
		return nil
	})
	if err != nil {
		return h, false
	}
	seen, end := frames(used, first, most)
	return headless{first: first, seen: seen, tail: len(used) - end}, true
}

// frames finds the highest number from first to most that an intact frame in b has, be its
// group intact or not, and where that frame ends.
func frames(b []byte, first, most uint64) (seen uint64, end int) {
	seen = first - 1
	for at := 0; at+recordHead <= len(b); {
		seq, n := binary.LittleEndian.Uint64(b[at+8:]), 0
		if seq < first || seq > most { // spares nearly every byte its checksum
			at++
			continue
		}
		if ok, _, _, _ := readCommit(b[at:]); ok {
			n = commitSize
		} else {
			_, n = readRecord(b[at:])
		}
		if n == 0 {
			at++
			continue
		}
		at += n
		if seq >= seen {
			seen, end = seq, at
		}
	}
	return seen, end
}

// lastBefore returns the number of the last record committed before the first of these
// segment files, in order, that has or will get a header; MaxUint64 when none does.
func lastBefore(paths []string) (uint64, error) {
	for i, path := range paths {
		g, err := peek(path)
		if err == nil {
			return g.before, nil
		}
		if !errors.Is(err, errHeader) {
			continue // released, or set aside, just now; or Open will say what is wrong
		}
		upTo, err := lastBefore(paths[i+1:])
		if err != nil {
			return 0, err
		}
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		if h, ok := survey(path, b, upTo); err == nil && ok {
			return h.first - 1, nil
		}
	}
	return math.MaxUint64, nil
}

// peek reads a header only.
func peek(path string) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, headerSize)
	n, _ := f.ReadAt(b, 0)
	return readHeader(path, b[:n])
}

// readID returns the id of the spool of these segments: of the first header that is
// intact or, when none is, of the watermark beside them.
func readID(dir string, paths []string) (id event.UUID, ok bool) {
	for _, path := range paths {
		if g, err := peek(path); err == nil {
			return g.id, true
		}
	}
	var w watermarkFile
	b, err := os.ReadFile(filepath.Join(dir, watermarkName))
	if err != nil || len(paths) == 0 || json.Unmarshal(b, &w) != nil {
		return id, false
	}
	id, err = event.ParseUUID(w.Spool)
	return id, err == nil
}

// mend makes the header of a segment again, from the file's name and the files around it.
// It returns no segment for a file in which nothing was acknowledged. A last one has to be
// sealed, hence lost.
//
// Numbers right before it that were refused count as missing now when they are to be
// passed on: only the header knew.
func (s *Spool) mend(path string, later []string) (g *segment, lost *headless, err error) {
	upTo, err := lastBefore(later)
	if err != nil {
		return nil, nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	h, ok := survey(path, b, upTo)
	if !ok {
		return nil, nil, nil
	}
	f, err := s.o.disk.open(path)
	if err != nil {
		return nil, nil, err
	}
	g = &segment{id: s.id, path: path, file: f, first: h.first, before: h.first - 1, last: h.first - 1}
	info, err := f.Stat()
	if err = errors.Join(err, g.writeHeader(), f.Sync()); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make header of %s again: %w", path, err), f.Close())
	}
	g.wrote = info.ModTime()
	s.stats.mended.Inc()
	s.found = errors.Join(s.found, fmt.Errorf("the header of %s was damaged, and made again", path))
	s.o.Logger.Error("made the damaged header of a spool segment again", "path", path,
		"first_seq", h.first, "damaged", hex.EncodeToString(b[:min(headerSize, len(b))]))
	if upTo == math.MaxUint64 {
		h.tail += max(0, int(s.o.SegmentBytes)-len(b))
		lost = &h
	}
	return g, lost, nil
}

// seal ends the last segment where nobody can tell what stood at its end. Nothing is cut
// from it, and the numbers go on behind all that may have been given out in it. Those up to
// h.seen are missing when a reader does not find them. Whether there were any behind is
// not known.
func (s *Spool) seal(h headless) error {
	next := h.seen + 1 + uint64(h.tail/recordMin)
	g, err := newSegment(s.o, s.id, next, h.seen)
	if err != nil {
		return fmt.Errorf("begin spool segment: %w", err)
	}
	s.segments = append(s.segments, g)
	if h.tail > 0 {
		s.stats.cut.Add(h.tail)
		s.found = errors.Join(s.found, fmt.Errorf("%s was damaged at its end: %d bytes behind record %d "+
			"hold no record, and may have", segmentPath(s.o.Dir, h.first), h.tail, h.seen))
	}
	s.o.Logger.Error("ended the last spool segment, which is damaged", "first_seq", h.first,
		"last_seq", h.seen, "bytes_behind", h.tail, "next_seq", next)
	return nil
}
