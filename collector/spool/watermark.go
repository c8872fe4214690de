package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"footfall/event"
)

// Watermark is how far a spool has been passed on, kept in a file beside its
// segments: every record before Next is safe elsewhere. It may lag behind, which
// means only that records are passed on twice.
type Watermark struct {
	path string
	id   event.UUID
}

// Watermark returns the spool's own, in its directory.
func (s *Spool) Watermark() *Watermark {
	return &Watermark{path: filepath.Join(s.o.Dir, watermarkName), id: s.id}
}

const watermarkName = "watermark.json"

type watermarkFile struct {
	Spool string `json:"spool"`
	Next  uint64 `json:"next_seq"`
}

// Load returns the number of the first record that has to be passed on: 1 when
// nothing was, or when the file is another spool's.
func (w *Watermark) Load(context.Context) (uint64, error) {
	b, err := os.ReadFile(w.path)
	if errors.Is(err, os.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read watermark: %w", err)
	}
	var f watermarkFile
	if err := json.Unmarshal(b, &f); err != nil || f.Spool != w.id.String() {
		// Passing everything on again is harmless: the sink keeps one row of each.
		return 1, nil
	}
	return f.Next, nil
}

// Store replaces the file, in one step where the disk has room for two.
func (w *Watermark) Store(_ context.Context, next uint64) error {
	b, err := json.Marshal(watermarkFile{Spool: w.id.String(), Next: next})
	if err != nil {
		return fmt.Errorf("encode watermark: %w", err)
	}
	tmp := w.path + ".tmp"
	err = writeFileSync(tmp, b)
	if errors.Is(err, unix.ENOSPC) {
		// A full disk has no room for a second file, and without a watermark no segment may
		// go. One torn by a loss of power here is one that is not there.
		err = errors.Join(overwriteSync(w.path, b), os.Remove(tmp))
	} else if err == nil {
		err = os.Rename(tmp, w.path)
	}
	if err != nil {
		return fmt.Errorf("write watermark: %w", err)
	}
	return nil
}

// overwriteSync changes a file in its place, for which a full disk has room.
func overwriteSync(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	if _, err = f.WriteAt(b, 0); err == nil {
		err = f.Truncate(int64(len(b)))
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func writeFileSync(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}
