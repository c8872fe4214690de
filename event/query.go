package event

import (
	"bytes"
	"fmt"
	"strings"
)

// queryBytes is about what the texts of a pixel take.
const queryBytes = 512

// Query reads a pixel's query as it stands in the request, one event. Keys are field
// names, "props" as JSON text or "props.KEY" each; or the one key "json" has what a
// beacon's body would be. What is badly escaped stays as it was
// written: half a title is better than no event.
func (d *Decoder) Query(query []byte) (*Envelope, *Refusal) {
	env := d.envelope(queryBytes)
	e := &env.common
	e.Type = Pageview
	var props []byte
	n := 0
	for len(query) > 0 {
		var pair []byte
		pair, query, _ = bytes.Cut(query, []byte("&"))
		if len(pair) == 0 {
			continue
		}
		k, v, _ := bytes.Cut(pair, []byte("="))
		// Both are for this turn only: what is kept of them is copied.
		room := env.text.room()
		key, room := unescape(k, room)
		value, _ := unescape(v, room)
		if n++; n > EventKeysMax {
			return nil, refuse(TooManyKeys, fmt.Sprintf("more than %d query keys", EventKeysMax))
		}
		var r *Refusal
		name, isProp := strings.CutPrefix(key, "props.")
		switch {
		case key == "json":
			return d.Envelope([]byte(value))
		case isProp:
			opening := byte(',')
			if len(props) == 0 {
				opening = '{'
			}
			props = append(props, opening)
			props = appendString(append(appendString(props, name), ':'), value)
		case key == "sent_at":
			if expected := setTime(&env.Sent, value); expected != "" {
				r = refuse(BadField, "sent_at has to be "+expected)
			}
		case key == "props":
			r = d.props(e, []byte(value))
		default:
			r = e.setClientText(key, value)
		}
		if r != nil {
			return nil, r
		}
	}
	if len(props) > 0 {
		if r := d.props(e, append(props, '}')); r != nil {
			return nil, r
		}
	}
	e.finish()
	if r := e.check(); r != nil {
		return nil, r
	}
	env.Site = e.Site
	env.add()
	env.Indexes = append(env.Indexes, 0)
	return env, nil
}

func (e *Event) setClientText(key, value string) *Refusal {
	f := fieldOf(key)
	if f == nil || !f.Client && key != "site" {
		e.Sanitised++
		return nil
	}
	if value == "" {
		return nil
	}
	return f.refused(f.set(e, value))
}

func (d *Decoder) props(e *Event, text []byte) *Refusal {
	p := d.parsers.Get()
	defer d.parsers.Put(p)
	v, err := p.ParseBytes(text)
	if err != nil {
		return refuse(BadField, "props has to be a JSON object: "+firstLine(err.Error()))
	}
	return e.setProps(&e.Props, v)
}

// unescape returns the decoded form of s, and what it left of room, where it put that; or
// s itself when there is nothing to decode or that is badly written.
func unescape(s, room []byte) (text string, rest []byte) {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return view(s), room
	}
	from := len(room)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch c {
		case '+':
			c = ' '
		case '%':
			if i+2 >= len(s) {
				return view(s), room
			}
			high, low := nibble(s[i+1]), nibble(s[i+2])
			if high|low > 15 {
				return view(s), room
			}
			c = high<<4 | low
			i += 2
		}
		room = append(room, c)
	}
	return view(room[from:]), room[len(room):]
}

// nibble returns the value of a hexadecimal digit, or more than 15.
func nibble(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}
