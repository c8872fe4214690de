package enrich

import (
	"net/url"
	"slices"
	"strings"

	"footfall/event"
)

// keptKey says which query keys are stored. A list of what is kept, not of what
// is dropped (the site may name more): nobody can list the keys that carry a name or a mail address.
func keptKey(key string, more []string) bool {
	switch key {
	case "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "ref", "source":
		return true
	}
	return slices.Contains(more, key)
}

// setPlace cleans url and referrer and fills what follows from them: hostname,
// path, query, referrer_host, click_id_type and utm_*. What is not http or https
// keeps its text without query, fragment and userinfo, and has no parts.
func setPlace(e *event.Event, more []string) {
	if a, ok := parseAddress(e.URL); ok {
		query := cleanQuery(e, a.query, more)
		e.Hostname = e.Clean("hostname", a.host)
		e.Path = e.Clean("path", a.path)
		e.Query = e.Clean("query", query)
		e.URL = e.Clean("url", a.base)
		if query != "" {
			var room [256]byte
			e.URL = e.Clean("url", e.Keep(append(append(append(room[:0], e.URL...), '?'), query...)))
		}
	} else {
		e.URL = withoutQuery(e.URL)
	}
	if a, ok := parseAddress(e.Referrer); ok {
		e.ReferrerHost = e.Clean("referrer_host", a.host)
		e.Referrer = e.Clean("referrer", a.base)
	} else {
		e.ReferrerHost = e.Clean("referrer_host", appName(e.Referrer))
		e.Referrer = withoutQuery(e.Referrer)
	}
}

// appName returns the package name of an Android app's referrer, which stands
// where a host does: android-app://com.google.android.gm/.
func appName(referrer string) string {
	rest, ok := strings.CutPrefix(referrer, "android-app://")
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(withoutQuery(rest), "/")
	return strings.ToLower(name)
}

// withoutQuery cuts query, fragment and userinfo off a text that only looks like
// a URL.
func withoutQuery(s string) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	start := strings.Index(s, "//")
	if start < 0 {
		return s
	}
	start += len("//")
	end := len(s)
	if i := strings.IndexByte(s[start:], '/'); i >= 0 {
		end = start + i
	}
	if at := strings.LastIndexByte(s[start:end], '@'); at >= 0 {
		s = s[:start] + s[start+at+1:]
	}
	return s
}

// cleanQuery returns the kept pairs of a query in their order, as they were
// written, and tells the event what the others say.
func cleanQuery(e *event.Event, raw string, more []string) string {
	var room [256]byte
	kept := room[:0]
	all := true
	for pair, rest := "", raw; rest != ""; {
		pair, rest, _ = strings.Cut(rest, "&")
		key, value, _ := strings.Cut(pair, "=")
		key = unescape(key)
		if isClickID(key) && value != "" && e.ClickIDType == "" {
			e.ClickIDType = strings.ToLower(key)
		}
		if !keptKey(key, more) || value == "" {
			all = false
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, '&')
		}
		kept = append(kept, pair...)
		setUTM(e, key, unescape(value))
	}
	if all && len(kept) == len(raw) {
		return raw
	}
	return e.Keep(kept)
}

// setUTM fills a field that the sender left out.
func setUTM(e *event.Event, key, value string) {
	var p *string
	switch key {
	case "utm_source":
		p = &e.UTMSource
	case "utm_medium":
		p = &e.UTMMedium
	case "utm_campaign":
		p = &e.UTMCampaign
	case "utm_term":
		p = &e.UTMTerm
	case "utm_content":
		p = &e.UTMContent
	default:
		return
	}
	if *p == "" {
		*p = e.Clean(key, value)
	}
}

// unescape decodes a part of a query; one that is badly written stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return decoded
}
