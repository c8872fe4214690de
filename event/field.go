package event

import (
	"fmt"
	"slices"
	"time"
	"unsafe"
)

// Field is one column of an event. Exactly one list of them exists: Fields.
type Field struct {
	// Name is the JSON key, the pixel's query key and the SQL column.
	Name string
	// Max is the limit: bytes of a text, largest value of an integer.
	Max int
	// Whole says that a longer text is refused, not cut: its beginning would mean
	// something else, as USD is not USDT.
	Whole bool
	// Client says that the sender of a beacon or a pixel may set it.
	Client bool
	// Server says that the sender may set it who has the site's secret.
	Server bool
	// Required says that every record has it and that the column is NOT NULL.
	Required bool

	at  func(*Event) any // where the value is: a pointer into the event
	key string           // ,"name": as JSON has it
	// Most fields are texts, and most of them are empty: these two spare the encoder a call
	// and a switch for each.
	text   bool
	offset uintptr // of the string inside Event
}

// At returns a pointer to the field's value inside e: *string, *Type, *UUID, *Int,
// *Decimal, *bool, *time.Time, *[]string or *JSON.
func (f *Field) At(e *Event) any { return f.at(e) }

// Fields is every field, in the order of the table's columns.
//
// To add one: a member of Event, a line here, a migration in
// sink/postgres/migrations; the goldens and the schema's test then name what is
// still missing.
var Fields = []Field{
	{Name: "event_id", Client: true, Required: true, at: func(e *Event) any { return &e.EventID }},
	{Name: "schema", Max: 32767, Required: true, at: func(e *Event) any { return &e.Schema }},
	{Name: "site", Max: 64, Required: true, at: func(e *Event) any { return &e.Site }},
	{Name: "type", Max: 16, Client: true, Required: true, at: func(e *Event) any { return &e.Type }},
	{Name: "name", Max: 128, Client: true, at: func(e *Event) any { return &e.Name }},
	{Name: "occurred_at", Client: true, Required: true, at: func(e *Event) any { return &e.OccurredAt }},
	{Name: "received_at", Required: true, at: func(e *Event) any { return &e.ReceivedAt }},
	{Name: "clock", Max: 8, Required: true, at: func(e *Event) any { return &e.Clock }},

	{Name: "url", Max: 2048, Client: true, at: func(e *Event) any { return &e.URL }},
	{Name: "hostname", Max: 255, at: func(e *Event) any { return &e.Hostname }},
	{Name: "path", Max: 2048, at: func(e *Event) any { return &e.Path }},
	{Name: "query", Max: 2048, at: func(e *Event) any { return &e.Query }},
	{Name: "title", Max: 512, Client: true, at: func(e *Event) any { return &e.Title }},
	{Name: "referrer", Max: 2048, Client: true, at: func(e *Event) any { return &e.Referrer }},
	{Name: "referrer_host", Max: 255, at: func(e *Event) any { return &e.ReferrerHost }},
	{Name: "source", Max: 128, at: func(e *Event) any { return &e.Source }},
	{Name: "channel", Max: 32, at: func(e *Event) any { return &e.Channel }},
	{Name: "utm_source", Max: 255, Client: true, at: func(e *Event) any { return &e.UTMSource }},
	{Name: "utm_medium", Max: 255, Client: true, at: func(e *Event) any { return &e.UTMMedium }},
	{Name: "utm_campaign", Max: 255, Client: true, at: func(e *Event) any { return &e.UTMCampaign }},
	{Name: "utm_term", Max: 255, Client: true, at: func(e *Event) any { return &e.UTMTerm }},
	{Name: "utm_content", Max: 255, Client: true, at: func(e *Event) any { return &e.UTMContent }},
	{Name: "click_id_type", Max: 32, at: func(e *Event) any { return &e.ClickIDType }},

	{Name: "visitor_id", Max: 64, at: func(e *Event) any { return &e.VisitorID }},
	{Name: "session_id", Max: 64, Client: true, at: func(e *Event) any { return &e.SessionID }},
	{Name: "user_id", Max: 128, Client: true, at: func(e *Event) any { return &e.UserID }},
	{Name: "pageview_id", Max: 64, Client: true, at: func(e *Event) any { return &e.PageviewID }},

	{Name: "ip", Max: 45, Server: true, at: func(e *Event) any { return &e.IP }},
	{Name: "country", Max: 2, at: func(e *Event) any { return &e.Country }},
	{Name: "region", Max: 128, at: func(e *Event) any { return &e.Region }},
	{Name: "city", Max: 128, at: func(e *Event) any { return &e.City }},
	{Name: "asn", Max: 1<<32 - 1, at: func(e *Event) any { return &e.ASN }},

	{Name: "user_agent", Max: 512, Server: true, at: func(e *Event) any { return &e.UserAgent }},
	{Name: "browser", Max: 64, at: func(e *Event) any { return &e.Browser }},
	{Name: "browser_version", Max: 32, at: func(e *Event) any { return &e.BrowserVersion }},
	{Name: "os", Max: 64, at: func(e *Event) any { return &e.OS }},
	{Name: "os_version", Max: 32, at: func(e *Event) any { return &e.OSVersion }},
	{Name: "device", Max: 16, at: func(e *Event) any { return &e.Device }},
	{Name: "bot", Required: true, at: func(e *Event) any { return &e.Bot }},
	{Name: "bot_reasons", Max: 64, at: func(e *Event) any { return &e.BotReasons }},

	{Name: "language", Max: 35, Client: true, at: func(e *Event) any { return &e.Language }},
	{Name: "timezone", Max: 64, Client: true, at: func(e *Event) any { return &e.Timezone }},
	{Name: "screen_w", Max: 1 << 20, Client: true, at: func(e *Event) any { return &e.ScreenW }},
	{Name: "screen_h", Max: 1 << 20, Client: true, at: func(e *Event) any { return &e.ScreenH }},
	{Name: "viewport_w", Max: 1 << 20, Client: true, at: func(e *Event) any { return &e.ViewportW }},
	{Name: "viewport_h", Max: 1 << 20, Client: true, at: func(e *Event) any { return &e.ViewportH }},
	{Name: "engaged_ms", Max: 1 << 40, Client: true, at: func(e *Event) any { return &e.EngagedMS }},
	{Name: "scroll_pct", Max: 100, Client: true, at: func(e *Event) any { return &e.ScrollPct }},

	{Name: "revenue", Client: true, at: func(e *Event) any { return &e.Revenue }},
	{Name: "currency", Max: 3, Whole: true, Client: true,
		at: func(e *Event) any { return &e.Currency }},

	{Name: "transport", Max: 8, Client: true, Required: true, at: func(e *Event) any { return &e.Transport }},
	{Name: "snippet_version", Max: 32, Client: true, at: func(e *Event) any { return &e.SnippetVersion }},
	{Name: "consent", Max: 16, Client: true, at: func(e *Event) any { return &e.Consent }},
	{Name: "gpc", Client: true, Required: true, at: func(e *Event) any { return &e.GPC }},
	{Name: "props", Client: true, at: func(e *Event) any { return &e.Props }},
}

