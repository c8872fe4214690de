package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// anyEvent returns an event with whatever its fields can hold, edges above all.
func anyEvent(r *rand.Rand) *event.Event {
	e := &event.Event{}
	for i := range event.Fields {
		f := &event.Fields[i]
		if !f.Required && r.IntN(4) == 0 {
			continue
		}
		switch p := f.At(e).(type) {
		case *string:
			*p = anyText(r, f.Max)
		case *event.Type:
			*p = event.Types[r.IntN(len(event.Types))]
		case *event.UUID:
			*p = event.NewUUID(time.UnixMilli(r.Int64N(4e12)))
		case *event.Int:
			*p = event.Some([]int64{0, 1, int64(f.Max), r.Int64N(int64(f.Max) + 1)}[r.IntN(4)])
		case *event.Decimal:
			*p = anyDecimal(r)
		case *bool:
			*p = r.IntN(2) == 0
		case *time.Time:
			*p = time.UnixMilli(r.Int64N(9_999_999_999_999)).UTC()
		case *[]string:
			for range r.IntN(4) {
				*p = append(*p, anyText(r, f.Max))
			}
		case *event.JSON:
			b, _ := json.Marshal(map[string]any{"a": anyText(r, 50), "n": []any{r.Int32(), nil, true}})
			*p = b
		}
	}
	e.OccurredAt, e.IP = e.EventID.Time(), anyAddress(r)
	return e
}

// anyText is not empty, of at most so many bytes.
func anyText(r *rand.Rand, most int) string {
	var b strings.Builder
	for range 1 + r.IntN(most) {
		c := []rune{'a', '"', '\\', '\n', 1, '{', ',', 0x7f, 'ä', '\uFFFF', '\U0001F600'}[r.IntN(11)]
		if b.Len()+4 > most {
			break
		}
		b.WriteRune(c)
	}
	if b.Len() == 0 {
		return "x"
	}
	return b.String()
}

func anyDecimal(r *rand.Rand) event.Decimal {
	s := fmt.Sprint(r.Int64N([]int64{1, 10, 10_000, 100_000_000, 1_000_000_000_000_000}[r.IntN(5)]))
	if n := r.IntN(7); n > 0 {
		s += fmt.Sprintf(".%0*d", n, r.IntN(pow10(n)))
	}
	if r.IntN(2) == 0 && strings.Trim(s, "0.") != "" {
		s = "-" + s
	}
	return event.Decimal(s)
}

func pow10(n int) int {
	p := 1
	for range n {
		p *= 10
	}
	return p
}

func anyAddress(r *rand.Rand) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], r.Uint64())
	switch r.IntN(3) {
	case 0:
		return ""
	case 1:
		return netip.AddrFrom4([4]byte(b[:4])).String()
	}
	return netip.AddrFrom16(b).String()
}

// oids are those of the table's columns, by sqlType.
var oids = map[string]uint32{"uuid": pgtype.UUIDOID, "smallint": pgtype.Int2OID, "integer": pgtype.Int4OID,
	"bigint": pgtype.Int8OID, "numeric": pgtype.NumericOID, "boolean": pgtype.BoolOID,
	"timestamp with time zone": pgtype.TimestamptzOID, "text[]": pgtype.TextArrayOID,
	"jsonb": pgtype.JSONBOID, "inet": pgtype.InetOID, "text": pgtype.TextOID}

