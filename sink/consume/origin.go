package consume

import (
	"footfall/event"

	"github.com/twmb/franz-go/pkg/kgo"
)

// recordOf takes what a Record keeps of one of Kafka's.
func recordOf(r *kgo.Record) Record {
	rec := Record{Offset: r.Offset, Key: r.Key, Value: r.Value}
	for i := range r.Headers {
		if r.Headers[i].Key == event.OriginHeader {
			rec.Origin = event.ReadOrigin(r.Headers[i].Value)
			break
		}
	}
	return rec
}
