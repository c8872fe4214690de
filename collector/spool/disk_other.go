//go:build !linux

package spool

import "os"

func preallocate(f *os.File, size int64) error { return f.Truncate(size) }

// dataSync is os.File.Sync, which on macOS asks the drive itself (F_FULLFSYNC).
func dataSync(f *os.File) error { return f.Sync() }
