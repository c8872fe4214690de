// Package eventtest has the values and records that no honest sender makes, for the tests
// of all rooms that they come through.
package eventtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"footfall/event"
)

// BadValue is a value of one field of a record, as JSON, and what has to become of it:
// a row with another value there ("" is NULL), or a dead letter.
type BadValue struct {
	Field, JSON string
	Row         bool
	Stored      string
}

// badTexts are put into every column of text.
func badTexts(f *event.Field) []BadValue {
	wide := strings.Repeat("ä", f.Max) // twice what fits
	cut := wide[:f.Max/2*2]
	return []BadValue{
		{f.Name, `"a\u0000b"`, true, "ab"[:min(2, f.Max)]},
		{f.Name, "\"\x00\"", true, ""},
		{f.Name, "\"\xff\"", f.Max >= 3 || !f.Whole, "\uFFFD"[:fits(3, f.Max)]},
		{f.Name, "\"\xed\xa0\x80\"", true, "\uFFFD"[:fits(3, f.Max)]}, // a surrogate in UTF-8
		{f.Name, "\"\xc0\x80\"", true, "\uFFFD"[:fits(3, f.Max)]},     // NUL in two bytes
		{f.Name, `"` + wide + `"`, !f.Whole, cut},
		{f.Name, `{"a":1}`, false, ""},
		{f.Name, `[[]]`, false, ""},
	}
}

// fits is n, or 0 when a character of n bytes is cut away.
func fits(n, most int) int {
	if n > most {
		return 0
	}
	return n
}

func badInts(f *event.Field) (list []BadValue) {
	for _, v := range []string{"-1", "1e100000", "-1e400", "NaN", "Infinity", "-Infinity", `"many"`,
		"9223372036854775808", fmt.Sprint(f.Max + 1), "[1]", "{}", "0x10"} {
		list = append(list, BadValue{f.Name, v, false, ""})
	}
	return list
}

// particular are the values that only make sense in one field.
func particular() (list []BadValue) {
	dead := func(field string, values ...string) {
		for _, v := range values {
			list = append(list, BadValue{field, v, false, ""})
		}
	}
	dead("event_id", `""`, `"1"`, `"00000000-0000-0000-0000-000000000000"`, "7", "[]", "null",
		`"6f1a3e0c-4f3c-4a3e-9f3a-0123456789ab"`, `"not-a-uuid-not-a-uuid-not-a-uuid-xxxx"`)
	for _, f := range []string{"occurred_at", "received_at"} {
		dead(f, "-1", "99999999999999", "1e100000", `"yesterday"`, `"Infinity"`, `"-infinity"`, "NaN",
			"[]", "null", "9223372036854775807", "-62135596800000", "1.5")
	}
	dead("occurred_at", "1") // not what event_id says
	dead("type", `"view"`, `"pageview\u0001"`, "null", `""`)
	dead("schema", "null")
	for _, f := range []string{"site", "clock", "transport"} {
		dead(f, "null", `""`, `"\u0000"`)
	}
	for _, f := range []string{"bot", "gpc"} {
		dead(f, `"maybe"`, "2", "[]", "NaN")
	}
	dead("revenue", "1e100000", "NaN", `"NaN"`, `"Infinity"`, "1e3", "1234567890123456", "0.1234567",
		`"12,50"`, `"--1"`, "[]", `"1.2.3"`)
	dead("ip", `"x"`, `"192.0.2.256"`, `"192.0.2.0/24"`, `"[::1]"`, `":::"`, `"1"`, `"%eth0"`)
	dead("bot_reasons", `{"a":1}`, `[1]`, `[["a"]]`, `[null]`)
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	many := make([]string, event.PropsKeysMax+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":1`, i)
	}
	dead("props", "[]", `"a"`, "1", "NaN", `{"a":1e100000}`, `{"a":1e400000}`, `{"a":-1e309}`, `{"a":NaN}`,
		`{"a":Infinity}`, `{"a":01}`, `{"a":1.}`, `{"a":`+strings.Repeat("9", 65)+`}`,
		deep(event.PropsDepthMax+1), deep(5000), `{`+strings.Join(many, ",")+`}`,
		`{"`+strings.Repeat("k", event.PropKeyBytesMax+1)+`":1}`,
		`{"a":"`+strings.Repeat("v", event.PropsBytesMax)+`"}`, `{"a":1`, `{a:1}`)
	return append(list,
		BadValue{"ip", `"fe80::1%eth0"`, true, "fe80::1"},
		BadValue{"ip", `"::ffff:192.0.2.1"`, true, "::ffff:192.0.2.1"},
		BadValue{"title", `"\ud800"`, true, `\ud800`}, // half a character: its letters, as they came
		BadValue{"title", `"\uffff\ufdd0"`, true, "\uFFFF\uFDD0"},
		BadValue{"title", `"\u001f\u007f\u0085"`, true, "\u001f\u007f\u0085"},
		BadValue{"title", `"\ud83d\ude00"`, true, "\U0001F600"},
		BadValue{"screen_w", "1536.75", true, "1536"},
		BadValue{"revenue", `"-0.000001"`, true, "-0.000001"},
		BadValue{"props", `{"a":1,"a":2}`, true, `{"a": 2}`},
		BadValue{"props", `{"a\u0000":"\u0000x"}`, true, `{"a": "x"}`},
		BadValue{"props", `{"a":"\ud800"}`, true, `{"a": "\\ud800"}`},
		BadValue{"props", "{\"a\":\"\xff\"}", true, `{"a": "` + "\uFFFD" + `"}`},
		BadValue{"props", `{}`, true, ""},
		BadValue{"bot_reasons", `["\u0000a"]`, true, `["a"]`},
	)
}

// BadValues are of all kinds, more than 200.
func BadValues() (list []BadValue) {
	for i := range event.Fields {
		f := &event.Fields[i]
		switch f.At(&event.Event{}).(type) {
		case *string:
			switch {
			case f.Name == "ip" || f.Name == "currency":
			case f.Required:
				list = append(list, badTexts(f)[5:]...) // the others may leave nothing
			default:
				list = append(list, badTexts(f)...)
			}
		case *event.Int:
			list = append(list, badInts(f)...)
		}
	}
	list = append(list, BadValue{"currency", `"EURO"`, false, ""}, BadValue{"currency", `{}`, false, ""})
	return append(list, particular()...)
}

// BadRecords are records that are no event at all.
func BadRecords() []string {
	return []string{"", " ", "null", "[]", "7", `"a"`, "\x00", "\xff\xfe", "{", "}", "{}", `{"site":"shop"}`,
		"{}{}", `{"a":1}x`, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), "\x1f\x8b\x08\x00",
		"PGCOPY\n\xff\r\n\x00", strings.Repeat("\x00", 70_000), "{\"title\":\"\xff", `{"title":tru}`}
}

// In returns the record of an event with the field's value replaced, as it stands.
func (v BadValue) In(t testing.TB, e *event.Event) []byte {
	t.Helper()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(e.AppendJSON(nil), &keys); err != nil {
		t.Fatal(err)
	}
	delete(keys, v.Field)
	rest, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{%q:%s,%s`, v.Field, v.JSON, rest[1:])
}