// wantColumn has pgx decode a column and compares it with the event's field.
func wantColumn(t *testing.T, m *pgtype.Map, f *event.Field, e *event.Event, oid uint32, raw []byte) {
	t.Helper()
	scan := func(to any) {
		if err := m.Scan(oid, pgtype.BinaryFormatCode, raw, to); err != nil {
			t.Errorf("%s: pgx reads %x: %v", f.Name, raw, err)
		}
	}
	var got, want any
	switch p := f.At(e).(type) {
	case *string, *event.Type:
		text := reflect.ValueOf(p).Elem().String()
		var v *string
		if f.Name == "ip" {
			var a *netip.Addr
			if scan(&a); a != nil {
				s := a.String()
				v = &s
			}
		} else {
			scan(&v)
		}
		got, want = "", text
		if v != nil {
			got = *v
		}
		if (v == nil) != (text == "") {
			t.Errorf("%s: null is %v for %q", f.Name, v == nil, text)
		}
	case *event.UUID:
		var v [16]byte
		scan(&v)
		got, want = event.UUID(v), *p
	case *event.Int:
		var v pgtype.Int8
		scan(&v)
		got, want = event.Int{N: v.Int64, OK: v.Valid}, *p
	case *event.Decimal:
		var v pgtype.Numeric
		scan(&v)
		got, want = rational(t, v), (*big.Rat)(nil)
		if *p != "" {
			want, _ = new(big.Rat).SetString(string(*p))
			_, fraction, _ := strings.Cut(string(*p), ".")
			// pgx forgets how many digits a zero has behind its point.
			if scale := binary.BigEndian.Uint16(raw[6:]); int(scale) != len(fraction) {
				t.Errorf("%s: %s has %d digits behind its point", f.Name, *p, scale)
			}
		}
	case *bool:
		var v bool
		scan(&v)
		got, want = v, *p
	case *time.Time:
		var v time.Time
		scan(&v)
		got, want = v.UTC(), *p
	case *[]string:
		var v []string
		scan(&v)
		got, want = v, *p
	case *event.JSON:
		var v, w any
		if raw != nil {
			scan(&v)
		}
		if len(*p) > 0 {
			if err := json.Unmarshal(*p, &w); err != nil {
				t.Fatal(err)
			}
		}
		got, want = v, w
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: pgx reads %#v, the event has %#v", f.Name, got, want)
	}
}

// rational is the value of a numeric, nil for null.
func rational(t *testing.T, v pgtype.Numeric) *big.Rat {
	t.Helper()
	if !v.Valid {
		return nil
	}
	text, err := v.Value()
	if err != nil {
		t.Fatal(err)
	}
	r, _ := new(big.Rat).SetString(text.(string))
	return r
}

// wantTuple has pgx decode every field of an encoded row.
func wantTuple(t *testing.T, m *pgtype.Map, e *event.Event) {
	t.Helper()
	b, err := appendRow(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	for i := range event.Fields {
		f := &event.Fields[i]
		n := binary.BigEndian.Uint32(b)
		b = b[4:]
		var raw []byte
		if n != null {
			raw, b = b[:n:n], b[n:]
		}
		wantColumn(t, m, f, e, oids[sqlType(f)], raw)
	}
	if len(b) != 0 {
		t.Errorf("%d bytes follow the last field", len(b))
	}
}

func FuzzAppendRow(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	m := pgtype.NewMap()
	f.Fuzz(func(t *testing.T, seed uint64) { wantTuple(t, m, anyEvent(rand.New(rand.NewPCG(seed, 0)))) })
}

func TestEveryColumnIsReadByPgxAsItWasCopied(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	r := rand.New(rand.NewPCG(7, 7))
	list, newest := make([]*event.Event, 300), today()
	for i := range list {
		list[i] = anyEvent(r)
		list[i].OccurredAt = newest.Add(-time.Duration(i) * time.Millisecond)
		list[i].EventID = event.NewUUID(list[i].OccurredAt)
		list[i].Currency, list[i].Clock = "EUR", event.ClockClient
	}
	write(t, s, part(0, 0, encoded(list...)...))
	wantCounts(t, url, counts{rows: 300, in: 300, inserted: 300})
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	rows, err := c.Query(t.Context(), "select "+columns+" from footfall.events order by occurred_at desc",
		pgx.QueryResultFormats{pgx.BinaryFormatCode})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for i := 0; rows.Next(); i++ {
		described := rows.FieldDescriptions()
		for k, raw := range rows.RawValues() {
			if described[k].Format != pgtype.BinaryFormatCode {
				t.Fatalf("%s does not come in binary", described[k].Name)
			}
			wantColumn(t, c.TypeMap(), &event.Fields[k], list[i], described[k].DataTypeOID, slices.Clone(raw))
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}
