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
		for i, ctx := range []context.Context{t.Context(), ctx, t.Context()} {
			go func() { answers <- s.Append(ctx, [][]byte{payload(i + 1)}) }()
			synctest.Wait() // the first is being synced, two wait for the next group
		}
		<-d.hanging
		if err := s.Err(); err != nil {
			t.Errorf("a disk at work is called bad: %v", err)
		}
		time.Sleep(hangs - time.Millisecond)
		select {
		case err := <-answers:
			t.Fatalf("an append was answered without the disk: %v", err)
		default:
		}
		ended := time.Now()
		cancel()
		if err := <-answers; !errors.Is(err, context.Canceled) || time.Now() != ended {
			t.Errorf("Append after its context: %v", err)
		}
		time.Sleep(time.Millisecond)
		for range 2 {
			if err := <-answers; !errors.Is(err, ErrHung) {
				t.Errorf("Append: %v, want ErrHung", err)
			}
		}
		if err := s.Append(t.Context(), [][]byte{payload(9)}); !errors.Is(err, ErrHung) {
			t.Errorf("Append meanwhile: %v, want ErrHung", err)
		}
		time.Sleep(time.Hour - hangs)
		if err := s.Err(); err == nil || err.Error() != "the disk has not answered for 1h0m0s" {
			t.Errorf("health of a disk that hangs: %v", err)
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

func TestADiskThatHungIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &hangingDisk{hanging: make(chan struct{}, 9), release: make(chan struct{})}
		o := options(t.TempDir())
		o.disk = d
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Append(t.Context(), [][]byte{payload(1)}); !errors.Is(err, ErrHung) {
			t.Fatalf("Append: %v, want ErrHung", err)
		}
		close(d.release)
		synctest.Wait()
		if err := s.Err(); err != nil {
			t.Errorf("health when the disk is back: %v", err)
		}
		add(t, s, 2, 3)
		if got := readTo(t, s, 1, 3); !slices.Equal(got, upTo(1, 3)) {
			t.Errorf("read %v", got)
		}
	})
}