// names finds a field by its name, several times an event: a hash of a name's length and
// its ends, and then one comparison, cost a fifth of what a map's lookup does. Built once,
// with what the fields derive; read only.
var names = func() (table [256]*Field) {
	var e Event
	for i := range Fields {
		f := &Fields[i]
		f.key = `,"` + f.Name + `":`
		if p, ok := f.at(&e).(*string); ok {
			f.text, f.offset = true, uintptr(unsafe.Pointer(p))-uintptr(unsafe.Pointer(&e))
		}
		slot := &table[nameHash(f.Name)]
		if *slot != nil {
			panic("names " + f.Name + " and " + (*slot).Name + " fall together: change nameHash")
		}
		*slot = f
	}
	return table
}()

// nameHash is different for every field: the table's making sees to that.
func nameHash(name string) int {
	n := len(name)
	return (n*24 + int(name[n/2])*4 + int(name[n-1])*7 + int(name[0])) & 0xff
}

// fieldOf returns the field of that name; nil when there is none.
func fieldOf(name string) *Field {
	if name == "" {
		return nil
	}
	if f := names[nameHash(name)]; f != nil && f.Name == name {
		return f
	}
	return nil
}

// set reads a text form, as it comes in a query or from a JSON string, into the
// field. It copies what it keeps of s. It reports what was expected when the text cannot
// be it.
func (f *Field) set(e *Event, s string) (expected string) {
	switch p := f.at(e).(type) {
	case *string:
		if f.Whole && len(s) > f.Max {
			return fmt.Sprintf("at most %d bytes long", f.Max)
		}
		*p = e.text.keep(e.clean(s, f.Max))
	case *Type:
		*p = e.setType(s, f.Max)
	case *UUID:
		u, err := ParseUUID(s)
		if err != nil {
			return "a UUID"
		}
		*p = u
	case *Int:
		return p.set(s, f.Max)
	case *Decimal:
		expected = p.set(s)
		*p = Decimal(e.text.keep(string(*p)))
		return expected
	case *bool:
		return setBool(p, s)
	case *time.Time:
		return setTime(p, s)
	default:
		return "to be left out here"
	}
	return ""
}

// setType finds the type that s names without a copy of it.
func (e *Event) setType(s string, max int) Type {
	if i := slices.Index(Types[:], Type(s)); i >= 0 {
		return Types[i]
	}
	return Type(e.text.keep(e.clean(s, max)))
}
