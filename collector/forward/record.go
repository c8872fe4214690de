package forward

import (
	"footfall/event"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Record is a record of a spool: its number there, and how many numbers right before it
// were given to records that nobody was told are on disk.
type Record struct {
	Seq, Refused uint64
	Key, Value   []byte
}

func (r *Record) size() int64 { return int64(len(r.Key) + len(r.Value)) }

// kafka copies it for Kafka, with its origin in a header.
func (r *Record) kafka(spool event.UUID) *kgo.Record {
	b := make([]byte, 0, len(r.Key)+len(r.Value)+event.OriginBytes)
	b = append(append(b, r.Key...), r.Value...)
	k, v := len(r.Key), len(b)
	b = event.Origin{Spool: spool, Seq: r.Seq, First: r.Seq - r.Refused}.Append(b)
	return &kgo.Record{Key: b[:k:k], Value: b[k:v:v],
		Headers: []kgo.RecordHeader{{Key: event.OriginHeader, Value: b[v:]}}}
}
