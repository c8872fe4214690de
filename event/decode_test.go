package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEnvelopeRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, c := range []struct {
		name, body string
		want       Reason
	}{
		{"empty", ``, BadJSON},
		{"cut off", `{"site":"shop","events":[{"type"`, BadJSON},
		{"two values", `{"site":"shop"}{"site":"shop"}`, BadJSON},
		{"not an object", `["site"]`, BadJSON},
		{"null", `null`, BadJSON},
		{"only NULs", "\x00\x00", BadJSON},
		{"deep", strings.Repeat(`[`, 10_000), BadJSON},
		{"deep object", strings.Repeat(`{"a":`, 10_000), BadJSON},
		{"events no array", `{"site":"shop","events":{}}`, BadJSON},
		{"no events", `{"site":"shop","events":[]}`, NoEvents},
		{"501 events", `{"site":"shop","events":[` + many(501, `{"n":%d}`) + `]}`, TooManyEvents},
		{"a million keys", `{` + many(1_000_000, `"k%d":1`) + `}`, TooManyKeys},
		{"sent_at text", `{"site":"shop","sent_at":"yesterday"}`, BadField},
		{"sent_at beyond all", `{"site":"shop","sent_at":99999999999999}`, BadField},
		{"sent_at before 1970", `{"site":"shop","sent_at":-1}`, BadField},
		{"sent_at fraction", `{"site":"shop","sent_at":1.5}`, BadField},
		{"sent_at NaN", `{"site":"shop","sent_at":NaN}`, BadField},
		{"bare event of unknown type", `{"site":"shop","type":"view"}`, UnknownType},
		{"bare event with bad id", `{"site":"shop","event_id":"1"}`, BadEventID},
		{"site an object", `{"site":{}}`, BadField},
		{"NaN width", `{"site":"shop","screen_w":NaN}`, BadField},
		{"infinite width", `{"site":"shop","screen_w":inf}`, BadField},
		{"one id for all events", `{"site":"shop","event_id":"019ac000-1234-7abc-8def-0123456789ab",` +
			`"events":[{},{}]}`, BadEventID},
		{"bad transport", `{"site":"shop","transport":"pigeon"}`, BadField},
	} {
		var d Decoder
		if _, r := d.Envelope([]byte(c.body)); r == nil || r.Reason != c.want || r.Index != -1 {
			t.Errorf("%s: got %v, want %s", c.name, r, c.want)
		} else if len(r.Detail) > 300 || strings.Contains(r.Detail, "\n") {
			t.Errorf("%s: detail is no short line: %q", c.name, r.Detail)
		}
	}
}

func TestOneBadEventDoesNotRefuseTheOthers(t *testing.T) {
	t.Parallel()
	var d Decoder
	env, r := d.Envelope([]byte(`{"site":"shop","sent_at":1772627696789,"language":"de","events":[
		{"type":"click","name":"a","site":"other"},
		{"type":"view"},
		7,
		{"event_id":"x"},
		{"screen_w":"wide"},
		{"props":[]},
		{"props":{"a":` + strings.Repeat(`{"a":`, 9) + `1` + strings.Repeat(`}`, 10) + `},
		{"language":"en","title":null}]}`))
	if r != nil {
		t.Fatal(r)
	}
	if len(env.Events) != 2 || env.Indexes[0] != 0 || env.Indexes[1] != 7 {
		t.Fatalf("accepted %d at %v, want 2 at 0 and 7", len(env.Events), env.Indexes)
	}
	first, second := env.Events[0], env.Events[1]
	if first.Site != "shop" || first.Language != "de" || second.Language != "en" {
		t.Errorf("common fields: %+v", env.Events)
	}
	want := []Reason{UnknownType, BadEvent, BadEventID, BadField, BadField, PropsTooLarge}
	for i, refused := range env.Refused {
		if refused.Reason != want[i] || refused.Index != i+1 {
			t.Errorf("refusal %d is %s at %d, want %s at %d", i, refused.Reason, refused.Index, want[i], i+1)
		}
	}
	if len(env.Refused) != len(want) {
		t.Errorf("%d refusals, want %d", len(env.Refused), len(want))
	}
}

func TestTheSecondUseOfAnIDIsRefused(t *testing.T) {
	t.Parallel()
	var d Decoder
	const id = `{"event_id":"019ac000-1234-7abc-8def-0123456789ab","name":`
	env, r := d.Envelope([]byte(`{"site":"shop","events":[` + id + `"a"},{},` + id + `"b"},{}]}`))
	if r != nil {
		t.Fatal(r)
	}
	if len(env.Events) != 3 || len(env.Refused) != 1 || env.Refused[0].Index != 2 ||
		env.Refused[0].Reason != BadEventID {
		t.Errorf("accepted %d, refused %v", len(env.Events), env.Refused)
	}
}

