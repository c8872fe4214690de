package spool

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// hangingDisk is one whose fsync of data does not come back until release is closed.
type hangingDisk struct {
	osDisk
	hanging chan struct{} // gets one for each fsync that began
	release chan struct{}
}

type hangingFile struct {
	file
	disk *hangingDisk
}

func (d *hangingDisk) create(path string) (file, error) {
	f, err := d.osDisk.create(path)
	return hangingFile{f, d}, err
}

func (f hangingFile) dataSync() error {
	f.disk.hanging <- struct{}{}
	<-f.disk.release
	return f.file.dataSync()
}

func TestADiskThatHangsHoldsNobodyForEver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &hangingDisk{hanging: make(chan struct{}, 9), release: make(chan struct{})}
		o := options(dir)
		o.disk = d
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		answers := make(chan error, 3)
		for i := range 3 { // one is being synced, two wait for the next group
			go func() { answers <- s.Append(ctx, [][]byte{payload(i + 1)}) }()
			synctest.Wait()
		}
		<-d.hanging
		if err := s.Err(); err != nil {
			t.Errorf("a disk at work is called bad: %v", err)
		}
		time.Sleep(time.Hour)
		if err := s.Err(); err == nil || err.Error() != "the disk has not answered for 1h0m0s" {
			t.Errorf("health of a disk that hangs: %v", err)
		}
		select {
		case err := <-answers:
			t.Fatalf("an append was answered without the disk: %v", err)
		default:
		}
		cancel()
		for range 3 {
			if err := <-answers; !errors.Is(err, context.Canceled) {
				t.Errorf("Append: %v, want the context's error", err)
			}
		}
		if s.Durable() != 0 {
			t.Errorf("durable is %d without an fsync", s.Durable())
		}
		began := time.Now()
		if err := s.Close(); err == nil || time.Since(began) != closeMax {
			t.Errorf("Close after %s: %v", time.Since(began), err)
		}
		if err := s.Append(t.Context(), [][]byte{payload(4)}); !errors.Is(err, ErrClosed) {
			t.Errorf("Append after Close: %v", err)
		}
		// The disk wakes up: what was handed over is written, by nobody's promise.
		close(d.release)
		if err := s.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
		crash(t, s)
	})
	s := open(t, options(dir))
	if got := readTo(t, s, 1, 3); !slices.Equal(got, upTo(1, 3)) {
		t.Errorf("read %v", got)
	}
}
