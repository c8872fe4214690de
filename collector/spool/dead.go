package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/event"
)

const deadDir = "dead"

// KeepDead keeps a record that can never be passed on, in a file of its own below
// dead, on disk when it returns. The record may leave the spool afterwards.
func (s *Spool) KeepDead(seq uint64, value []byte) error {
	dir := filepath.Join(s.o.Dir, deadDir)
	path := filepath.Join(dir, fmt.Sprintf("%s-%d.json", s.id, seq))
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrExist) {
		err = nil
	}
	if err == nil {
		err = writeFileSync(path+".tmp", value)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = errors.Join(syncDir(dir), syncDir(s.o.Dir))
	}
	if err != nil {
		return fmt.Errorf("keep dead record: %w", err)
	}
	return nil
}

// DeadRecord is a record that KeepDead keeps.
type DeadRecord struct {
	Spool event.UUID
	Seq   uint64
	At    time.Time
	Bytes int64
	path  string
}

// ListDead returns the records that KeepDead keeps in the spool of a directory, by
// number. It changes nothing and takes no lock. Other files there are left out.
func ListDead(dir string) ([]DeadRecord, error) {
	entries, err := os.ReadDir(filepath.Join(dir, deadDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read dead records: %w", err)
	}
	var list []DeadRecord
	for _, e := range entries {
		r, ok := deadRecord(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read dead records: %w", err)
		}
		r.At, r.Bytes, r.path = info.ModTime(), max(0, info.Size()-1), filepath.Join(dir, deadDir, e.Name())
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b DeadRecord) int {
		if a.Seq != b.Seq {
			return int(int64(a.Seq - b.Seq))
		}
		return bytes.Compare(a.Spool[:], b.Spool[:])
	})
	return list, nil
}

// deadRecord reads a file's name.
func deadRecord(name string) (r DeadRecord, ok bool) {
	name, ok = strings.CutSuffix(name, ".json")
	at := strings.LastIndexByte(name, '-')
	if !ok || at < 0 {
		return r, false
	}
	var err error
	if r.Seq, err = strconv.ParseUint(name[at+1:], 10, 64); err != nil || r.Seq == 0 {
		return r, false
	}
	r.Spool, err = event.ParseUUID(name[:at])
	return r, err == nil
}

// Value reads the record.
func (r DeadRecord) Value() ([]byte, error) {
	b, err := os.ReadFile(r.path)
	if err != nil {
		return nil, fmt.Errorf("read dead record: %w", err)
	}
	return bytes.TrimSuffix(b, []byte{'\n'}), nil
}

// Drop removes the record for good.
func (r DeadRecord) Drop() error {
	err := os.Remove(r.path)
	if err == nil {
		err = syncDir(filepath.Dir(r.path))
	}
	if err != nil {
		return fmt.Errorf("drop dead record: %w", err)
	}
	return nil
}
