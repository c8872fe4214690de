// Package enrich adds to an event what its request tells: the parts of its URL,
// where the visit came from, browser, operating system and device, whether a
// program sent it, the country, and the visitor's id of the day.
//
// Privacy is its default. Of a URL only scheme, host, path and the listed query
// keys (utm_*, ref, source, and what the site names) are kept; every other key, the fragment and userinfo
// are dropped, also from url itself. Of a referrer not even the query is kept. Of
// a click id only its kind is kept. The address is used for country and visitor
// id and stored nowhere, unless the site wants it. The salt under which a visitor id is made lives for one
// UTC day, so ids of two days cannot be joined. Each collector has a salt of its
// own for now: a visitor that two collectors serve on one day counts twice.
//
// What cannot be found out stays unknown; enriching never refuses an event and
// never fails. A salt that cannot be written is logged and used from memory: a
// restart on that day then makes new visitor ids.
package enrich

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"footfall/collector/sites"
	"footfall/event"
)

// Options configures an Enricher. The zero value works.
type Options struct {
	// CountryDB is a MaxMind file with country codes; empty for the built-in one.
	CountryDB string
	// SaltFile keeps the day's salt over a restart (mode 0600); empty for memory only.
	SaltFile string
	Logger   *slog.Logger
	Now      func() time.Time
}

// Facts is what a request tells about its sender beside the event. All strings are
// copies: nothing here may refer to the request's memory.
type Facts struct {
	Site           *sites.Site // nil: one with the defaults
	IP             netip.Addr  // the client's, behind all trusted proxies; may be invalid
	UserAgent      string
	AcceptLanguage string
	GPC            bool // the header Sec-GPC: 1
	DNT            bool // the header DNT: 1
}

// Enricher enriches events. It is safe for concurrent use and holds the country
// database (8 MB) and a bounded cache of user agents in memory.
type Enricher struct {
	countries *countries
	salts     *salts
	agents    *agentCache
}

// New opens the country database and reads or makes the day's salt. It fails when
// the database cannot be read or the salt file cannot be read or written.
func New(o Options) (*Enricher, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := openCountries(o.CountryDB)
	if err != nil {
		return nil, err
	}
	s, err := openSalts(o.SaltFile, o.Now, o.Logger)
	if err != nil {
		return nil, err
	}
	o.Logger.LogAttrs(context.Background(), slog.LevelInfo, "country database is open",
		slog.Time("built", c.built))
	return &Enricher{countries: c, salts: s, agents: newAgentCache(agentsMax)}, nil
}

// Enrich fills the fields of e that only the collector sets, and utm_* and
// language where the sender did not. It does no input or output.
func (n *Enricher) Enrich(e *event.Event, f Facts) {
	site := f.Site
	if site == nil {
		site = &anySite
	}
	setPlace(e, site.Query)
	setSource(e)
	if f.UserAgent != "" || e.Transport != event.TransportAPI {
		n.setAgent(e, f.UserAgent) // a server that does not say who its visitor is is no bot
	}
	if f.IP.IsValid() {
		ip := f.IP.Unmap().WithZone("")
		e.Country = n.countries.of(ip)
		id := n.salts.visitorID(e.Site, ip, e.UserAgent)
		e.VisitorID = e.Keep(id[:])
		e.IP = keptIP(site.IP, ip)
	}
	if e.Language == "" {
		e.Language = e.Clean("language", firstLanguage(f.AcceptLanguage))
	}
	e.GPC = e.GPC || f.GPC
	if e.GPC && site.GPC || f.DNT && site.DNT {
		// Global Privacy Control: the event counts, nobody is told apart by it.
		e.VisitorID, e.SessionID, e.UserID, e.IP = "", "", "", ""
	}
}

// anySite is read only.
var anySite = *sites.Default("")

// keptIP returns what a site keeps of an address: nothing, its network, or all.
func keptIP(policy string, ip netip.Addr) string {
	switch policy {
	case sites.IPFull:
		return ip.String()
	case sites.IPCut:
		return networkOf(ip).Addr().String()
	}
	return ""
}

// firstLanguage returns the first tag of an Accept-Language header, or nothing
// when that is no language tag.
func firstLanguage(header string) string {
	tag, _, _ := strings.Cut(header, ",")
	tag, _, _ = strings.Cut(tag, ";")
	tag = strings.TrimSpace(tag)
	for i := range len(tag) {
		c := tag[i] | 0x20
		if (c < 'a' || c > 'z') && (tag[i] < '0' || tag[i] > '9') && tag[i] != '-' {
			return ""
		}
	}
	return tag
}
