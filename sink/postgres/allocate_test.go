//go:build !race

// The race detector allocates.

package postgres

import "testing"

// BenchmarkPrepare1000 is the decoding and encoding of one batch, before the database.
func BenchmarkPrepare1000(b *testing.B) {
	s := &Store{}
	records := part(0, 0, encoded(full(1000, today())...)...)
	b.ReportAllocs()
	for b.Loop() {
		s.prepare(batch(records))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/row")
}

func TestARowIsPreparedWithoutAnAllocationOfItsOwn(t *testing.T) {
	s := &Store{}
	records := part(0, 0, encoded(full(1000, today())...)...)
	if n := testing.AllocsPerRun(10, func() { s.prepare(batch(records)) }); n > 100 {
		t.Errorf("1000 rows take %v allocations", n)
	}
}
