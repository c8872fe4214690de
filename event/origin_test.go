package event

import (
	"math"
	"testing"
	"time"
)

func TestOriginReadsWhatWasWrittenAndNothingElse(t *testing.T) {
	id := NewUUID(time.Now())
	for _, want := range []Origin{{id, 1, 1}, {id, 9, 4}, {UUID{}, 1 << 40, 1 << 40},
		{id, 1<<63 - 2, 1}} {
		if got := ReadOrigin(want.Append(nil)); got != want {
			t.Errorf("%v is read as %v", want, got)
		}
	}
	good := Origin{id, 7, 7}.Append(nil)
	for _, bad := range [][]byte{nil, {}, good[:31], append(good, 0), Origin{id, 0, 0}.Append(nil),
		Origin{id, 7, 0}.Append(nil), Origin{id, 7, 8}.Append(nil),
		Origin{id, 1<<63 - 1, 1}.Append(nil), Origin{id, math.MaxUint64, 1}.Append(nil)} {
		if got := ReadOrigin(bad); got != (Origin{}) {
			t.Errorf("%x is read as %v", bad, got)
		}
	}
}
