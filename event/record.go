package event

import (
	"bytes"
	"strconv"
)

// AppendRecord appends the event as the spool keeps it: its partition key, a NUL,
// and the JSON that Kafka carries. No text of an event holds a NUL.
func (e *Event) AppendRecord(b []byte) []byte {
	return e.AppendJSON(append(e.appendKey(b), 0))
}

// SplitRecord takes apart what AppendRecord made. The parts refer to b.
func SplitRecord(b []byte) (key, value []byte) {
	key, value, _ = bytes.Cut(b, []byte{0})
	return key, value
}

// asideKey marks what AppendAside makes. No event has it.
const asideKey = "kept_aside"

// AppendAside appends what stands in Kafka for a record that is too large for it: JSON
// that says where the collector keeps it, and of how many bytes it is. Decoder refuses it
// as Undecodable, so that the sink makes a dead letter of it.
func AppendAside(b []byte, spool UUID, seq uint64, bytes int) []byte {
	b = append(b, `{"`+asideKey+`":{"spool":"`...)
	b = append(spool.append(b), `","seq":`...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, `,"bytes":`...)
	return append(strconv.AppendInt(b, int64(bytes), 10), "}}"...)
}
