package event

import "bytes"

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
