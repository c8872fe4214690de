package intake

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"footfall/event"
)

func TestAPixelIsAnEventAndAGIF(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(nil)
	resp := request{method: "GET", uri: "/p.gif?site=shop&type=custom&name=a+b%21&" +
		"props.x=%E4%B8%AD&title=50%&transport=api&&screen_w=",
		headers: []string{"Referer", "https://shop.example/page"}}.send(s)
	if resp.StatusCode() != 200 || len(resp.Body()) != 43 ||
		!bytes.HasPrefix(resp.Body(), []byte("GIF89a")) ||
		string(resp.Header.ContentType()) != "image/gif" {
		t.Errorf("got %d %s %q", resp.StatusCode(), resp.Header.ContentType(), resp.Body())
	}
	e := kept.event(t, 0)
	if e.Name != "a b!" || e.URL != "https://shop.example/page" || e.Transport != "pixel" ||
		e.Title != "50%" || string(e.Props) != `{"x":"中"}` || e.Type != event.Custom {
		t.Errorf("got %+v", e)
	}
	request{method: "GET", uri: "/p.gif?site=shop&url=https%3A%2F%2Fa.example",
		headers: []string{"Referer", "https://shop.example/page"}}.send(s)
	if e := kept.event(t, 1); e.URL != "https://a.example" || e.Type != event.Pageview {
		t.Errorf("got %+v", e)
	}
}

func TestScriptIsServedCompressedAndCached(t *testing.T) {
	t.Parallel()
	s, _ := newTestServer(nil)
	plain := request{method: "GET", uri: "/f.js?v=2"}.send(s)
	if string(plain.Body()) != "/*tag*/" || string(plain.Header.Peek("ETag")) != `"abc123"` ||
		!bytes.Contains(plain.Header.Peek("Cache-Control"), []byte("stale-while-revalidate")) ||
		string(plain.Header.Peek("Vary")) != "Accept-Encoding" ||
		string(plain.Header.ContentType()) != "text/javascript; charset=utf-8" {
		t.Errorf("got %s", plain)
	}
	zipped := request{method: "GET", uri: "/f.abc123.js",
		headers: []string{"Accept-Encoding", "deflate, gzip"}}.send(s)
	if string(zipped.Body()) != "\x1f\x8bzipped" ||
		string(zipped.Header.ContentEncoding()) != "gzip" ||
		!strings.Contains(string(zipped.Header.Peek("Cache-Control")), "immutable") {
		t.Errorf("got %s", zipped)
	}
	smaller := request{method: "GET", uri: "/f.js",
		headers: []string{"Accept-Encoding", "gzip, br"}}.send(s)
	if string(smaller.Body()) != "br" || string(smaller.Header.ContentEncoding()) != "br" {
		t.Errorf("got %s", smaller)
	}
	known := request{method: "GET", uri: "/f.js",
		headers: []string{"If-None-Match", `W/"abc123"`}}.send(s)
	if known.StatusCode() != 304 || len(known.Body()) != 0 {
		t.Errorf("got %s", known)
	}
	none, _ := newTestServer(func(o *Options) { o.Scripts = nil })
	if resp := (request{method: "GET", uri: "/f.js"}).send(none); resp.StatusCode() != 404 {
		t.Errorf("without a script: %d, want 404", resp.StatusCode())
	}
}

func TestAnInstallationsOwnNamesAnswerLikeTheUsualOnes(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(func(o *Options) { o.Beacon, o.Pixel = "in", "i.gif" })
	for uri, want := range map[string]int{"/in": 204, "/e": 204, "/": 404, "/in/": 404, "/IN": 404} {
		body := `{"site":"shop","type":"custom","name":"n"}`
		if got := (request{method: "POST", uri: uri, body: body}).send(s).StatusCode(); got != want {
			t.Errorf("POST %s: %d, want %d", uri, got, want)
		}
	}
	for uri, want := range map[string]int{"/i.gif": 200, "/p.gif": 200, "/in": 405, "/i.png": 404} {
		if got := (request{method: "GET", uri: uri + "?site=shop&url=https://shop.example/"}).send(s).StatusCode(); got != want {
			t.Errorf("GET %s: %d, want %d", uri, got, want)
		}
	}
	if len(kept.records) != 4 {
		t.Errorf("%d records are stored, want 4", len(kept.records))
	}
	plain, _ := newTestServer(nil)
	if got := (request{method: "POST", uri: "/"}).send(plain).StatusCode(); got != 404 {
		t.Errorf("without names of its own, POST /: %d, want 404", got)
	}
}

func TestASnippetOfAnOlderVersionIsRefusedWithAWord(t *testing.T) {
	t.Parallel()
	s, _ := newTestServer(nil)
	resp := request{method: "GET", uri: "/f.0123456789abcdef.js?v=1"}.send(s)
	if resp.StatusCode() != 404 || !bytes.Contains(resp.Body(), []byte("--pinned")) {
		t.Errorf("got %s", resp)
	}
}

func TestAPixelTakesWhatABeaconWould(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(nil)
	body := url.QueryEscape(`{"site":"shop","webdriver":true,"events":[{"url":"https://shop.example/a","props":{"n":1}}]}`)
	resp := request{method: "GET", uri: "/p.gif?json=" + body}.send(s)
	if resp.StatusCode() != 200 || string(resp.Header.ContentType()) != "image/gif" {
		t.Fatalf("got %s", resp)
	}
	e := kept.event(t, 0)
	if e.Transport != event.TransportPixel || e.URL != "https://shop.example/a" || string(e.Props) != `{"n":1}` ||
		!e.Bot || len(e.BotReasons) != 1 || e.BotReasons[0] != "webdriver" {
		t.Errorf("got %+v", e)
	}
	bad := url.QueryEscape(`{"site":"shop","events":[{"type":"nonsense"}]}`)
	if resp := (request{method: "GET", uri: "/p.gif?json=" + bad}).send(s); resp.StatusCode() != 400 {
		t.Errorf("an event that is refused: %s", resp)
	}
	if resp := (request{method: "GET", uri: "/p.gif?json=%7B"}).send(s); resp.StatusCode() != 400 {
		t.Errorf("what is no JSON: %s", resp)
	}
}
