package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"footfall/event"
	"footfall/sink/consume"
)

func BenchmarkWrite10000(b *testing.B) {
	for way, path := range map[string]path{"direct": direct, "sifted": sifted, "staged": staged} {
		b.Run(way, func(b *testing.B) {
			s, _ := open(b)
			own(b, s, 0, 1, 2, 3)
			const rows, parts = 10_000, 4
			batches := make([][]consume.Part, 0, 64)
			from, then := int64(0), today().Add(-time.Hour)
			for range cap(batches) {
				var list []consume.Part
				for p := range int32(parts) {
					run := part(p, from, encoded(full(rows/parts, then)...)...)
					for i := range run.Records { // as partitions share a spool's records out
						seq := uint64(from)*parts + uint64(i)*parts + uint64(p) + 1
						run.Records[i].Origin = event.Origin{Spool: event.UUID{1}, Seq: seq, First: seq}
					}
					list = append(list, run)
				}
				then = then.Add(rows / parts * time.Millisecond)
				from += rows / parts
				batches = append(batches, list)
			}
			next := 0
			for b.Loop() {
				if next == len(batches) {
					b.Fatalf("only %d batches are prepared", len(batches))
				}
				s.detour.begin(path)
				write(b, s, batches[next]...)
				next++
			}
			b.ReportMetric(float64(next*rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// full returns events as a page sends them, about 870 bytes each.
func full(n int, then time.Time) []*event.Event {
	list := events(n, then)
	for i, e := range list {
		e.VisitorID, e.SessionID = fmt.Sprintf("%032x", i%500), fmt.Sprintf("%032x", i%900)
		e.Hostname, e.Title = "shop.example", "A page of the shop that has a title"
		e.Referrer, e.ReferrerHost = "https://search.example/", "search.example"
		e.Source, e.Channel, e.Country, e.ASN = "search", "organic", "DE", event.Some(3320)
		e.UserAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0"
		e.Browser, e.BrowserVersion, e.OS, e.Device = "Chrome", "140", "Linux", "desktop"
		e.Language, e.Timezone = "de-DE", "Europe/Berlin"
		e.ScreenW, e.ScreenH = event.Some(1920), event.Some(1080)
		e.ViewportW, e.ViewportH = event.Some(1900), event.Some(950)
		e.SnippetVersion, e.Props = "1.0.0", event.JSON(`{"plan":"pro","items":3}`)
	}
	return list
}

// BenchmarkAccount10000 is what a batch's accounts cost beside its rows, without the
// database: of two sites and two hours, in one partition of four.
func BenchmarkAccount10000(b *testing.B) {
	s := &Store{}
	run := part(0, 0, encoded(full(10_000, today().Truncate(time.Hour).Add(-5*time.Second))...)...)
	for i := range run.Records {
		seq := uint64(i)*4 + 1
		run.Records[i].Origin = event.Origin{Spool: event.UUID{1}, Seq: seq, First: seq}
	}
	w := s.prepare(batch(run))
	for b.Loop() {
		account(&pgx.Batch{}, w)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/row")
}
