//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
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

// shift is FOOTFALL_TEST_CLOCK, a duration that this process' clock is wrong by.
var shift, _ = time.ParseDuration(os.Getenv("FOOTFALL_TEST_CLOCK"))

// Now is the time, shifted.
func Now() time.Time { return time.Now().Add(shift) }
