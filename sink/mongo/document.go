package mongo

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fastjson"
	"go.mongodb.org/mongo-driver/v2/bson"

	"footfall/event"
)

// encoder turns events into documents. The zero value is ready; it is safe for
// concurrent use.
type encoder struct{ parsers fastjson.ParserPool }

// appendDocument appends an event as a document: its id as _id (binary of subtype 4),
// then the fields that are known under the wire's own names, in the order of
// event.Fields. Times are dates, integers longs, revenue a Decimal128, bot_reasons an
// array and props a document with its keys as they came, $ and dots included. Limits
// of package event keep its nesting far from MongoDB's 100.
func (c *encoder) appendDocument(b []byte, e *event.Event) ([]byte, error) {
	from := len(b)
	b = appendBinary(open(b), "_id", bson.TypeBinaryUUID, e.EventID[:])
	for i := range event.Fields {
		f := &event.Fields[i]
		var err error
		if b, err = c.appendField(b, f.Name, f.At(e)); err != nil {
			return b, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return shut(b, from), nil
}

func (c *encoder) appendField(b []byte, name string, value any) ([]byte, error) {
	switch p := value.(type) {
	case *event.UUID: // is _id
	case *string:
		switch {
		case *p == "":
		case name == "ip":
			// One form for an address, as PostgreSQL has, and none for what is no address.
			addr, err := netip.ParseAddr(*p)
			if err != nil {
				return b, fmt.Errorf("read address: %w", err)
			}
			b = appendText(b, name, addr.WithZone("").String())
		default:
			b = appendText(b, name, *p)
		}
	case *event.Type:
		b = appendText(b, name, string(*p))
	case *event.Int:
		if p.OK {
			b = appendLong(b, name, p.N)
		}
	case *bool:
		b = appendBool(b, name, *p)
	case *time.Time:
		b = appendDate(b, name, *p)
	case *[]string:
		b = appendTexts(b, name, *p)
	case *event.Decimal:
		return appendRevenue(b, name, string(*p))
	case *event.JSON:
		return c.appendJSON(b, name, *p)
	default:
		return b, fmt.Errorf("no BSON for %T", value)
	}
	return b, nil
}

// appendRevenue keeps the digits behind the point, as PostgreSQL does.
func appendRevenue(b []byte, key, s string) ([]byte, error) {
	if s == "" {
		return b, nil
	}
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-")
	}
	d, err := bson.ParseDecimal128(s)
	if err != nil {
		return b, fmt.Errorf("read decimal: %w", err)
	}
	return appendDecimal(b, key, d), nil
}

func (c *encoder) appendJSON(b []byte, key string, value event.JSON) ([]byte, error) {
	if len(value) == 0 {
		return b, nil
	}
	p := c.parsers.Get()
	defer c.parsers.Put(p)
	v, err := p.ParseBytes(value)
	if err != nil {
		return b, fmt.Errorf("read JSON: %w", err)
	}
	return appendValue(b, key, v), nil
}

func appendValue(b []byte, key string, v *fastjson.Value) []byte {
	switch v.Type() {
	case fastjson.TypeObject:
		b = appendKey(b, bson.TypeEmbeddedDocument, key)
		from := len(b)
		b = open(b)
		v.GetObject().Visit(func(k []byte, item *fastjson.Value) {
			b = appendValue(b, string(k), item)
		})
		return shut(b, from)
	case fastjson.TypeArray:
		b = appendKey(b, bson.TypeArray, key)
		from := len(b)
		b = open(b)
		for i, item := range v.GetArray() {
			b = appendValue(b, strconv.Itoa(i), item)
		}
		return shut(b, from)
	case fastjson.TypeString:
		return appendText(b, key, string(v.GetStringBytes()))
	case fastjson.TypeNumber:
		return appendNumber(b, key, v.String())
	case fastjson.TypeTrue, fastjson.TypeFalse:
		return appendBool(b, key, v.GetBool())
	}
	return appendKey(b, bson.TypeNull, key)
}

// The form of BSON: https://bsonspec.org.

// open leaves room for the length that shut writes.
func open(b []byte) []byte { return append(b, 0, 0, 0, 0) }

func shut(b []byte, from int) []byte {
	b = append(b, 0)
	binary.LittleEndian.PutUint32(b[from:], uint32(len(b)-from))
	return b
}

// appendKey: no key of an event holds a NUL, which would end it.
func appendKey(b []byte, t bson.Type, key string) []byte {
	return append(append(append(b, byte(t)), key...), 0)
}

func appendText(b []byte, key, s string) []byte {
	b = appendKey(b, bson.TypeString, key)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)+1))
	return append(append(b, s...), 0)
}

func appendBinary(b []byte, key string, subtype byte, v []byte) []byte {
	b = appendKey(b, bson.TypeBinary, key)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
	return append(append(b, subtype), v...)
}

func appendLong(b []byte, key string, v int64) []byte {
	return binary.LittleEndian.AppendUint64(appendKey(b, bson.TypeInt64, key), uint64(v))
}

func appendDouble(b []byte, key string, v float64) []byte {
	return binary.LittleEndian.AppendUint64(appendKey(b, bson.TypeDouble, key), math.Float64bits(v))
}

func appendDate(b []byte, key string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return binary.LittleEndian.AppendUint64(appendKey(b, bson.TypeDateTime, key), uint64(t.UnixMilli()))
}

func appendDecimal(b []byte, key string, d bson.Decimal128) []byte {
	high, low := d.GetBytes()
	b = binary.LittleEndian.AppendUint64(appendKey(b, bson.TypeDecimal128, key), low)
	return binary.LittleEndian.AppendUint64(b, high)
}

func appendBool(b []byte, key string, v bool) []byte {
	b = appendKey(b, bson.TypeBoolean, key)
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendTexts(b []byte, key string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = appendKey(b, bson.TypeArray, key)
	from := len(b)
	b = open(b)
	for i, s := range list {
		b = appendText(b, strconv.Itoa(i), s)
	}
	return shut(b, from)
}
