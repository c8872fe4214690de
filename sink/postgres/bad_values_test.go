package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"footfall/event"
	"footfall/sink/postgres/pgtest"
)

// badValue is a value of one field of a record, as JSON, and what has to become of it:
// a row with another value there ("" is NULL), or a dead letter.
type badValue struct {
	field, json string
	row         bool
	stored      string
}

// badTexts are put into every column of text.
func badTexts(f *event.Field) []badValue {
	wide := strings.Repeat("ä", f.Max) // twice what fits
	cut := wide[:f.Max/2*2]
	return []badValue{
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

func badInts(f *event.Field) (list []badValue) {
	for _, v := range []string{"-1", "1e100000", "-1e400", "NaN", "Infinity", "-Infinity", `"many"`,
		"9223372036854775808", fmt.Sprint(f.Max + 1), "[1]", "{}", "0x10"} {
		list = append(list, badValue{f.Name, v, false, ""})
	}
	return list
}

// particular are the values that only make sense in one field.
func particular() (list []badValue) {
	dead := func(field string, values ...string) {
		for _, v := range values {
			list = append(list, badValue{field, v, false, ""})
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
		badValue{"ip", `"fe80::1%eth0"`, true, "fe80::1"},
		badValue{"ip", `"::ffff:192.0.2.1"`, true, "::ffff:192.0.2.1"},
		badValue{"title", `"\ud800"`, true, `\ud800`}, // half a character: its letters, as they came
		badValue{"title", `"\uffff\ufdd0"`, true, "\uFFFF\uFDD0"},
		badValue{"title", `"\u001f\u007f\u0085"`, true, "\u001f\u007f\u0085"},
		badValue{"title", `"\ud83d\ude00"`, true, "\U0001F600"},
		badValue{"screen_w", "1536.75", true, "1536"},
		badValue{"revenue", `"-0.000001"`, true, "-0.000001"},
		badValue{"props", `{"a":1,"a":2}`, true, `{"a": 2}`},
		badValue{"props", `{"a\u0000":"\u0000x"}`, true, `{"a": "x"}`},
		badValue{"props", `{"a":"\ud800"}`, true, `{"a": "\\ud800"}`},
		badValue{"props", "{\"a\":\"\xff\"}", true, `{"a": "` + "\uFFFD" + `"}`},
		badValue{"props", `{}`, true, ""},
		badValue{"bot_reasons", `["\u0000a"]`, true, `["a"]`},
	)
}

func badValues() (list []badValue) {
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
	list = append(list, badValue{"currency", `"EURO"`, false, ""}, badValue{"currency", `{}`, false, ""})
	return append(list, particular()...)
}

// wholes are records that are no event at all.
func wholes() []string {
	return []string{"", " ", "null", "[]", "7", `"a"`, "\x00", "\xff\xfe", "{", "}", "{}", `{"site":"shop"}`,
		"{}{}", `{"a":1}x`, strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 100_000), "\x1f\x8b\x08\x00",
		"PGCOPY\n\xff\r\n\x00", strings.Repeat("\x00", 70_000), "{\"title\":\"\xff", `{"title":tru}`}
}

// with returns the record of an event with a field's value replaced, as it stands.
func with(t *testing.T, e *event.Event, v badValue) []byte {
	t.Helper()
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(e.AppendJSON(nil), &keys); err != nil {
		t.Fatal(err)
	}
	delete(keys, v.field)
	rest, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{%q:%s,%s`, v.field, v.json, rest[1:])
}

// Every bad value ends as a row, a mended row or a dead letter; the rows around it are
// stored, and nothing waits.
func TestNoBadValueBlocksTheTable(t *testing.T) {
	t.Parallel()
	s, url := open(t)
	own(t, s, 0)
	// What is fine for us and not for the database: an index row that is too big, a check.
	pgtest.Exec(t, url, "create index on footfall.events (url, referrer)")
	pgtest.Exec(t, url, "alter table footfall.events add check (title is distinct from 'refused')")
	list, strange := badValues(), wholes()
	if n := len(list) + len(strange); n < 200 {
		t.Errorf("only %d bad values", n)
	}
	var records [][]byte
	good := events(len(list), today())
	for i, v := range list {
		records = append(records, with(t, good[i], v), at(today()).AppendJSON(nil))
	}
	for _, whole := range strange {
		records = append(records, []byte(whole), at(today()).AppendJSON(nil))
	}
	big, refused := at(today()), at(today())
	big.URL, big.Referrer, refused.Title = noise(2048), noise(2048), "refused"
	records = append(records, encoded(big, refused)...)

	write(t, s, part(0, 0, records...))

	rows, dead := int64(len(list)+len(strange)), int64(len(strange)+2)
	for _, v := range list {
		if v.row {
			rows++
		} else {
			dead++
		}
	}
	wantCounts(t, url, counts{rows: rows, in: int64(len(records)), inserted: rows, dead: dead, letters: dead})
	c := pgtest.Connect(t, url)
	defer c.Close(context.Background())
	for i, v := range list {
		var stored *string
		var letters int
		err := c.QueryRow(t.Context(), `select (select case $3 when 'ip' then host(ip)
				when 'props' then props::text else to_jsonb(e)->>$3 end
				from footfall.events e where event_id = $1 and occurred_at = $4),
			(select count(*) from footfall.dead_letters where record_offset = $2 and value = $5)`,
			[16]byte(good[i].EventID), 2*i, v.field, good[i].OccurredAt, records[2*i]).Scan(&stored, &letters)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if stored != nil {
			got = *stored
		}
		if v.row && (letters > 0 || got != v.stored) || !v.row && letters != 1 {
			t.Errorf("%s = %.60s: stored %.60q, %d dead letters; want row %v, %.60q", v.field, v.json, got,
				letters, v.row, v.stored)
		}
	}
	for state, want := range map[string]int{"54000": 1, "23514": 1} {
		if n := pgtest.Get[int](t, url, "select count(*) from footfall.dead_letters where sqlstate = $1",
			state); n != want {
			t.Errorf("%d dead letters of %s, want %d", n, state, want)
		}
	}
}

// noise is text that no compression makes shorter.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[r.IntN(64)]
	}
	return string(b)
}