func TestKeysOfPropsAreCleanedBeforeTheyAreMeasured(t *testing.T) {
	t.Parallel()
	var d Decoder
	bad := strings.Repeat("a\xff", PropKeyBytesMax/3) // fits before, not after
	if env, r := d.Envelope([]byte(`{"site":"shop","props":{"` + bad + `":1}}`)); r == nil ||
		r.Reason != PropsTooLarge {
		t.Errorf("a key that grows when cleaned: %v, %v", env, r)
	}
	env, r := d.Envelope([]byte(`{"site":"shop","props":{"a\u0000":1,"a":2}}`))
	if r != nil || string(env.Events[0].Props) != `{"a":2}` {
		t.Errorf("keys that become one: %v, %v", env, r)
	}
}

func TestABareEventIsAnEnvelopeOfOne(t *testing.T) {
	t.Parallel()
	var d Decoder
	env, r := d.Envelope([]byte(`{"site":"shop"}`))
	if r != nil {
		t.Fatal(r)
	}
	if len(env.Events) != 1 || env.Events[0].Type != Pageview || env.Events[0].Schema != Some(Schema) {
		t.Errorf("got %+v", env.Events)
	}
}

func TestSenderCannotSetWhatTheCollectorSets(t *testing.T) {
	t.Parallel()
	var d Decoder
	env, r := d.Envelope([]byte(`{"site":"shop","visitor_id":"v","country":"DE","ip":"1.2.3.4",
		"bot":true,"received_at":1,"clock":"client","schema":9,"no_such_field":1,"url":"u"}`))
	if r != nil {
		t.Fatal(r)
	}
	e := env.Events[0]
	if e.VisitorID+e.Country+e.IP+e.Clock != "" || e.Bot || !e.ReceivedAt.IsZero() || e.URL != "u" ||
		e.Schema != Some(Schema) {
		t.Errorf("the sender set %+v", e)
	}
	if e.Sanitised != 8 {
		t.Errorf("%d values were left out, want 8", e.Sanitised)
	}
}

func TestTextIsMadeStorable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, want  string
		sanitised bool
	}{
		{`plain`, "plain", false},
		{`a\u0000b`, "ab", true},
		{"a\xffb", "a\uFFFDb", true},
		{"\xed\xa0\x80", "\uFFFD", true}, // a surrogate's UTF-8
		{`\ud83d\ude00`, "😀", false},
		{`\n\t\"\\`, "\n\t\"\\", false},
		{strings.Repeat("é", 300), strings.Repeat("é", 256), true},
		{strings.Repeat("x", 511) + "é", strings.Repeat("x", 511), true},
	} {
		var d Decoder
		env, r := d.Envelope([]byte(`{"site":"shop","title":"` + c.in + `"}`))
		if r != nil {
			t.Errorf("%q: %v", c.in, r)
			continue
		}
		e := env.Events[0]
		if e.Title != c.want || (e.Sanitised > 0) != c.sanitised {
			t.Errorf("%q: got %q, sanitised %d", c.in, e.Title, e.Sanitised)
		}
	}
}

// A lone surrogate is no character: PostgreSQL's jsonb and Go's encoder refuse it.
func TestLoneSurrogatesNeverReachARecord(t *testing.T) {
	t.Parallel()
	for _, s := range []string{`\ud800`, `\udc00`, `\ud800x`, `\udfff\ud800`, `\ud800\u0041`,
		`\uD83D\uD83D`} {
		var d Decoder
		env, r := d.Envelope([]byte(strings.ReplaceAll(`{"site":"shop","title":"S","props":{"S":"S"}}`,
			"S", s)))
		if r != nil {
			t.Errorf("%s: %v", s, r)
			continue
		}
		b := env.Events[0].AppendJSON(nil)
		escapes := bytes.ReplaceAll(b, []byte(`\\`), nil) // a text that only looks like one may stay
		if !utf8.Valid(b) || bytes.Contains(escapes, []byte(`\u`)) {
			t.Errorf("%s: record is %s", s, b)
		}
	}
}

func TestOfEqualKeysTheLastCounts(t *testing.T) {
	t.Parallel()
	var d Decoder
	env, r := d.Envelope([]byte(`{"site":"a","site":"shop","title":"a","title":"b",
		"props":{"x":1,"y":2,"x":3}}`))
	if r != nil {
		t.Fatal(r)
	}
	if e := env.Events[0]; e.Site != "shop" || e.Title != "b" || string(e.Props) != `{"x":3,"y":2}` {
		t.Errorf("got %q, %q, %s", e.Site, e.Title, e.Props)
	}
}

