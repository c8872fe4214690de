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
	if u := parseURL(e.URL); u != nil {
		query := cleanQuery(e, u.RawQuery, more)
		e.Hostname = e.Clean("hostname", u.Hostname())
		e.Path = e.Clean("path", u.EscapedPath())
		e.Query = e.Clean("query", query)
		e.URL = e.Clean("url", bareURL(u))
		if query != "" {
			e.URL = e.Clean("url", e.URL+"?"+query)
		}
	} else {
		e.URL = withoutQuery(e.URL)
	}
	if u := parseURL(e.Referrer); u != nil {
		e.ReferrerHost = e.Clean("referrer_host", u.Hostname())
		e.Referrer = e.Clean("referrer", bareURL(u))
	} else {
		e.ReferrerHost = e.Clean("referrer_host", appName(e.Referrer))
		e.Referrer = withoutQuery(e.Referrer)
	}
}

// parseURL returns nil for what is not an absolute http or https URL.
func parseURL(raw string) *url.URL {
	raw, _, _ = strings.Cut(raw, "#") // one that does not parse must not hide the rest
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil
	}
	u.Host = strings.TrimSuffix(strings.ToLower(u.Host), ".")
	return u
}

// bareURL returns scheme, host and path.
func bareURL(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

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
	var kept strings.Builder
	for pair := range strings.SplitSeq(raw, "&") {
		key, value, _ := strings.Cut(pair, "=")
		key = unescape(key)
		if isClickID(key) && value != "" && e.ClickIDType == "" {
			e.ClickIDType = strings.ToLower(key)
		}
		if !keptKey(key, more) || value == "" {
			continue
		}
		if kept.Len() > 0 {
			kept.WriteByte('&')
		}
		kept.WriteString(pair)
		setUTM(e, key, unescape(value))
	}
	return kept.String()
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
