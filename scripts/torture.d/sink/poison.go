package sink

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"footfall/event"
)

// fate is what has to become of a record: a row of that hash, or a dead letter.
type fate struct {
	dead             bool
	reason, sqlstate string
	id               event.UUID
	line             uint64
}

// poison spoils the JSON of an event, which it may also change beforehand.
type poison struct {
	name     string
	before   func(e *event.Event, r *rand.Rand)
	after    func(json []byte) []byte
	sqlstate string // of what the database alone refuses
}

// constraints are an operator's own: the rows they refuse pass every check of the sink's.
const constraints = `
	alter table footfall.events add constraint torture check (name is distinct from 'torture check');
	create index torture_large on footfall.events (url, path) where name = 'torture index';
	create index torture_number on footfall.events (((revenue * 1000000)::integer)) where name = 'torture range';
	create index torture_cast on footfall.events (((props ->> 'n')::integer)) where name = 'torture cast'`

// trigger makes every row of COPY slow, so not every seed has it.
const trigger = `
	create function footfall.torture() returns trigger language plpgsql as
		$$ begin raise exception 'torture says no'; end $$;
	create trigger torture before insert on footfall.events for each row
		when (new.name = 'torture trigger') execute function footfall.torture()`

func put(field, value string) func([]byte) []byte {
	return func(b []byte) []byte {
		return append(append(b[:len(b)-1], `,"`+field+`":`+value...), '}')
	}
}

func instead(value string) func([]byte) []byte {
	return func([]byte) []byte { return []byte(value) }
}

