package event

import (
	"fmt"
	"strconv"

	"github.com/valyala/fastjson"
)

// Limits of props. PostgreSQL would take 1e100000 and make a hundred thousand
// digits of it, and gives up on deep nesting: both end here.
const (
	PropsBytesMax   = 16 << 10
	PropsDepthMax   = 8  // objects and arrays inside each other, the outermost counts
	PropsKeysMax    = 64 // of one object
	PropKeyBytesMax = 64
	propNumberMax   = 64  // bytes of a number's text
	propExponentMax = 308 // of a number, either sign: a float64's range
)

// setProps bounds an object and encodes it anew, so that what reaches the database
// is only ever this package's own JSON. Of equal keys the last one counts, as in
// jsonb and in browsers.
func (e *Event) setProps(p *JSON, v *fastjson.Value) *Refusal {
	o, err := v.Object()
	if err != nil {
		return refuse(BadField, "props has to be an object")
	}
	t := e.text
	if t == nil {
		t = &text{}
	}
	all, r := appendObject(t.b, o, 1)
	if r != nil {
		return r
	}
	b := all[len(t.b):len(all):len(all)]
	if len(b) > PropsBytesMax {
		return refuse(PropsTooLarge, fmt.Sprintf("props are %d bytes, at most %d fit",
			len(b), PropsBytesMax))
	}
	if len(b) > len(`{}`) {
		t.b, *p = all, b
	}
	return nil
}

func appendValue(b []byte, v *fastjson.Value, depth int) ([]byte, *Refusal) {
	container := v.Type() == fastjson.TypeObject || v.Type() == fastjson.TypeArray
	if container && depth > PropsDepthMax {
		return b, refuse(PropsTooLarge, fmt.Sprintf("props nest deeper than %d", PropsDepthMax))
	}
	switch v.Type() {
	case fastjson.TypeObject:
		return appendObject(b, v.GetObject(), depth)
	case fastjson.TypeArray:
		b = append(b, '[')
		for i, item := range v.GetArray() {
			if i > 0 {
				b = append(b, ',')
			}
			var r *Refusal
			if b, r = appendValue(b, item, depth+1); r != nil {
				return b, r
			}
		}
		return append(b, ']'), nil
	case fastjson.TypeString:
		return appendString(b, view(v.GetStringBytes())), nil
	case fastjson.TypeNumber:
		return appendNumber(b, v)
	}
	return v.MarshalTo(b), nil // true, false, null
}

// member is one key of an object with the last value that it has there.
type member struct {
	key   string
	value *fastjson.Value
}

func appendObject(b []byte, o *fastjson.Object, depth int) ([]byte, *Refusal) {
	if o.Len() > PropsKeysMax {
		return b, refuse(PropsTooLarge, fmt.Sprintf("props have %d keys in one object, at most %d fit",
			o.Len(), PropsKeysMax))
	}
	var room [16]member // more are rare, and this stack is one of thousands
	members := room[:0]
	o.Visit(func(k []byte, v *fastjson.Value) {
		// Cleaned first: two keys that would be stored as one are one, and a limit
		// that holds here holds in the record too.
		key := cleanText(view(k)) // the parser's, as long as we are here
		for i := range members {
			if members[i].key == key {
				members[i].value = v
				return
			}
		}
		members = append(members, member{key, v})
	})
	b = append(b, '{')
	for i, m := range members {
		key := m.key
		if len(key) > PropKeyBytesMax {
			return b, refuse(PropsTooLarge, fmt.Sprintf("a key of props is %d bytes, at most %d fit",
				len(key), PropKeyBytesMax))
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, key), ':')
		var r *Refusal
		if b, r = appendValue(b, m.value, depth+1); r != nil {
			return b, r
		}
	}
	return append(b, '}'), nil
}

// appendNumber takes only what JSON calls a number and a float64 can hold in
// size: the parser is laxer (it takes NaN), and the database stricter.
func appendNumber(b []byte, v *fastjson.Value) ([]byte, *Refusal) {
	from := len(b)
	b = v.MarshalTo(b)
	text := view(b[from:])
	if len(text) > propNumberMax {
		return b, refuse(PropsTooLarge, fmt.Sprintf("a number of props has %d digits, at most %d fit",
			len(text), propNumberMax))
	}
	if !jsonNumber(text) {
		return b, refuse(BadJSON, "props hold "+strconv.Quote(text)+", which is not a JSON number")
	}
	if e := exponent(text); e > propExponentMax || e < -propExponentMax {
		return b, refuse(PropsTooLarge, fmt.Sprintf("a number of props has an exponent beyond %d",
			propExponentMax))
	}
	return b, nil
}

// jsonNumber reports whether s is a number by RFC 8259: -? int frac? exp?
func jsonNumber(s string) bool {
	if s != "" && s[0] == '-' {
		s = s[1:]
	}
	whole := countDigits(s)
	if whole == 0 || whole > 1 && s[0] == '0' {
		return false
	}
	s = s[whole:]
	if s != "" && s[0] == '.' {
		n := countDigits(s[1:])
		if n == 0 {
			return false
		}
		s = s[1+n:]
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		n := countDigits(s)
		return n > 0 && n == len(s)
	}
	return s == ""
}

func countDigits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}

// exponent returns the power of ten written in a JSON number, or 0.
func exponent(s string) int {
	for i := range len(s) {
		if s[i] == 'e' || s[i] == 'E' {
			n, err := strconv.Atoi(s[i+1:])
			if err != nil {
				return propExponentMax + 1
			}
			return n
		}
	}
	return 0
}