func TestNumbersAreTakenAsTheirColumnsTakeThem(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`"screen_w":1536`: `"screen_w":1536`, `"screen_w":1536.5`: `"screen_w":1536`,
		`"screen_w":"800"`: `"screen_w":800`, `"screen_w":0`: `"screen_w":0`, `"screen_w":null`: ``,
		`"screen_w":1e3`: `"screen_w":1000`, `"screen_w":-1`: `bad_field`, `"screen_w":1e99`: `bad_field`,
		`"screen_w":9223372036854775808`: `bad_field`, `"screen_w":0x10`: `bad_json`,
		`"screen_w":0x1p4`: `bad_json`, `"screen_w":"0x10"`: `bad_field`, `"screen_w":"1_0"`: `bad_field`,
		`"screen_w":true`: `bad_field`, `"scroll_pct":101`: `bad_field`,
		`"scroll_pct":-0.5`: `"scroll_pct":0`,
		`"revenue":12.50`:   `"revenue":12.50`, `"revenue":"12.50"`: `"revenue":12.50`,
		`"revenue":-0.1`: `"revenue":-0.1`, `"revenue":1e3`: `bad_field`,
		`"revenue":"007.1"`: `"revenue":7.1`,
		`"revenue":0000.5`:  `"revenue":0.5`, `"revenue":1234567890123456`: `bad_field`,
		`"revenue":0.1234567`: `bad_field`, `"revenue":NaN`: `bad_field`, `"revenue":"1."`: `bad_field`,
		`"revenue":"--1"`: `bad_field`, `"revenue":""`: `bad_field`,
		`"currency":"eur"`:  `"currency":"EUR"`,
		`"currency":"EURO"`: `bad_field`, `"currency":"€"`: `bad_field`, `"gpc":1`: `"gpc":true`,
		`"gpc":"yes"`: `bad_field`,
	} {
		var d Decoder
		env, r := d.Envelope([]byte(`{"site":"shop",` + in + `}`))
		got := ""
		if r != nil {
			got = string(r.Reason)
		} else {
			got = string(env.Events[0].AppendJSON(nil))
		}
		if r != nil && got != want || r == nil && !strings.Contains(got, want) {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestPropsAreBoundedAndEncodedAnew(t *testing.T) {
	t.Parallel()
	keys := make([]string, 0, 65)
	for i := range 65 {
		keys = append(keys, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + `1` + strings.Repeat(`}`, n) }
	for in, want := range map[string]string{
		`{}`:                      ``,
		`{ "a" : 1.50 , "b":[ ]}`: `{"a":1.50,"b":[]}`,
		`{"a":1e5,"b":-0}`:        `{"a":1e5,"b":-0}`,
		`{"\u0061":"\u00e9\/"}`:   `{"a":"é/"}`,
		`{"a":NaN}`:               `bad_json`, `{"a":inf}`: `bad_json`, `{"a":-Infinity}`: `bad_json`,
		`{"a":01}`: `bad_json`, `{"a":1.}`: `bad_json`, `{"a":.5}`: `bad_json`, `{"a":+1}`: `bad_json`,
		`{"a":1e}`: `bad_json`, `{"a":1e400}`: `props_too_large`, `{"a":1e-400}`: `props_too_large`,
		`{"a":1e99999999999999999999}`:                `props_too_large`,
		`{"a":` + strings.Repeat("9", 65) + `}`:       `props_too_large`,
		`{"a":` + strings.Repeat("9", 64) + `}`:       `{"a":` + strings.Repeat("9", 64) + `}`,
		`{"a":"` + strings.Repeat("x", 16<<10) + `"}`: `props_too_large`,
		`{"` + strings.Repeat("x", 65) + `":1}`:       `props_too_large`,
		`{` + strings.Join(keys, ",") + `}`:           `props_too_large`,
		`{` + strings.Join(keys[:64], ",") + `}`:      `{` + strings.Join(keys[:64], ",") + `}`,
		deep(8):                                       deep(8),
		deep(9):                                       `props_too_large`,
		`[]`:                                          `bad_field`, `"{}"`: `bad_field`, `7`: `bad_field`,
		`null`: ``,
	} {
		var d Decoder
		env, r := d.Envelope([]byte(`{"site":"shop","props":` + in + `}`))
		got := ""
		if r != nil {
			got = string(r.Reason)
		} else {
			got = string(env.Events[0].Props)
		}
		if got != want {
			t.Errorf("%.80s: got %.80s, want %.80s (%v)", in, got, want, r)
		}
	}
}

// pairs yields a query's pairs as the intake does.
func asQuery(list ...string) []byte {
	var b []byte
	for i := 0; i+1 < len(list); i += 2 {
		b = append(b, '&')
		b = append(b, url.QueryEscape(list[i])+"="+url.QueryEscape(list[i+1])...)
	}
	return b
}

func TestQueryIsOneEvent(t *testing.T) {
	t.Parallel()
	var d Decoder
	env, r := d.Query(asQuery("site", "shop", "type", "custom", "name", "n", "sent_at", "1772627696789",
		"screen_w", "", "props.a", `x"y`, "props.b", "1", "unknown", "z", "visitor_id", "v"))
	if r != nil {
		t.Fatal(r)
	}
	e := env.Events[0]
	if env.Site != "shop" || env.Sent.UnixMilli() != 1772627696789 || e.Type != Custom ||
		e.Name != "n" || e.ScreenW.OK || string(e.Props) != `{"a":"x\"y","b":"1"}` ||
		e.VisitorID != "" || e.Sanitised != 2 {
		t.Errorf("got %+v, sent %v", e, env.Sent)
	}
	env, r = d.Query(asQuery("site", "shop", "props", `{"a":1}`))
	if r != nil || env.Events[0].Type != Pageview || string(env.Events[0].Props) != `{"a":1}` {
		t.Errorf("got %+v, %v", env, r)
	}
}

func TestQueryRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	var long []string
	for range 129 {
		long = append(long, "x", "y")
	}
	for want, query := range map[Reason][][]string{
		BadField: {{"props", "{"}, {"props", "[]"}, {"sent_at", "now"}, {"screen_w", "wide"},
			{"bot_reasons", "", "revenue", "free"}},
		UnknownType:   {{"type", "view"}},
		BadEventID:    {{"event_id", "7"}},
		TooManyKeys:   {long},
		PropsTooLarge: {{"props.a", strings.Repeat("x", 16<<10)}},
	} {
		for _, q := range query {
			var d Decoder
			_, r := d.Query(asQuery(append([]string{"site", "shop"}, q...)...))
			if r == nil || r.Reason != want {
				t.Errorf("%.60q: got %v, want %s", q, r, want)
			}
		}
	}
}

func TestReasonsAreListedOnce(t *testing.T) {
	t.Parallel()
	seen := map[Reason]bool{}
	for _, r := range Reasons {
		if seen[r] || strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("reason %q is listed twice or no label", r)
		}
		seen[r] = true
	}
}

func TestDecodedEventsKeepNoMemoryOfTheBody(t *testing.T) {
	t.Parallel()
	var d Decoder
	body := []byte(`{"site":"shop","url":"https://shop.example/","props":{"a":"b"}}`)
	env, r := d.Envelope(body)
	if r != nil {
		t.Fatal(r)
	}
	before := string(env.Events[0].AppendJSON(nil))
	clear(body)
	other := []byte(`{"site":"XXXX","url":"XXXXXXXXXXXXXXXXXXXXX","props":{"X":"X"}}`)
	if _, r := d.Envelope(other); r != nil {
		t.Fatal(r)
	}
	if after := string(env.Events[0].AppendJSON(nil)); after != before {
		t.Errorf("the event changed with its body:\n%s\n%s", after, before)
	}
}

func BenchmarkEnvelope(b *testing.B) {
	body := []byte(`{"site":"shop","sent_at":1772627696789,"language":"de-DE","screen_w":1536,` +
		`"screen_h":864,"events":[{"event_id":"019ac000-1234-7abc-8def-0123456789ab","type":"pageview",` +
		`"url":"https://shop.example/shoes","title":"Shoes","props":{"a":1}}]}`)
	var d Decoder
	b.ReportAllocs()
	for b.Loop() {
		if _, r := d.Envelope(body); r != nil {
			b.Fatal(r)
		}
	}
}

func BenchmarkAppendJSON(b *testing.B) {
	e := goldenEvent(Pageview)
	buf := e.AppendJSON(nil)
	b.ReportAllocs()
	for b.Loop() {
		buf = e.AppendJSON(buf[:0])
	}
}

func TestARecordIsReadTheSameIntoAUsedEvent(t *testing.T) {
	t.Parallel()
	var d Decoder
	var used Event
	for _, typ := range Types {
		golden, err := os.ReadFile("testdata/" + string(typ) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(golden, &keys); err != nil {
			t.Fatal(err)
		}
		sorted, err := json.Marshal(keys) // another order than AppendJSON's
		if err != nil {
			t.Fatal(err)
		}
		want, r := d.Record(golden)
		if r != nil {
			t.Fatal(r)
		}
		for _, value := range [][]byte{golden, sorted} {
			if r := d.RecordInto(&used, []byte(`{"title":"x"}`)); r == nil {
				t.Fatal("a record without an id is read")
			}
			if r := d.RecordInto(&used, value); r != nil {
				t.Fatal(r)
			}
			got := used
			got.text = nil
			if !reflect.DeepEqual(&got, want) {
				t.Errorf("%s is read as\n%+v\nwant\n%+v", value, &got, want)
			}
		}
	}
}
