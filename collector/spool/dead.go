package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// KeepDead keeps a record that can never be passed on, in a file of its own below
// dead, on disk when it returns. The record may leave the spool afterwards.
func (s *Spool) KeepDead(seq uint64, value []byte) error {
	dir := filepath.Join(s.o.Dir, "dead")
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
