package event

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldens are one event a type, as the collector writes it; together they use
// every field.
var goldens = map[Type]Event{
	Pageview: {Title: "Shoes — <Shop> & \"Co\"", Referrer: "https://www.google.de/",
		ReferrerHost: "www.google.de", Source: "may", Channel: "paid", UTMSource: "may", UTMMedium: "cpc",
		UTMCampaign: "spring", UTMTerm: "red shoes", UTMContent: "top", ClickIDType: "gclid",
		ScreenW: Some(1536), ScreenH: Some(864), ViewportW: Some(1280), ViewportH: Some(0)},
	Click: {Name: "buy", Props: JSON(`{"href":"https://pay.example/","n":1.5e3,"x":[true,null,"ü"]}`)},
	Form:  {Name: "checkout", UserID: "customer-7", Consent: "granted"},
	Leave: {EngagedMS: Some(42_137), ScrollPct: Some(100)},
	Custom: {Name: "purchase", Revenue: "-1234567890.123456", Currency: "EUR", GPC: true,
		Props: JSON(`{"items":2}`)},
	EmailOpen: {Transport: TransportPixel, Clock: ClockServer, Bot: true,
		BotReasons: []string{"image_proxy", "user_agent"}},
	EmailClick: {Transport: TransportEmail, IP: "2001:db8::1", Region: "Bavaria", City: "München",
		ASN: Some(4294967295)},
}

// goldenEvent fills what every event has.
func goldenEvent(typ Type) Event {
	e := goldens[typ]
	e.Type = typ
	e.EventID, _ = ParseUUID("019ac000-1234-7abc-8def-0123456789ab")
	e.Schema = Some(Schema)
	e.Site = "shop"
	e.OccurredAt = e.EventID.Time()
	e.ReceivedAt = e.OccurredAt.Add(250 * time.Millisecond)
	e.URL, e.Hostname = "https://shop.example/a?ref=b", "shop.example"
	e.Path, e.Query = "/a", "ref=b"
	e.VisitorID, e.SessionID = "0123456789abcdef", "s-1"
	e.PageviewID, e.Country = "p-1", "DE"
	e.UserAgent, e.Browser, e.BrowserVersion = "Mozilla/5.0 (…)", "Firefox", "143.0"
	e.OS, e.OSVersion, e.Device = "Linux", "6.1", "desktop"
	e.Language, e.Timezone, e.SnippetVersion = "de-DE", "Europe/Berlin", "1.0.0"
	if e.Transport == "" {
		e.Transport = TransportBeacon
	}
	if e.Clock == "" {
		e.Clock = ClockClient
	}
	return e
}

func TestEveryTypeIsEncodedAsInItsGoldenFile(t *testing.T) {
	t.Parallel()
	for _, typ := range Types {
		e := goldenEvent(typ)
		got := e.AppendJSON(nil)
		file := filepath.Join("testdata", string(typ)+".json")
		if *update {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != strings.TrimSuffix(string(want), "\n") {
			t.Errorf("%s:\n got %s\nwant %s", typ, got, want)
		}
		if !json.Valid(got) {
			t.Errorf("%s is not JSON", typ)
		}
		var d Decoder
		back, r := d.Record(got)
		if r != nil {
			t.Fatalf("%s does not decode: %v", typ, r)
		}
		if !reflect.DeepEqual(*back, e) {
			t.Errorf("%s decodes to\n%+v\nwant\n%+v", typ, *back, e)
		}
	}
}

func TestGoldenFilesUseEveryField(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, typ := range Types {
		var m map[string]any
		e := goldenEvent(typ)
		if err := json.Unmarshal(e.AppendJSON(nil), &m); err != nil {
			t.Fatal(err)
		}
		for name := range m {
			used[name] = true
		}
	}
	for i := range Fields {
		if !used[Fields[i].Name] {
			t.Errorf("field %s is in no golden file", Fields[i].Name)
		}
	}
}

// Every member of Event has one Field, or it would not travel.
func TestEveryMemberHasItsField(t *testing.T) {
	t.Parallel()
	var e Event
	v := reflect.ValueOf(&e).Elem()
	fields := map[any]string{}
	for i := range Fields {
		p := Fields[i].At(&e)
		if before, twice := fields[p]; twice {
			t.Errorf("%s and %s are the same member", before, Fields[i].Name)
		}
		fields[p] = Fields[i].Name
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		if name == "Sanitised" || name == "trusted" || name == "text" {
			continue // they tell of the sending, not of the event
		}
		if _, ok := fields[v.Field(i).Addr().Interface()]; !ok {
			t.Errorf("member %s has no Field", name)
		}
	}
}

func TestRecordRefusesWhatNoCollectorWrote(t *testing.T) {
	t.Parallel()
	e := goldenEvent(Pageview)
	good := string(e.AppendJSON(nil))
	for name, change := range map[string][2]string{
		"no site":       {`"site":"shop",`, ``},
		"no id":         {`"event_id":"019ac000-1234-7abc-8def-0123456789ab",`, ``},
		"no clock":      {`"clock":"client",`, ``},
		"other version": {`-7abc-`, `-4abc-`},
		"other time":    {`"occurred_at":1`, `"occurred_at":2`},
		"unknown type":  {`"pageview"`, `"page_view"`},
		"bad number":    {`"screen_w":1536`, `"screen_w":-1`},
		"cut off":       {`}`, ``},
		"array":         {good, `[]`},
		"empty":         {good, ``},
		"null":          {good, `null`},
	} {
		var d Decoder
		text := strings.Replace(good, change[0], change[1], 1)
		if text == good {
			t.Fatalf("%s: the golden record has no %q", name, change[0])
		}
		if _, r := d.Record([]byte(text)); r == nil || r.Reason != Undecodable {
			t.Errorf("%s: got %v, want undecodable", name, r)
		}
	}
}

func TestRecordTakesFieldsOfANewerCollector(t *testing.T) {
	t.Parallel()
	e := goldenEvent(Pageview)
	text := bytes.Replace(e.AppendJSON(nil), []byte(`"schema":1`),
		[]byte(`"schema":2,"mood":{"a":[1]}`), 1)
	var d Decoder
	back, r := d.Record(text)
	if r != nil {
		t.Fatal(r)
	}
	if back.Schema != Some(2) {
		t.Errorf("schema is %v, want 2", back.Schema)
	}
}

func TestKeyKeepsAVisitorTogether(t *testing.T) {
	t.Parallel()
	id, _ := ParseUUID("019ac000-1234-7abc-8def-0123456789ab")
	for want, e := range map[string]Event{
		"shop/v": {Site: "shop", VisitorID: "v", SessionID: "s", EventID: id},
		"shop/s": {Site: "shop", SessionID: "s", EventID: id},
		"shop/019ac000-1234-7abc-8def-0123456789ab": {Site: "shop", EventID: id},
	} {
		if got := e.Key(); got != want {
			t.Errorf("key is %q, want %q", got, want)
		}
	}
}
