package event

import (
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/valyala/fastjson"
)

// AppendJSON appends the record as Kafka carries it: one flat object, fields in
// the order of Fields, unknown ones left out, times in Unix milliseconds.
func (e *Event) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	for i := range Fields {
		b = Fields[i].appendJSON(b, e)
	}
	return append(b, '}')
}

func (f *Field) appendJSON(b []byte, e *Event) []byte {
	if f.text {
		return f.appendText(b, *(*string)(unsafe.Add(unsafe.Pointer(e), f.offset)))
	}
	switch p := f.at(e).(type) {
	case *Type:
		return f.appendText(b, string(*p))
	case *UUID:
		if !p.IsZero() {
			b = append(p.append(append(f.appendKey(b), '"')), '"')
		}
	case *Int:
		if p.OK {
			b = strconv.AppendInt(f.appendKey(b), p.N, 10)
		}
	case *Decimal:
		if *p != "" {
			b = append(f.appendKey(b), *p...)
		}
	case *bool:
		b = strconv.AppendBool(f.appendKey(b), *p)
	case *time.Time:
		if !p.IsZero() {
			b = strconv.AppendInt(f.appendKey(b), p.UnixMilli(), 10)
		}
	case *[]string:
		return f.appendList(b, *p)
	case *JSON:
		if len(*p) > 0 {
			b = append(f.appendKey(b), *p...)
		}
	}
	return b
}

func (f *Field) appendKey(b []byte) []byte {
	if b[len(b)-1] == '{' {
		return append(b, f.key[1:]...) // without the comma
	}
	return append(b, f.key...)
}

func (f *Field) appendText(b []byte, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(f.appendKey(b), s)
}

func (f *Field) appendList(b []byte, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(f.appendKey(b), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

const hexDigits = "0123456789abcdef"

// appendString appends s quoted. Invalid UTF-8 becomes U+FFFD and NUL is left out,
// because jsonb takes neither; <, > and & stay as they are.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0 // of the bytes that stay as they are
	for i := 0; i < len(s); {
		c := s[i]
		if plainText[c] {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		n := 1
		switch {
		case c >= utf8.RuneSelf:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c != 0:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i += n
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

// plainText has the bytes that stand in JSON's texts as they are.
var plainText = func() (set [256]bool) {
	for c := byte(' '); c < 0x7f; c++ {
		set[c] = c != '"' && c != '\\'
	}
	return set
}()

// setJSON reads a JSON value into the field; null leaves it unknown.
func (f *Field) setJSON(e *Event, v *fastjson.Value) (r *Refusal) {
	switch v.Type() {
	case fastjson.TypeNull:
		return nil
	case fastjson.TypeString:
		s, _ := v.StringBytes()
		return f.refused(f.set(e, view(s))) // set copies, and the parser still has s
	case fastjson.TypeTrue:
		return f.refused(f.set(e, "true"))
	case fastjson.TypeFalse:
		return f.refused(f.set(e, "false"))
	case fastjson.TypeNumber:
		return f.refused(f.set(e, view(v.MarshalTo(e.text.room()))))
	}
	switch p := f.at(e).(type) {
	case *JSON:
		return e.setProps(p, v)
	case *[]string:
		return f.refused(e.setList(p, v, f.Max))
	}
	return f.refused("a text or a number, not an array or object")
}

func (f *Field) refused(expected string) *Refusal {
	if expected == "" {
		return nil
	}
	reason := BadField
	if f.Name == "event_id" {
		reason = BadEventID
	}
	return refuse(reason, f.Name+" has to be "+expected)
}

func (e *Event) setList(p *[]string, v *fastjson.Value, max int) (expected string) {
	items, err := v.Array()
	if err != nil {
		return "an array of texts"
	}
	for _, item := range items {
		s, err := item.StringBytes()
		if err != nil {
			return "an array of texts"
		}
		*p = append(*p, e.text.keep(e.clean(view(s), max)))
	}
	return ""
}