func without(field string) func([]byte) []byte {
	return func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"`+field+`"`), []byte(`"`+field+`_"`), 1)
	}
}

// poisons is every kind of bad value of which a record in the wild can consist, by what
// PostgreSQL, JSON or Kafka make of it. What the sink's decoder mends becomes a row.
func poisons(withTrigger bool) []poison {
	list := []poison{
		{name: "NUL escaped in text", after: put("title", `"a\u0000b"`)},
		{name: "NUL raw in text", after: put("title", "\"a\x00b\"")},
		{name: "NUL in props", after: put("props", `{"a\u0000":"b\u0000"}`)},
		{name: "invalid UTF-8", after: put("title", "\"\xff\"")},
		{name: "surrogate bytes", after: put("title", "\"\xed\xa0\x80\"")},
		{name: "overlong bytes", after: put("title", "\"\xc0\x80\"")},
		{name: "invalid UTF-8 in props", after: put("props", "{\"\xff\":\"\xc0\x80\"}")},
		{name: "lone surrogate in props", after: put("props", `{"a":"\ud800"}`)},
		{name: "NaN in props", after: put("props", `{"a":NaN}`)},
		{name: "Infinity in props", after: put("props", `{"a":Infinity}`)},
		{name: "huge exponent", after: put("props", `{"a":1e400000}`)},
		{name: "large exponent", after: put("props", `{"a":1e100000}`)},
		{name: "exponent that fits", after: put("props", `{"a":1.5e300,"b":-2.50E-7,"c":-0}`)},
		{name: "number of 5000 digits", after: put("props", `{"a":`+strings.Repeat("9", 5000)+`}`)},
		{name: "equal keys", after: put("props", `{"a":1,"b":2,"a":3}`)},
		{name: "empty key", after: put("props", `{"":""}`)},
		{name: "deep props", after: put("props", strings.Repeat(`{"a":`, 9)+"1"+strings.Repeat("}", 9))},
		{name: "props 5000 deep", after: put("props", strings.Repeat("[", 5000)+strings.Repeat("]", 5000))},
		{name: "props 100000 deep", after: put("props", strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000))},
		{name: "props too large", after: put("props", `{"a":"`+strings.Repeat("x", 20_000)+`"}`)},
		{name: "props is text", after: put("props", `"{}"`)},
		{name: "title too long", after: put("title", `"`+strings.Repeat("ü", 5000)+`"`)},
		{name: "url of 300 kB", after: put("url", `"`+strings.Repeat("x", 300_000)+`"`)},
		{name: "site too long", after: put("site", `"`+strings.Repeat("s", 9000)+`"`)},
		{name: "U+FFFF", after: put("title", "\"\uffff\ufffe\"")},
		{name: "revenue too large", after: put("revenue", "10000000000000000")},
		{name: "revenue with exponent", after: put("revenue", "1e10")},
		{name: "revenue Infinity", after: put("revenue", "Infinity")},
		{name: "revenue NaN text", after: put("revenue", `"NaN"`)},
		{name: "screen_w beyond integer", after: put("screen_w", "2147483648")},
		{name: "screen_w negative", after: put("screen_w", "-1")},
		{name: "asn beyond", after: put("asn", "18446744073709551616")},
		{name: "received_at beyond", after: put("received_at", "99999999999999999")},
		{name: "received_at year 1", after: put("received_at", "-62135596800000")},
		{name: "occurred_at differs", after: put("occurred_at", "1")},
		{name: "ip with zone", after: put("ip", `"fe80::1%eth0"`)},
		{name: "ip is none", after: put("ip", `"999.1.1.1"`)},
		{name: "ip is a network", after: put("ip", `"192.0.2.0/24"`)},
		{name: "bad uuid", after: put("event_id", `"not-a-uuid"`)},
		{name: "uuid of version 4", after: put("event_id", `"7f0c7e60-9a5c-4b7e-8d5a-0123456789ab"`)},
		{name: "unknown type", after: put("type", `"explosion"`)},
		{name: "bool is text", after: put("bot", `"perhaps"`)},
		{name: "bot_reasons of numbers", after: put("bot_reasons", `[1,2]`)},
		{name: "bot_reasons with NUL", after: put("bot_reasons", `["a\u0000","b"]`)},
		{name: "null everywhere", after: put("title", "null")},
		{name: "later schema", after: put("from_the_future", `{"a":[1,2,3]}`)},
		{name: "site missing", after: without("site")},
		{name: "event_id missing", after: without("event_id")},
		{name: "transport missing", after: without("transport")},
		{name: "nothing", after: func([]byte) []byte { return nil }},
		{name: "empty", after: instead("")},
		{name: "blank", after: instead(" \n")},
		{name: "text", after: instead("hello")},
		{name: "null", after: instead("null")},
		{name: "number", after: instead("1e9999")},
		{name: "array", after: instead("[{}]")},
		{name: "empty object", after: instead("{}")},
		{name: "cut off", after: func(b []byte) []byte { return b[:len(b)*2/3] }},
		{name: "twice", after: func(b []byte) []byte { return append(b, b...) }},
		{name: "byte order mark", after: func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }},
		{name: "UTF-16", after: instead("{\x00\"\x00a\x00\"\x00:\x001\x00}\x00")},
		{name: "binary", after: instead("\x00\x01\x02\xff\xfe PGCOPY\n\xff\r\n\x00")},
		{name: "avro", after: instead("\x00\x00\x00\x00\x01\x02ab")},
		{name: "megabyte of zeros", after: func([]byte) []byte { return make([]byte, 900_000) }},

		{name: "refused by a check", sqlstate: "23514",
			before: func(e *event.Event, _ *rand.Rand) { e.Name = "torture check" }},
		{name: "too large for an index", sqlstate: "54000",
			before: func(e *event.Event, r *rand.Rand) {
				e.Name, e.URL, e.Path = "torture index", noise(r, 2000), noise(r, 2000)
			}},
		{name: "out of an index' range", sqlstate: "22003",
			before: func(e *event.Event, _ *rand.Rand) { e.Name, e.Revenue = "torture range", "999999" }},
		{name: "no cast for an index", sqlstate: "22P02",
			before: func(e *event.Event, _ *rand.Rand) {
				e.Name, e.Props = "torture cast", event.JSON(`{"n":"many"}`)
			}},
	}
	if withTrigger {
		list = append(list, poison{name: "refused by a trigger", sqlstate: "P0001",
			before: func(e *event.Event, _ *rand.Rand) { e.Name = "torture trigger" }})
	}
	return list
}

// noise is text that does not compress.
func noise(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('!' + r.IntN(90))
	}
	return string(b)
}

// make returns a record of that kind and what has to become of it.
func (p poison) make(r *rand.Rand, d *event.Decoder) (value []byte, f fate) {
	e := newEvent(r)
	e.Title, e.Revenue, e.Props, e.BotReasons, e.IP = "", "", nil, nil, ""
	if p.before != nil {
		p.before(e, r)
	}
	value = e.AppendJSON(nil)
	if p.after != nil {
		value = p.after(value)
	}
	if p.sqlstate != "" {
		return value, fate{dead: true, reason: string(event.RefusedByDatabase), sqlstate: p.sqlstate}
	}
	got, refusal := d.Record(value)
	if refusal != nil || !addressed(got.IP) {
		return value, fate{dead: true, reason: string(event.Undecodable)}
	}
	return value, fate{id: got.EventID, line: hashOf(line(nil, got))}
}

func addressed(ip string) bool {
	if ip == "" {
		return true
	}
	_, err := netip.ParseAddr(ip)
	return err == nil
}

func (f fate) String() string {
	if f.dead {
		return fmt.Sprintf("dead letter, %s %s", f.reason, f.sqlstate)
	}
	return "row " + f.id.String()
}
