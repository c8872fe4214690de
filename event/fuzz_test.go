package event

import (
	"encoding/json"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// checkTravels holds what must be true of every event that was accepted: its
// record is JSON that PostgreSQL takes, and decodes and encodes to itself.
func checkTravels(t *testing.T, env *Envelope) {
	t.Helper()
	var d Decoder
	for i := range env.Events {
		e := env.Events[i]
		if e.Site == "" {
			return // the intake refuses it as an unknown site
		}
		e.Stamp(time.UnixMilli(1772627696789), env.Sent)
		if e.Transport == "" {
			e.Transport = TransportBeacon
		}
		record := e.AppendJSON(nil)
		if !json.Valid(record) || !utf8.Valid(record) {
			t.Fatalf("record is not JSON: %q", record)
		}
		back, r := d.Record(record)
		if r != nil {
			t.Fatalf("record is refused: %v: %s", r, record)
		}
		e.Sanitised, e.text = 0, nil
		if !reflect.DeepEqual(*back, e) {
			t.Fatalf("record decodes to\n%+v\nwant\n%+v", *back, e)
		}
		if again := back.AppendJSON(nil); string(again) != string(record) {
			t.Fatalf("record encodes to %s, was %s", again, record)
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{`{"site":"shop"}`,
		`{"site":"s","sent_at":1772627696789,"events":[{"type":"click",` +
			`"props":{"a":[1.5e3,"\ud800",null,{"b":-0}]}},{"revenue":"-12.50","currency":"eur"}]}`,
		`{"site":"s","screen_w":NaN,"gpc":1,"event_id":"019ac000-1234-7abc-8def-0123456789ab"}`,
		`{"site":"s","title":"\u0000\u007f\ud83d\ude00` + "\xff" + `","screen_w":1536.5}`,
		`{"site":"s","props":{"` + strings.Repeat("a\xff", 20) + `":1,"a\u0000":1,"a":2}}`,
		`{"site":"s","occurred_at":1772627690000,"sent_at":1772627696789}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var d Decoder
		if env, r := d.Envelope(body); r == nil {
			checkTravels(t, env)
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"site=shop&url=https%3A%2F%2Fa.example",
		"site=s&props.a=%00&props.b=%ff&props.a=2", "site=s&revenue=-0&currency=eur",
		`site=s&props={"a":1}&props.b=2&sent_at=1772627696789&screen_w=1e3`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		var d Decoder
		if env, r := d.Query([]byte(query)); r == nil {
			checkTravels(t, env)
		}
	})
}

func FuzzRecord(f *testing.F) {
	for _, typ := range Types {
		golden, err := os.ReadFile("testdata/" + string(typ) + ".json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(golden)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var d Decoder
		e, r := d.Record(value)
		if r != nil {
			if r.Reason != Undecodable {
				t.Errorf("refused as %s, want undecodable", r.Reason)
			}
			return
		}
		record := e.AppendJSON(nil)
		if !json.Valid(record) || !utf8.Valid(record) {
			t.Fatalf("record is not JSON: %q", record)
		}
		back, r := d.Record(record)
		if r != nil {
			t.Fatalf("its own record is refused: %v: %s", r, record)
		}
		if !reflect.DeepEqual(back, e) {
			t.Fatalf("record decodes to\n%+v\nwant\n%+v", back, e)
		}
	})
}

// unescape decodes as net/url does, and leaves what that refuses.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", "a+b", "%41", "%zz", "%4", "%", "a%20b+%c3%a9", "%%41", "+%"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		got, _ := unescape(s, []byte("before"))
		want, err := url.QueryUnescape(string(s))
		if err != nil {
			want = string(s)
		}
		if got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	})
}
