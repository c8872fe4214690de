package postgres

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"footfall/event"
)

type meters struct {
	set        *metrics.Set
	inserted   *metrics.Counter
	duplicate  *metrics.Counter
	strayDays  *metrics.Counter
	strayRows  *metrics.Gauge
	batchRows  *metrics.Histogram
	writeTime  *metrics.Histogram
	freshness  *metrics.Histogram
	deadByCode map[event.Reason]*metrics.Counter
	byAction   map[action]*metrics.Counter
}

func newMeters(set *metrics.Set) meters {
	m := meters{
		set:        set,
		inserted:   set.GetOrCreateCounter("footfall_rows_inserted_total"),
		duplicate:  set.GetOrCreateCounter("footfall_rows_duplicate_total"),
		strayDays:  set.GetOrCreateCounter("footfall_days_without_partition_total"),
		strayRows:  set.GetOrCreateGauge("footfall_rows_without_partition", nil),
		batchRows:  set.GetOrCreateHistogram("footfall_batch_rows"),
		writeTime:  set.GetOrCreateHistogram("footfall_write_seconds"),
		freshness:  set.GetOrCreateHistogram("footfall_freshness_seconds"),
		deadByCode: map[event.Reason]*metrics.Counter{},
		byAction:   map[action]*metrics.Counter{},
	}
	for _, r := range []event.Reason{event.Undecodable, event.RefusedByDatabase} {
		m.deadByCode[r] = set.GetOrCreateCounter(
			fmt.Sprintf("footfall_dead_letters_total{reason=%q}", r))
	}
	for _, a := range actions {
		m.byAction[a] = set.GetOrCreateCounter(
			fmt.Sprintf("footfall_sink_errors_total{action=%q}", a))
	}
	return m
}

// stored counts a batch that is committed.
func (m *meters) stored(w *work, started time.Time) {
	now := time.Now()
	m.writeTime.Update(now.Sub(started).Seconds())
	m.batchRows.Update(float64(len(w.rows)))
	for _, t := range w.tally {
		m.inserted.AddInt64(t.inserted)
		m.duplicate.AddInt64(t.duplicate)
	}
	for i := range w.rows {
		switch r := &w.rows[i]; r.state {
		case refused:
			m.deadByCode[r.reason].Inc()
		case stored:
			// The collector's clock may be ahead of ours; a histogram has no negatives.
			age := now.Sub(time.UnixMilli(r.received)).Seconds()
			m.freshness.Update(max(0, age))
		}
	}
}
