package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"time"

	"footfall/event"
)

// A segment on disk, version 1. All integers are little endian, all checksums
// CRC-32C (Castagnoli).
//
//	header  magic "FFSPOOL\n" · version u32 · zero u32 · spool id 16 B ·
//	        first seq u64 · last seq of the segment before u64 · zeros · crc u32
//	record  length u32 · crc u32 of what follows · seq u64 · payload
//	commit  0xFFFFFFFF u32 · crc u32 of what follows · last seq u64 ·
//	        group length u32 · group crc u32
//
// A group is the records written between two fsyncs and the commit frame behind
// them; group length and crc are those of all its record frames. The rest of the
// file, which is preallocated, is zeros: length 0 is no record.
const (
	magic      = "FFSPOOL\n"
	version    = 1
	headerSize = 64
	recordHead = 16
	commitSize = 24
	commitMark = 0xFFFFFFFF
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segment is one file. first and before never change; end and last grow with each
// commit under the spool's mutex.
type segment struct {
	id     event.UUID // of its spool
	path   string
	file   file
	first  uint64 // number of its first record
	before uint64 // number of the last committed record of the segment before it
	end    int64  // bytes up to and with the last commit frame
	last   uint64 // number of the last committed record; before when it has none
	broken bool   // a write or fsync failed: nothing is written to it any more

	damaged bool      // a reader missed records in it
	wrote   time.Time // when it was last written to
}

func segmentPath(dir string, first uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d.seg", first))
}

// newSegment makes and preallocates a segment file that survives power loss from
// its first commit on.
func newSegment(o Options, id event.UUID, first, before uint64) (*segment, error) {
	path := segmentPath(o.Dir, first)
	f, err := o.disk.create(path)
	if err != nil {
		return nil, err
	}
	g := &segment{id: id, path: path, file: f, first: first, before: before, end: headerSize, last: before,
		wrote: time.Now()}
	err = errors.Join(f.reserve(o.SegmentBytes), g.writeHeader(), f.Sync())
	if err == nil {
		err = o.disk.syncDir(o.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), o.disk.remove(path))
	}
	return g, nil
}

func (g *segment) writeHeader() error {
	b := make([]byte, headerSize)
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	copy(b[16:], g.id[:])
	binary.LittleEndian.PutUint64(b[32:], g.first)
	binary.LittleEndian.PutUint64(b[40:], g.before)
	binary.LittleEndian.PutUint32(b[headerSize-4:], crc32.Checksum(b[:headerSize-4], castagnoli))
	_, err := g.file.WriteAt(b, 0)
	return err
}

// openSegment reads a segment's header. It does not look at the records.
func openSegment(d disk, path string) (*segment, error) {
	f, err := d.open(path)
	if err != nil {
		return nil, err
	}
	b := make([]byte, headerSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("read header: %w", err), f.Close())
	}
	g, err := readHeader(path, b[:n])
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	g.file, g.wrote = f, info.ModTime()
	return g, nil
}

// readHeader decodes the header at the start of b. It returns errHeader when there is
// no intact one.
func readHeader(path string, b []byte) (*segment, error) {
	if len(b) < headerSize { // a kill came before the header was there
		return nil, errHeader
	}
	b = b[:headerSize]
	crc := binary.LittleEndian.Uint32(b[headerSize-4:])
	switch {
	case !bytes.HasPrefix(b, []byte(magic)), crc32.Checksum(b[:headerSize-4], castagnoli) != crc:
		return nil, errHeader
	case binary.LittleEndian.Uint32(b[8:]) != version:
		return nil, fmt.Errorf("%s is of version %d, this program reads %d: "+
			"use the newer program", path, binary.LittleEndian.Uint32(b[8:]), version)
	}
	g := &segment{path: path,
		first:  binary.LittleEndian.Uint64(b[32:]),
		before: binary.LittleEndian.Uint64(b[40:])}
	copy(g.id[:], b[16:])
	g.last = g.before
	return g, nil
}

var errHeader = errors.New("header is damaged")

func (g *segment) close() error { return g.file.Close() }

// letGo deletes the file, or sets it aside for a person when it is damaged. A reader that
// still holds it reads on: it has its own handle.
func (g *segment) letGo(d disk) error {
	if g.damaged {
		return errors.Join(g.file.Close(), d.rename(g.path, asidePath(g.path)))
	}
	return errors.Join(g.file.Close(), d.remove(g.path))
}

