package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// scanned returns the numbers that Scan finds, and checks that nothing was changed.
func scanned(t *testing.T, dir string) (seqs []uint64, infos []SegmentInfo) {
	t.Helper()
	before := content(t, dir)
	infos, err := Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = Scan(dir, func(r Record) error {
		if string(r.Payload) != string(payload(int(r.Seq))) {
			return fmt.Errorf("record %d is %q", r.Seq, r.Payload)
		}
		seqs = append(seqs, r.Seq)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, dir), before) {
		t.Error("the directory was changed")
	}
	return seqs, infos
}

func content(t *testing.T, dir string) (all []byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, e.Name()...), b...)
	}
	return all
}

func TestScanBesideTheWriterFindsAllRecords(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 100)
	seqs, infos := scanned(t, o.Dir)
	if !slices.Equal(seqs, upTo(1, 100)) {
		t.Errorf("scanned %v", seqs)
	}
	for i, info := range infos {
		want := Closed
		if i == len(infos)-1 {
			want = Active
		}
		g := s.segments[i]
		if info.State != want || info.First != g.first || info.Last != g.last ||
			info.Records != int(g.last-g.first+1) || info.Missing != nil {
			t.Errorf("segment %d: %+v", i, info)
		}
	}
	if last := infos[len(infos)-1]; last.Bytes != s.segments[len(infos)-1].end {
		t.Errorf("%d bytes used, want %d", last.Bytes, s.segments[len(infos)-1].end)
	}
}

func TestScanStopsAtTheLastCommit(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 5)
	g := s.segments[0]
	if _, err := g.file.WriteAt(appendRecord(nil, 6, payload(6)), g.end); err != nil {
		t.Fatal(err)
	}
	seqs, infos := scanned(t, o.Dir)
	if !slices.Equal(seqs, upTo(1, 5)) || infos[0].State != Active {
		t.Errorf("scanned %v, %+v", seqs, infos)
	}
}

func TestInspectNamesTheRecordsThatAreMissing(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 100)
	group := int64(recordHead + len(payload(1)) + commitSize)
	flip(t, s.segments[0].path, headerSize+group+recordHead+3) // record 2
	last := s.segments[1].last
	for _, at := range []int64{5, 1} { // the last commit of a closed one: its length and checksum
		flip(t, s.segments[1].path, s.segments[1].end-at)
	}
	seqs, infos := scanned(t, o.Dir)
	want := slices.DeleteFunc(upTo(1, 100), func(n uint64) bool { return n == 2 || n == last })
	if !slices.Equal(seqs, want) {
		t.Errorf("scanned %v, want %v", seqs, want)
	}
	if m := infos[0].Missing; len(m) != 1 ||
		m[0] != (Damage{Offset: headerSize + group, Bytes: group, From: 2, To: 2}) {
		t.Errorf("first segment: %+v", m)
	}
	if m := infos[1].Missing; len(m) != 1 || m[0].From != last || m[0].To != last {
		t.Errorf("second segment: %+v, want %d", m, last)
	}
	if got := readTo(t, s, 1, 100); !slices.Equal(got, want) ||
		s.stats.missing.Get() != 2 {
		t.Errorf("a reader finds %v, and counts %d missing", got, s.stats.missing.Get())
	}
}

func TestInspectTellsOfFilesThatNoReaderSees(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	s := open(t, o)
	add(t, s, 1, 100)
	first, second := s.segments[0], s.segments[1]
	next := segmentPath(o.Dir, 101)
	if err := os.WriteFile(next, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	crash(t, s)
	rewrite(t, first.path, otherNumbers)
	seqs, infos := scanned(t, o.Dir)
	if !slices.Equal(seqs, upTo(second.first, 100)) {
		t.Errorf("scanned %v", seqs)
	}
	if i := infos[0]; i.State != Damaged || i.Problem == "" || i.First != 99999 {
		t.Errorf("damaged header: %+v", i)
	}
	if i := infos[len(infos)-1]; i.State != Unfinished || i.Problem != "" {
		t.Errorf("file without a header: %+v", i)
	}
	open(t, o)
	if _, infos = scanned(t, o.Dir); infos[0].State != Aside || infos[0].Last != 99999 {
		t.Errorf("after an Open: %+v", infos[0])
	}
}

func TestScanEndsWithTheErrorOfItsFunction(t *testing.T) {
	t.Parallel()
	o := options(t.TempDir())
	add(t, open(t, o), 1, 3)
	enough := errors.New("enough")
	if err := Scan(o.Dir, func(Record) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("Scan: %v", err)
	}
}
