package event

import "unsafe"

// text is the memory that the texts of one request's events share, so that they cost
// one allocation together, or none in an envelope that is used again. What it has given out
// is not written before the envelope's Release. The zero value is ready; it is not for
// concurrent use.
type text struct{ b []byte }

// keep returns a copy of s.
func (t *text) keep(s string) string {
	if s == "" {
		return ""
	}
	if t == nil {
		return string([]byte(s)) // s may be borrowed: a conversion alone would share it
	}
	from := len(t.b)
	t.b = append(t.b, s...) // growing leaves the texts before in the old memory
	return view(t.b[from:])
}

// room returns memory for something short-lived: the next keep writes over it. That may
// keep a part of it: append moves bytes that overlap in the right order.
func (t *text) room() []byte {
	if t == nil {
		return nil
	}
	return t.b[len(t.b):]
}

// view looks at bytes as a string, without a copy. Whoever calls it says why they do not
// change as long as the string is used.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Keep returns a copy of b that lives as long as the event does.
func (e *Event) Keep(b []byte) string { return e.text.keep(view(b)) }

// Keep returns a copy of b that lives as long as the envelope's events do.
func (env *Envelope) Keep(b []byte) string { return env.text.keep(view(b)) }
