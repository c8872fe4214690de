package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"footfall/event"
)

// State of a segment file.
type State string

const (
	Active  State = "active"    // the last one: records may still be appended
	Closed  State = "closed"    // followed by another, and whole
	Damaged State = "damaged"   // bytes in it are damaged, or its header is
	Aside   State = "set aside" // renamed to .corrupt at an Open

	// Unfinished is a last one without header and records: its making was broken off,
	// or goes on just now.
	Unfinished State = "unfinished"
)

// SegmentInfo is what one file holds.
type SegmentInfo struct {
	File        string // its name in the directory
	First, Last uint64 // numbers of its intact records; 0 when it has none
	Records     int    // intact ones
	Bytes       int64  // up to and with the last commit frame, header included
	State       State
	// NoHeader says that the header is damaged. Readers get the records all the same: the
	// next Open makes it again.
	NoHeader bool
	Problem  string   // why no reader gets its records; "" when readers do
	Missing  []Damage // in order
}

// Damage is a range of bytes that holds no intact group. From to To are the numbers of
// the records that ought to be there; To is less than From when none is missing.
type Damage struct {
	Offset, Bytes int64
	From, To      uint64
}

// Inspect reads every segment of a directory, oldest first. It changes nothing and takes
// no lock, so it works beside a running collector: it stops at the last commit it can
// read. An empty directory is no error.
func Inspect(dir string) ([]SegmentInfo, error) { return inspect(dir, nil) }

// ReadID returns the id of the spool in a directory, from the first header that is intact
// or, when none is, from the watermark.
func ReadID(dir string) (event.UUID, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return event.UUID{}, fmt.Errorf("read spool: %w", err)
	}
	if id, ok := readID(dir, segments(dir, entries)); ok {
		return id, nil
	}
	return event.UUID{}, fmt.Errorf("no spool in %s", dir)
}

// Scan calls fn with every intact record that a Reader would return, in order; see
// Inspect. A payload is valid during the call. It ends with fn's error.
func Scan(dir string, fn func(Record) error) error {
	_, err := inspect(dir, fn)
	return err
}

func inspect(dir string, fn func(Record) error) ([]SegmentInfo, error) {
	entries, err := os.ReadDir(dir) // sorted, hence oldest first
	if err != nil {
		return nil, fmt.Errorf("read spool: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		ext := filepath.Ext(e.Name())
		return ext != ".seg" && (ext != ".corrupt" || !strings.Contains(e.Name(), ".seg."))
	})
	v := viewer{fn: fn}
	var infos []SegmentInfo
	for i, e := range entries {
		before := uint64(math.MaxUint64)
		if isSegment(e) {
			if before, err = lastBefore(segments(dir, entries[i+1:])); err != nil {
				return infos, fmt.Errorf("read spool: %w", err)
			}
		}
		info, err := v.file(filepath.Join(dir, e.Name()), before)
		if errors.Is(err, fs.ErrNotExist) { // released, or set aside, just now
			continue
		}
		if err != nil {
			return infos, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

func isSegment(e fs.DirEntry) bool { return filepath.Ext(e.Name()) == ".seg" }

func segments(dir string, entries []fs.DirEntry) (paths []string) {
	for _, e := range entries {
		if isSegment(e) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// viewer goes through the files of one directory.
type viewer struct {
	id event.UUID // of the first segment that has one
	fn func(Record) error
}

// tries is how often a last segment that looks damaged is read again: a group that is
// being written just now looks so too.
const tries = 5

// file reads one file, whose records end at number upTo.
func (v *viewer) file(path string, upTo uint64) (info SegmentInfo, err error) {
	var b []byte
	for try := range tries {
		if b, err = os.ReadFile(path); err != nil {
			return info, err
		}
		if info, err = v.look(path, b, upTo, nil); err != nil {
			return info, err
		}
		if upTo != math.MaxUint64 || info.State != Damaged || try == tries-1 {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if v.fn != nil && info.Problem == "" {
		_, err = v.look(path, b, upTo, v.fn)
	}
	return info, err
}

// look decodes b, the bytes of a file, and says what is in it.
func (v *viewer) look(path string, b []byte, upTo uint64, fn func(Record) error) (
	SegmentInfo, error,
) {
	info := SegmentInfo{File: filepath.Base(path), State: Closed}
	if upTo == math.MaxUint64 {
		info.State = Active
	}
	g, err := readHeader(path, b)
	switch {
	case filepath.Ext(path) == ".corrupt":
		info.State, info.Problem = Aside, "set aside"
	case errors.Is(err, errHeader):
		info.State = Damaged
		h, ok := survey(path, b, upTo)
		if !ok {
			info.Problem = "header is damaged"
			break
		}
		info.NoHeader = true
		if g = (&segment{first: h.first}); upTo == math.MaxUint64 {
			upTo = h.seen // as Open will seal it
		}
	case err != nil:
		info.State, info.Problem = Damaged, err.Error()
	case v.id == event.UUID{}:
		v.id = g.id
	case v.id != g.id:
		info.State = Damaged
		info.Problem = fmt.Sprintf("belongs to spool %s, those before it to %s", g.id, v.id)
	}
	if info.Problem != "" {
		g = &segment{}
	}
	c := counter{info: &info, want: g.first, upTo: upTo, fn: fn}
	if info.Problem != "" { // what the header of the next one says is of other records
		c.upTo = math.MaxUint64
	}
	if err := c.count(b); err != nil {
		return info, err
	}
	switch {
	case info.Problem != "" && errors.Is(err, errHeader) && info.State == Damaged &&
		info.Records == 0 && upTo == math.MaxUint64:
		info.State, info.Problem = Unfinished, ""
	case len(info.Missing) > 0:
		info.State = Damaged
	}
	return info, nil
}

// counter keeps account of the records of one file.
type counter struct {
	info *SegmentInfo
	want uint64 // number of the next record; 0 in a file that readers do not see
	upTo uint64 // number of the last one that was acknowledged; MaxUint64: all
	fn   func(Record) error
}

// errRefused ends a walk at a group whose fsync failed.
var errRefused = errors.New("refused group")

func (c *counter) count(b []byte) error {
	body := b[min(headerSize, len(b)):]
	end, err := walk(body, c.step)
	if err != nil && !errors.Is(err, errRefused) {
		return err
	}
	c.info.Bytes = int64(min(headerSize, len(b)) + end)
	if c.upTo != math.MaxUint64 && c.want <= c.upTo { // cut off, or zeros
		c.missing(end, len(body)-end, c.upTo)
	}
	return nil
}

func (c *counter) step(at, n int, records []Record, last uint64) error {
	switch {
	case records == nil:
		c.missing(at, n, min(last, c.upTo))
		return nil
	case len(records) == 0:
		return nil
	case records[0].Seq > c.upTo:
		return errRefused
	case records[0].Seq > c.want:
		c.missing(at, 0, records[0].Seq-1)
	}
	if c.info.First == 0 {
		c.info.First = records[0].Seq
	}
	c.info.Records += len(records)
	c.info.Last = last
	if c.want > 0 {
		c.want = last + 1
	}
	if c.fn == nil {
		return nil
	}
	for _, r := range records {
		if err := c.fn(r); err != nil {
			return err
		}
	}
	return nil
}

func (c *counter) missing(at, n int, to uint64) {
	if c.want == 0 {
		return
	}
	c.info.Missing = append(c.info.Missing, Damage{Offset: int64(headerSize + at),
		Bytes: int64(n), From: c.want, To: to})
	c.want = max(c.want, to+1)
}
