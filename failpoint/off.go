//go:build !failpoint

// Package failpoint kills the process at a named place, and shifts its clock, so that
// scripts/torture can aim. In a build without the tag failpoint, which is every build
// that is used, its functions do nothing and leave nothing behind.
package failpoint

import "time"

// The places.
const (
	SpoolWritten = "spool_written" // a group is written and not yet fsynced
	SpoolSynced  = "spool_synced"  // it is fsynced and nobody has heard of it
	ForwardAcked = "forward_acked" // Kafka has a record and the watermark does not know

	SinkCopied    = "sink_copied"    // a batch's rows are sent and its transaction is open
	SinkCommitted = "sink_committed" // it is committed and nobody has heard of it
)

// Hit is a place.
func Hit(string) {}

// Now is the time.
func Now() time.Time { return time.Now() }
