// Package event says what an event is: its fields, their limits, the JSON it
// travels as, its id and time, its partition key, and the closed set of reasons
// for which one is refused.
//
// The same names are used everywhere: JSON key, pixel query key, SQL column. The
// one list of them is Fields; decoding, encoding, the COPY columns and the
// database's schema test all walk that list, so a field exists in all places or
// the tests name the place that lacks it.
//
// What comes from outside is made harmless here, once: text is valid UTF-8
// without NUL and within its limit (Event.Sanitised counts what had to change),
// numbers are in range, props are bounded and encoded anew. What cannot be
// understood is refused with a Reason; nothing is dropped silently.
//
// The package imports no other room. Its values are plain data: they are safe to
// copy, keep no memory of the request they came from, and are not for concurrent
// use while being changed.
package event

import (
	"slices"
	"time"
)

// Schema is the version of the record that this code writes to Kafka. Readers
// take any version up to their own; new fields only ever get added.
const Schema = 1

// Event is one thing that happened in a browser or a mail program. The zero value
// of a field means unknown and is NULL in the database, except where Field says
// otherwise.
type Event struct {
	EventID    UUID
	Schema     Int
	Site       string // the tracked property's public name
	Type       Type
	Name       string // of a custom event, a form or a click
	OccurredAt time.Time
	ReceivedAt time.Time
	Clock      string // ClockClient or ClockServer: whose time OccurredAt is

	URL          string
	Hostname     string
	Path         string
	Query        string
	Title        string
	Referrer     string
	ReferrerHost string
	Source       string
	Channel      string
	UTMSource    string
	UTMMedium    string
	UTMCampaign  string
	UTMTerm      string
	UTMContent   string
	ClickIDType  string

	VisitorID  string
	SessionID  string
	UserID     string
	PageviewID string

	IP      string // empty unless the site's policy keeps it
	Country string // two letters, ISO 3166-1
	Region  string
	City    string
	ASN     Int

	UserAgent      string
	Browser        string
	BrowserVersion string
	OS             string
	OSVersion      string
	Device         string // desktop, mobile, tablet, tv or other
	Bot            bool
	BotReasons     []string

	Language  string
	Timezone  string
	ScreenW   Int // CSS pixels, as the viewport's
	ScreenH   Int
	ViewportW Int
	ViewportH Int
	EngagedMS Int // milliseconds the page was visible
	ScrollPct Int // deepest point seen, 0 to 100

	Revenue  Decimal
	Currency string // three letters, ISO 4217

	Transport      string // beacon, fetch, pixel, api or email
	SnippetVersion string
	Consent        string
	GPC            bool
	Props          JSON // an object, encoded by this package; nil when there is none

	// Sanitised counts the values that had to be changed to be storable (cut,
	// invalid UTF-8, NUL). It does not travel.
	Sanitised int

	trusted bool  // sent under the site's secret, see Decoder.Server
	text    *text // of its texts, shared with others; nil: each has its own
}

// Type is the kind of an event, one of the closed set below.
type Type string

// The types of events.
const (
	Pageview   Type = "pageview"
	Click      Type = "click"
	Form       Type = "form"
	Leave      Type = "leave"
	Custom     Type = "custom"
	EmailOpen  Type = "email_open"
	EmailClick Type = "email_click"
)

// Types lists every Type.
var Types = [...]Type{Pageview, Click, Form, Leave, Custom, EmailOpen, EmailClick}

// Whose clock OccurredAt was read from.
const (
	ClockClient = "client"
	ClockServer = "server"
)

// The ways in, as told by the sender or set by the door it came through.
const (
	TransportBeacon = "beacon"
	TransportFetch  = "fetch"
	TransportPixel  = "pixel"
	TransportAPI    = "api"
	TransportEmail  = "email"
)

// Int is an integer that may be unknown.
type Int struct {
	N  int64
	OK bool
}

// Some returns a known Int.
func Some(n int64) Int { return Int{N: n, OK: true} }

// Decimal is an exact decimal number as text, such as "12.50"; empty when unknown.
// At most 15 digits before the point and 6 behind it.
type Decimal string

// JSON is one encoded JSON value.
type JSON []byte

// Key returns the Kafka partition key: events of one visitor of a site share it,
// so that they keep their order. Without a visitor the session stands in, and
// without both the event's own id, which spreads the load.
func (e *Event) Key() string { return string(e.appendKey(nil)) }

func (e *Event) appendKey(b []byte) []byte {
	b = append(append(b, e.Site...), '/')
	switch {
	case e.VisitorID != "":
		return append(b, e.VisitorID...)
	case e.SessionID != "":
		return append(b, e.SessionID...)
	}
	return e.EventID.append(b)
}

func knownType(t Type) bool { return slices.Contains(Types[:], t) }
