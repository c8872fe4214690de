package sink

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"footfall/event"
)

// days are the offsets from today of events that are not of this moment. Those beyond
// 400 days have no partition.
var days = []int{-1, -2, -3, -9, -30, -200, -500, -4000, 1, 20}

var pieces = []string{"a", "footfall", "ü", "日本語", "🙂", `"`, `\`, "'", "\t", "\n", "\r", "\b",
	"\x7f", "\x01", "\uFFFF", "\u2028", "</script>", "%00", "{}", "NULL", `\N`, " ", "é", "0"}

// words is a text of n pieces, of which the database must not change one.
func words(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

func hexText(r *rand.Rand, n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[r.IntN(16)]
	}
	return string(b)
}

func maybe(r *rand.Rand, s string) string {
	if r.IntN(3) == 0 {
		return ""
	}
	return s
}

func some(r *rand.Rand, n int) event.Int {
	if r.IntN(4) == 0 {
		return event.Int{}
	}
	return event.Some(int64(r.IntN(n)))
}

// newEvent makes an event with something in every field, now and then.
func newEvent(r *rand.Rand) *event.Event {
	now := time.Now().Truncate(time.Millisecond).UTC()
	at := now.Add(-time.Duration(r.IntN(60_000)) * time.Millisecond)
	if r.IntN(60) == 0 {
		at = at.AddDate(0, 0, days[r.IntN(len(days))])
	}
	e := &event.Event{EventID: newID(r, at), Schema: event.Some(event.Schema), OccurredAt: at,
		Site: "site-" + strconv.Itoa(r.IntN(5)), Type: event.Types[r.IntN(len(event.Types))],
		ReceivedAt: now, Clock: event.ClockClient, Transport: event.TransportBeacon,
		Bot: r.IntN(10) == 0, GPC: r.IntN(10) == 0}
	e.Name = maybe(r, words(r, 3))
	e.Hostname, e.Path = "site.example", "/"+hexText(r, 12)
	e.URL = "https://" + e.Hostname + e.Path
	e.Query, e.Title = maybe(r, "q="+hexText(r, 6)), maybe(r, words(r, 5))
	e.Referrer, e.ReferrerHost = "https://search.example/", "search.example"
	e.Source, e.Channel, e.UTMSource = maybe(r, "Search"), maybe(r, "organic"), maybe(r, words(r, 1))
	e.UTMCampaign, e.ClickIDType = maybe(r, words(r, 2)), maybe(r, "gclid")
	e.VisitorID, e.SessionID, e.PageviewID = hexText(r, 16), maybe(r, hexText(r, 16)), hexText(r, 16)
	e.IP = []string{"", "192.0.2.7", "2001:db8::1", "::ffff:192.0.2.1"}[r.IntN(4)]
	e.Country, e.City, e.ASN = maybe(r, "AT"), maybe(r, words(r, 2)), some(r, 1<<32-1)
	e.UserAgent, e.Browser, e.BrowserVersion = "Mozilla/5.0 (X11; Linux x86_64)", "Firefox", "153"
	e.OS, e.Device, e.Language = "Linux", "desktop", maybe(r, "de-AT")
	if e.Bot {
		e.BotReasons = []string{"user_agent", "rate"}[:1+r.IntN(2)]
	}
	e.ScreenW, e.ScreenH, e.ViewportW = some(r, 1<<20), some(r, 4000), some(r, 4000)
	e.EngagedMS, e.ScrollPct = some(r, 1<<40), some(r, 101)
	if r.IntN(5) == 0 {
		e.Revenue = event.Decimal([]string{"0", "12.50", "-3", "123456789012345.123456", "0.000001"}[r.IntN(5)])
		e.Currency = "EUR"
	}
	props, err := json.Marshal(map[string]any{"n": r.IntN(1 << 30), "text": words(r, 4), "list": []any{true, nil, 1.5}})
	if err == nil && r.IntN(3) > 0 {
		e.Props = props
	}
	return e
}

func newID(r *rand.Rand, at time.Time) (u event.UUID) {
	binary.BigEndian.PutUint64(u[:], uint64(at.UnixMilli())<<16|0x7000|r.Uint64()&0x0fff)
	binary.BigEndian.PutUint64(u[8:], 1<<63|r.Uint64()>>2)
	return u
}

// selection makes lines of rows whose text line knows without the database.
var selection = func() string {
	list := make([]string, len(event.Fields))
	for i := range event.Fields {
		name := event.Fields[i].Name
		switch event.Fields[i].At(&event.Event{}).(type) {
		case *time.Time:
			name = "(extract(epoch from " + name + ") * 1000)::bigint"
		case *[]string:
			name = "array_to_string(" + name + ", ',')"
		}
		if name == "ip" {
			name = "host(ip)"
		}
		list[i] = name
	}
	return strings.Join(list, ", ")
}()

// line is what COPY … TO STDOUT prints for the event's row: written here once more, so
// that a wrong encoder of the sink has nobody who agrees with it.
func line(b []byte, e *event.Event) []byte {
	for i := range event.Fields {
		if i > 0 {
			b = append(b, '\t')
		}
		b = column(b, event.Fields[i].Name, event.Fields[i].At(e))
	}
	return b
}

func column(b []byte, name string, value any) []byte {
	s := ""
	switch p := value.(type) {
	case *string:
		if s = *p; name == "ip" && s != "" {
			if a, err := netip.ParseAddr(s); err == nil {
				s = a.WithZone("").String()
			}
		}
	case *event.Type:
		s = string(*p)
	case *event.UUID:
		s = p.String()
	case *event.Int:
		if p.OK {
			s = strconv.FormatInt(p.N, 10)
		}
	case *event.Decimal:
		s = string(*p)
	case *bool:
		if s = "f"; *p {
			s = "t"
		}
	case *time.Time:
		s = strconv.FormatInt(p.UnixMilli(), 10)
	case *[]string:
		s = strings.Join(*p, ",")
	case *event.JSON:
		if len(*p) > 0 {
			s = jsonb(*p)
		}
	}
	if s == "" {
		return append(b, `\N`...)
	}
	return append(b, escaped.Replace(s)...)
}

var escaped = strings.NewReplacer(`\`, `\\`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "\v", `\v`)

// jsonb is how jsonb prints a value: keys by length, then bytes; numbers without exponent.
func jsonb(b []byte) string {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return err.Error()
	}
	return string(appendJSONB(nil, v))
}

func appendJSONB(b []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		keys := slices.SortedFunc(maps.Keys(v), func(x, y string) int {
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			return strings.Compare(x, y)
		})
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendJSONB(append(appendJSONB(b, k), ": "...), v[k])
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = appendJSONB(b, item)
		}
		return append(b, ']')
	case string:
		return appendText(b, v)
	case json.Number:
		return append(b, plain(string(v))...)
	case bool:
		return strconv.AppendBool(b, v)
	}
	return append(b, "null"...)
}

func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			short := map[byte]byte{'\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
			if short[c] != 0 {
				b = append(b, '\\', short[c])
			} else {
				b = append(b, `\u00`...)
				b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
			}
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// plain writes a JSON number as numeric does: no exponent, and as many places behind the
// point as were written.
func plain(s string) string {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	sign := ""
	if strings.HasPrefix(mantissa, "-") {
		sign, mantissa = "-", mantissa[1:]
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	n, _ := strconv.Atoi(strings.TrimPrefix(exponent, "+"))
	places := max(0, len(fraction)-n)
	digits := whole + fraction
	if shift := n - len(fraction); shift > 0 {
		digits += strings.Repeat("0", shift)
	}
	digits = strings.Repeat("0", max(0, places+1-len(digits))) + digits
	whole, fraction = digits[:len(digits)-places], digits[len(digits)-places:]
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if strings.Trim(digits, "0") == "" {
		sign = ""
	}
	if fraction != "" {
		return sign + whole + "." + fraction
	}
	return sign + whole
}

var hashSeed = maphash.MakeSeed()

func hashOf(b []byte) uint64 { return maphash.Bytes(hashSeed, b) }