// appendRecord appends one record frame to a group.
func appendRecord(b []byte, seq uint64, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, payload...)
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	return b
}

// appendCommit ends a group that consists of the record frames in b.
func appendCommit(b []byte, last uint64) []byte {
	group := crc32.Checksum(b, castagnoli)
	size := uint32(len(b))
	b = binary.LittleEndian.AppendUint32(b, commitMark)
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, last)
	b = binary.LittleEndian.AppendUint32(b, size)
	b = binary.LittleEndian.AppendUint32(b, group)
	binary.LittleEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	return b
}

// Record is one record as it was appended, with its number. Numbers rise by one
// from 1, except where appends failed.
type Record struct {
	Seq uint64
	// Refused is how many numbers right before Seq were given to records whose append
	// failed; told by Reader.Next.
	Refused uint64
	Payload []byte
}

// group decodes the group at the start of b whose records are intact. size 0 means there is
// none: b ends, is zeros, or is damaged there. The records refer to b.
func group(b []byte) (records []Record, last uint64, size int) {
	at := 0
	for {
		if commit, seq, n, crc := readCommit(b[at:]); commit {
			if int(n) != at || crc32.Checksum(b[:at], castagnoli) != crc {
				return nil, 0, 0
			}
			return records, seq, at + commitSize
		}
		r, n := readRecord(b[at:])
		if n == 0 {
			if len(records) > 0 && nearCommit(b[at:], b[:at], records[len(records)-1].Seq) {
				return records, records[len(records)-1].Seq, at + commitSize
			}
			return nil, 0, 0
		}
		records = append(records, r)
		at += n
	}
}

// nearCommit knows a commit frame with a damaged byte: it still says how long the intact
// records before it are and which is the last, or has their checksum. The worst that can
// come of a mistake is a whole group that nobody had an answer for.
func nearCommit(b, records []byte, last uint64) bool {
	if len(b) < commitSize {
		return false
	}
	size := int(binary.LittleEndian.Uint32(b[16:])) == len(records)
	return size && binary.LittleEndian.Uint64(b[8:]) == last ||
		binary.LittleEndian.Uint32(b[20:]) == crc32.Checksum(records, castagnoli)
}

func readCommit(b []byte) (ok bool, last uint64, size, crc uint32) {
	if len(b) < commitSize || binary.LittleEndian.Uint32(b) != commitMark ||
		crc32.Checksum(b[8:commitSize], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return false, 0, 0, 0
	}
	return true, binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint32(b[16:]),
		binary.LittleEndian.Uint32(b[20:])
}

func readRecord(b []byte) (Record, int) {
	if len(b) < recordHead {
		return Record{}, 0
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if n == 0 || n == commitMark || int64(len(b)) < recordHead+n {
		return Record{}, 0
	}
	end := recordHead + n
	if crc32.Checksum(b[8:end], castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return Record{}, 0
	}
	return Record{Seq: binary.LittleEndian.Uint64(b[8:]), Payload: b[recordHead:end]}, int(end)
}

// resync finds where b goes on behind damage: skip is the offset of the next intact
// group or, when only a commit frame is intact, of what follows it. last is the
// number of the last record that was skipped. skip 0 means that nothing is intact.
func resync(b []byte) (skip int, last uint64) {
	mark := []byte{0xff, 0xff, 0xff, 0xff}
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], mark)
		if i < 0 {
			return 0, 0
		}
		at += i
		ok, seq, size, _ := readCommit(b[at:])
		if !ok {
			continue
		}
		if start := at - int(size); start > 0 {
			if records, _, n := group(b[start:]); n > 0 && len(records) > 0 {
				return start, records[0].Seq - 1
			}
		}
		return at + commitSize, seq
	}
}

// walk goes through the groups of b, which begins at a group. Damage is stepped over to
// the next intact group. It calls each for every intact group, and for every damage with
// nil and the number of the last record skipped; at is where that begins in b and n its
// length. It returns the length of b up to and with the last commit frame.
func walk(b []byte, each func(at, n int, records []Record, last uint64) error) (int, error) {
	at := 0
	for {
		records, last, n := group(b[at:])
		if n > 0 && records == nil {
			records = []Record{} // an append of nothing
		}
		if n == 0 {
			n, last = resync(b[at:])
		}
		if n == 0 {
			return at, nil
		}
		if err := each(at, n, records, last); err != nil {
			return at, err
		}
		at += n
	}
}
