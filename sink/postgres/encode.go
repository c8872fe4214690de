package postgres

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"footfall/event"
)

// columns is the COPY's list: event.Fields, without loaded_at, which the database
// sets.
var columns = strings.Join(fieldNames, ", ")

// null is the length that stands for NULL in a binary tuple.
const null = 0xffffffff

// appendRow appends an event's fields in the binary form of COPY, without the
// tuple's leading count of fields. It is encoded once, before the transaction, so
// that another attempt costs nothing and an unencodable value never gets there.
func appendRow(b []byte, e *event.Event) ([]byte, error) {
	for i := range event.Fields {
		f := &event.Fields[i]
		var err error
		if b, err = appendField(b, f, f.At(e)); err != nil {
			return b, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return b, nil
}

func appendField(b []byte, f *event.Field, value any) ([]byte, error) {
	switch p := value.(type) {
	case *string:
		switch {
		case *p == "":
			return appendNull(b), nil
		case f.Name == "ip":
			return appendInet(b, *p)
		}
		return append(appendLen(b, len(*p)), *p...), nil
	case *event.Type:
		return append(appendLen(b, len(*p)), *p...), nil
	case *event.UUID:
		return append(appendLen(b, len(p)), p[:]...), nil
	case *event.Int:
		return appendInt(b, *p, f.Max), nil
	case *bool:
		if *p {
			return append(appendLen(b, 1), 1), nil
		}
		return append(appendLen(b, 1), 0), nil
	case *time.Time:
		return binary.BigEndian.AppendUint64(appendLen(b, 8), uint64(p.UnixMicro()-epoch)), nil
	case *[]string:
		return appendTexts(b, *p), nil
	case *event.Decimal:
		return appendNumeric(b, string(*p)), nil
	case *event.JSON:
		if len(*p) == 0 {
			return appendNull(b), nil
		}
		const jsonbVersion = 1
		return append(append(appendLen(b, 1+len(*p)), jsonbVersion), *p...), nil
	}
	return b, fmt.Errorf("no binary form for %T", value)
}

// epoch is 2000-01-01, from which PostgreSQL counts microseconds.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func appendLen(b []byte, n int) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) }

func appendNull(b []byte) []byte { return binary.BigEndian.AppendUint32(b, null) }

// appendInt chooses the column's width by the field's largest value.
func appendInt(b []byte, n event.Int, largest int) []byte {
	switch {
	case !n.OK:
		return appendNull(b)
	case largest <= 1<<15-1:
		return binary.BigEndian.AppendUint16(appendLen(b, 2), uint16(n.N))
	case largest <= 1<<31-1:
		return binary.BigEndian.AppendUint32(appendLen(b, 4), uint32(n.N))
	}
	return binary.BigEndian.AppendUint64(appendLen(b, 8), uint64(n.N))
}

// appendInet takes an address. A zone says something only on the machine it is
// from; PostgreSQL has no place for it.
func appendInet(b []byte, s string) ([]byte, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return b, fmt.Errorf("read address: %w", err)
	}
	addr = addr.WithZone("")
	const family4, family6, notCIDR = 2, 3, 0
	family := byte(family4)
	if addr.Is6() {
		family = family6
	}
	n := addr.BitLen() / 8
	b = append(appendLen(b, 4+n), family, byte(addr.BitLen()), notCIDR, byte(n))
	return append(b, addr.AsSlice()...), nil
}

// appendTexts encodes text[] of one dimension.
func appendTexts(b []byte, list []string) []byte {
	if len(list) == 0 {
		return appendNull(b)
	}
	const dimensions, hasNull, textOID, lowerBound = 1, 0, 25, 1
	at := len(b)
	b = appendLen(b, 0)
	for _, n := range []uint32{dimensions, hasNull, textOID, uint32(len(list)), lowerBound} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, s := range list {
		b = append(appendLen(b, len(s)), s...)
	}
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// appendNumeric encodes a Decimal: groups of four digits, counted from the point.
func appendNumeric(b []byte, s string) []byte {
	if s == "" {
		return appendNull(b)
	}
	const positive, negative = 0, 0x4000
	sign := uint16(positive)
	if s[0] == '-' {
		sign, s = negative, s[1:]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	scale := len(fraction)
	whole = strings.Repeat("0", (4-len(whole)%4)%4) + whole
	fraction += strings.Repeat("0", (4-len(fraction)%4)%4)
	weight := len(whole)/4 - 1
	digits := whole + fraction
	for strings.HasPrefix(digits, "0000") {
		digits, weight = digits[4:], weight-1
	}
	for strings.HasSuffix(digits, "0000") {
		digits = digits[:len(digits)-4]
	}
	if digits == "" {
		sign, weight = positive, 0
	}
	n := len(digits) / 4
	b = appendLen(b, 8+2*n)
	for _, v := range []uint16{uint16(n), uint16(weight), sign, uint16(scale)} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	for ; digits != ""; digits = digits[4:] {
		group := uint16(digits[0]-'0')*1000 + uint16(digits[1]-'0')*100 +
			uint16(digits[2]-'0')*10 + uint16(digits[3]-'0')
		b = binary.BigEndian.AppendUint16(b, group)
	}
	return b
}
