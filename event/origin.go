package event

import "encoding/binary"

// OriginHeader is the Kafka header that says which record of which collector's spool a
// record is. Whoever does not know it leaves it alone; a record without it comes from a
// collector without a spool, or from an older one.
const OriginHeader = "spool"

// OriginBytes is the length of the header's value.
const OriginBytes = len(UUID{}) + 8 + 8

// Origin is which record of which spool a record is.
type Origin struct {
	Spool UUID
	Seq   uint64 // its number there, from 1; 0 when it is not known
	// First is less than Seq where the numbers from First on were given to records that
	// were refused: nobody was told that those are on disk, and they never come.
	First uint64
}

// Append appends the header's value: id, Seq and First, big-endian.
func (o Origin) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, o.Spool[:]...), o.Seq)
	return binary.BigEndian.AppendUint64(b, o.First)
}

// ReadOrigin reads what Append wrote. Whatever is something else is the zero Origin.
func ReadOrigin(value []byte) (o Origin) {
	if len(value) != OriginBytes {
		return Origin{}
	}
	n := copy(o.Spool[:], value)
	o.Seq, o.First = binary.BigEndian.Uint64(value[n:]), binary.BigEndian.Uint64(value[n+8:])
	const most = 1<<63 - 2 // what a database's range of bigint holds
	if o.First == 0 || o.First > o.Seq || o.Seq > most {
		return Origin{}
	}
	return o
}
