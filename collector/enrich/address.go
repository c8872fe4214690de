package enrich

import (
	"net/url"
	"strings"
)

// address is a page's URL in the parts that are stored. All are parts of one text, where
// the sender wrote it as we do.
type address struct {
	base  string // scheme, host and path
	host  string // lower case, without a port
	path  string
	query string
}

// parseAddress reads an absolute http or https URL; ok is false for anything else.
func parseAddress(raw string) (a address, ok bool) {
	raw, _, _ = strings.Cut(raw, "#") // one that does not parse must not hide the rest
	if a, ok := plainAddress(raw); ok {
		return a, true
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return address{}, false
	}
	u.Host = strings.TrimSuffix(strings.ToLower(u.Host), ".")
	path := u.EscapedPath()
	return address{base: u.Scheme + "://" + u.Host + path, host: u.Hostname(), path: path,
		query: u.RawQuery}, true
}

// plainAddress reads what nearly all pages are: nothing in it has to be decoded, encoded
// or made lower case. It allocates nothing; net/url, which knows the rest, does thrice.
func plainAddress(raw string) (a address, ok bool) {
	at := len("https://")
	if !strings.HasPrefix(raw, "https://") {
		if at--; !strings.HasPrefix(raw, "http://") {
			return a, false
		}
	}
	a.base, a.query, _ = strings.Cut(raw, "?")
	end := len(a.base)
	for i := at; i < end; i++ {
		switch c := a.base[i]; {
		case c == '/' && a.path == "":
			a.path = a.base[i:]
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.':
		case a.path == "" || !plainPath[c]:
			return a, false
		}
	}
	a.host = a.base[at : end-len(a.path)]
	if a.host == "" || a.host[len(a.host)-1] == '.' || strings.HasPrefix(a.path, "//") {
		return a, false
	}
	for i := range len(a.query) {
		if c := a.query[i]; c <= ' ' || c >= 0x7f {
			return a, false
		}
	}
	return a, true
}

// plainPath has the bytes beside small letters, digits, - and . that net/url leaves in a
// path as they are.
var plainPath = func() (set [256]bool) {
	for c := 'A'; c <= 'Z'; c++ {
		set[c] = true
	}
	for _, c := range "/_~$&+,:;=@" {
		set[c] = true
	}
	return set
}()
