package mongo

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/event"
)

// meters have the names of PostgreSQL's; the set they are in tells them apart.
type meters struct {
	inserted, duplicate *metrics.Counter
	batchRows           *metrics.Histogram
	writeTime           *metrics.Histogram
	freshness           *metrics.Histogram
	dead                map[event.Reason]*metrics.Counter
}

func newMeters(set *metrics.Set) meters {
	m := meters{
		inserted:  set.GetOrCreateCounter("footfall_rows_inserted_total"),
		duplicate: set.GetOrCreateCounter("footfall_rows_duplicate_total"),
		batchRows: set.GetOrCreateHistogram("footfall_batch_rows"),
		writeTime: set.GetOrCreateHistogram("footfall_write_seconds"),
		freshness: set.GetOrCreateHistogram("footfall_freshness_seconds"),
		dead:      map[event.Reason]*metrics.Counter{},
	}
	for _, r := range []event.Reason{event.Undecodable, event.RefusedByDatabase} {
		m.dead[r] = set.GetOrCreateCounter(fmt.Sprintf("footfall_dead_letters_total{reason=%q}", r))
	}
	return m
}

// stored counts a batch whose positions have moved. A batch that is written again
// after a crash counts as duplicates what the first attempt had inserted.
func (m *meters) stored(w *work, started time.Time) {
	now := time.Now()
	m.writeTime.Update(now.Sub(started).Seconds())
	m.batchRows.Update(float64(w.records))
	m.inserted.AddInt64(w.inserted)
	m.duplicate.AddInt64(w.duplicate)
	for reason, n := range w.refused {
		m.dead[reason].AddInt64(n)
	}
	if w.oldest > 0 {
		// The collector's clock may be ahead of ours; a histogram has no negatives.
		m.freshness.Update(max(0, now.Sub(time.UnixMilli(w.oldest)).Seconds()))
	}
}
