//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// The places.
const (
	SpoolWritten = "spool_written"
	SpoolSynced  = "spool_synced"
	ForwardAcked = "forward_acked"

	SinkCopied    = "sink_copied"
	SinkCommitted = "sink_committed"
)

// armed is FOOTFALL_TEST_FAILPOINT, as in spool_written:17: the 17th hit kills.
var armed, after, _ = strings.Cut(os.Getenv("FOOTFALL_TEST_FAILPOINT"), ":")

var left atomic.Int64

// Hit ends the process as kill -9 does, when it is the armed place's turn.
func Hit(place string) {
	if place != armed {
		return
	}
	n, _ := strconv.ParseInt(after, 10, 64)
	if left.Add(1) == max(n, 1) {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// FOOTFALL_TEST_CLOCK is a duration that this process' clock is wrong by, and may say from
// when on: 48h@3s jumps three seconds after the start.
var (
	wrong, from, _ = strings.Cut(os.Getenv("FOOTFALL_TEST_CLOCK"), "@")
	shift, _       = time.ParseDuration(wrong)
	calm, _        = time.ParseDuration(from)
	started        = time.Now()
)

// Now is the time as a machine has it whose wall clock was set wrong: only that jumps, the
// monotonic reading beside it does not.
func Now() time.Time {
	t := time.Now()
	if shift == 0 || t.Sub(started) < calm {
		return t
	}
	// In a Time from the clock the word begins with a flag and 33 bits of seconds.
	*(*uint64)(unsafe.Pointer(&t)) += uint64(int64(shift/time.Second)) << 30
	return t
}
