package enrich

import (
	"net/url"
	"strings"
	"testing"
)

// slowAddress is parseAddress without its short way.
func slowAddress(raw string) (a address, ok bool) {
	raw, _, _ = strings.Cut(raw, "#")
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return a, false
	}
	u.Host = strings.TrimSuffix(strings.ToLower(u.Host), ".")
	return address{u.Scheme + "://" + u.Host + u.EscapedPath(), u.Hostname(), u.EscapedPath(), u.RawQuery}, true
}

// The short way gives what net/url gives, or nothing.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"https://shop.example/shoes/red?utm_source=may&size=42", "http://a", "http://a/",
		"https://A.example/B", "https://a.example:8080/b", "https://u@a.example/b", "https://a.example./b",
		"https://a.example//b", "https://a.example/%41", "https://a.example/b c", "https://a.example?x#y",
		"https://[::1]/b", "https:///b", "https://a.example/b?a b", "https://a.example/\xff", "https://a.example/b:c@d",
		"https://a.example/!x", "ftp://a.example/", "https://a..b/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, ok := parseAddress(raw)
		want, wantOK := slowAddress(raw)
		if got != want || ok != wantOK {
			t.Errorf("%q is %+v, %v; net/url says %+v, %v", raw, got, ok, want, wantOK)
		}
	})
}

func TestMostPagesTakeTheShortWay(t *testing.T) {
	for raw, short := range map[string]bool{"https://shop.example/shoes/Red_2?utm_source=may&x=%20": true,
		"https://www.google.de/": true, "http://127.0.0.1/": true, "https://shop.example:8443/": false,
		"https://shop.example/caf%C3%A9": false} {
		if _, ok := plainAddress(raw); ok != short {
			t.Errorf("%s: %v, want %v", raw, ok, short)
		}
	}
	if n := testing.AllocsPerRun(100, func() { parseAddress("https://shop.example/shoes?x=1") }); n != 0 {
		t.Errorf("a plain address takes %v allocations", n)
	}
}
