//go:build failpoint

package failpoint

import (
	"testing"
	"time"
)

func TestOnlyTheWallClockJumps(t *testing.T) {
	defer func(d time.Duration) { shift = d }(shift)
	for _, shift = range []time.Duration{time.Hour, -48 * time.Hour, -400000 * time.Hour} {
		before := time.Now()
		got := Now()
		if d := got.Sub(before); d < 0 || d > time.Minute {
			t.Errorf("by %s: the monotonic reading jumps by %s", shift, d)
		}
		if d := got.Round(0).Sub(before.Round(0)) - shift; d < -time.Minute || d > time.Minute {
			t.Errorf("by %s: the wall clock is %s off", shift, d)
		}
	}
}
