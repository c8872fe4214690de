package intake

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

func TestEveryRequestGetsItsStatusAndReason(t *testing.T) {
	t.Parallel()
	const good = `{"site":"shop","events":[{"type":"pageview"}]}`
	text := []string{"Content-Type", "text/plain"}
	for _, c := range []struct {
		name   string
		r      request
		code   int
		reason event.Reason
		stored int
	}{
		{"beacon", post(good, text...), 204, "", 1},
		{"beacon with charset", post(good, "Content-Type", "Text/Plain;charset=UTF-8"), 204, "", 1},
		{"beacon as JSON", post(good, "Content-Type", "application/json"), 204, "", 1},
		{"beacon without a type", post(good), 204, "", 1},
		{"bare event", post(`{"site":"shop"}`), 204, "", 1},
		{"beacon with a query", request{method: "POST", uri: "/e?x", body: good}, 204, "", 1},
		{"beacon by curl -d", post(good, "Content-Type", "application/x-www-form-urlencoded"), 204, "", 1},
		{"form", post("a=b", "Content-Type", "application/x-www-form-urlencoded"), 400,
			event.BadJSON, 0},
		{"upload", post(good, "Content-Type", "multipart/form-data; boundary=x"), 415,
			event.UnsupportedMediaType, 0},
		{"compressed", post(good, "Content-Encoding", "gzip"), 415, event.UnsupportedMediaType, 0},
		{"too large", post(good + strings.Repeat(" ", BodyBytesMax)), 413, event.BodyTooLarge, 0},
		{"empty body", post(""), 400, event.BadJSON, 0},
		{"not JSON", post("hello"), 400, event.BadJSON, 0},
		{"no events", post(`{"site":"shop","events":[]}`), 400, event.NoEvents, 0},
		{"too many events", post(`{"site":"shop","events":[` + strings.Repeat("{},", 500) + `{}]}`), 413,
			event.TooManyEvents, 0},
		{"unknown site", post(`{"site":"other"}`), 403, event.UnknownSite, 0},
		{"no site", post(`{"type":"click"}`), 403, event.UnknownSite, 0},
		{"one bad event", post(`{"site":"shop","type":"x"}`), 400, event.UnknownType, 0},
		{"only bad events", post(`{"site":"shop","events":[{"event_id":"x"},7]}`), 400,
			event.BadEventID, 0},
		{"some bad events", post(`{"site":"shop","events":[{},7,{}]}`), 200, "", 2},
		{"pixel", request{method: "GET", uri: "/p.gif?site=shop"}, 200, "", 1},
		{"pixel without site", request{method: "GET", uri: "/p.gif"}, 403, event.UnknownSite, 0},
		{"pixel of unknown type", request{method: "GET", uri: "/p.gif?site=shop&type=x"}, 400,
			event.UnknownType, 0},
		{"pixel asked for its head", request{method: "HEAD", uri: "/p.gif?site=shop"}, 405,
			event.MethodNotAllowed, 0},
		{"script", request{method: "GET", uri: "/f.js"}, 200, "", 0},
		{"script's head", request{method: "HEAD", uri: "/f.js"}, 200, "", 0},
		{"frozen script", request{method: "GET", uri: "/f.abc123.js"}, 200, "", 0},
		{"older script", request{method: "GET", uri: "/f.abc124.js"}, 404, event.NotFound, 0},
		{"root", request{method: "GET", uri: "/"}, 404, event.NotFound, 0},
		{"health", request{method: "GET", uri: "/health"}, 404, event.NotFound, 0},
		{"encoded path", request{method: "POST", uri: "/%65", body: good}, 404, event.NotFound, 0},
		{"dots", request{method: "POST", uri: "/x/../e", body: good}, 404, event.NotFound, 0},
		{"two slashes", request{method: "POST", uri: "//e", body: good}, 404, event.NotFound, 0},
		{"trailing slash", request{method: "POST", uri: "/e/", body: good}, 404, event.NotFound, 0},
		{"GET beacon", request{method: "GET", uri: "/e"}, 405, event.MethodNotAllowed, 0},
		{"POST pixel", request{method: "POST", uri: "/p.gif?site=shop"}, 405, event.MethodNotAllowed, 0},
		{"PUT", request{method: "PUT", uri: "/e", body: good}, 405, event.MethodNotAllowed, 0},
		{"TRACE", request{method: "TRACE", uri: "/e"}, 405, event.MethodNotAllowed, 0},
		{"GET with a body", request{method: "GET", uri: "/p.gif?site=shop", body: "x"}, 400,
			event.BadRequest, 0},
		{"preflight", request{method: "OPTIONS", uri: "/e"}, 204, "", 0},
		{"absolute form", request{method: "POST", uri: "http://evil.example/e", body: good}, 400,
			event.BadRequest, 0},
		{"odd Expect", post(good, "Expect", "miracles"), 417, event.ExpectationFailed, 0},
	} {
		s, kept := newTestServer(nil)
		resp := c.r.send(s)
		if resp.StatusCode() != c.code || string(resp.Header.Peek(reasonHeader)) != string(c.reason) {
			t.Errorf("%s: %d %s, want %d %s: %s", c.name, resp.StatusCode(),
				resp.Header.Peek(reasonHeader), c.code, c.reason, resp.Body())
		}
		if len(kept.records) != c.stored || kept.calls > 1 {
			t.Errorf("%s: %d records in %d calls, want %d", c.name, len(kept.records), kept.calls, c.stored)
		}
		checkCommonHeaders(t, c.name, resp)
		if c.reason != "" {
			checkRefusal(t, c.name, resp)
			if n := s.count.refused[c.reason].Get(); n == 0 {
				t.Errorf("%s: the refusal was not counted", c.name)
			}
		}
	}
}

func checkCommonHeaders(t *testing.T, name string, resp *fasthttp.Response) {
	t.Helper()
	for header, want := range map[string]string{
		"Access-Control-Allow-Origin":   "*",
		"Access-Control-Expose-Headers": "X-Footfall-Reason, X-Footfall-Durability, Retry-After",
		"Cross-Origin-Resource-Policy":  "cross-origin",
		"X-Content-Type-Options":        "nosniff",
		"Set-Cookie":                    "",
	} {
		if got := string(resp.Header.Peek(header)); got != want {
			t.Errorf("%s: %s is %q, want %q", name, header, got, want)
		}
	}
	cache := string(resp.Header.Peek("Cache-Control"))
	if cache != "no-store" && !strings.Contains(name, "script") {
		t.Errorf("%s: Cache-Control is %q, want no-store", name, cache)
	}
}

func checkRefusal(t *testing.T, name string, resp *fasthttp.Response) {
	t.Helper()
	var a answer
	if err := json.Unmarshal(resp.Body(), &a); err != nil {
		t.Errorf("%s: body is no JSON: %s", name, resp.Body())
	}
	if string(a.Reason) != string(resp.Header.Peek(reasonHeader)) || a.Detail == "" {
		t.Errorf("%s: body is %s", name, resp.Body())
	}
	if retry := resp.Header.Peek("Retry-After"); (resp.StatusCode() == 503) != (len(retry) > 0) {
		t.Errorf("%s: status %d with Retry-After %q", name, resp.StatusCode(), retry)
	}
}

func TestAPreflightPermitsWhatThePathTakes(t *testing.T) {
	t.Parallel()
	s, _ := newTestServer(nil)
	for uri, methods := range map[string]string{"/e": "POST, OPTIONS", "/p.gif": "GET, OPTIONS",
		"/f.js": "GET, HEAD, OPTIONS"} {
		h := &request{method: "OPTIONS", uri: uri}.send(s).Header
		if got := string(h.Peek("Access-Control-Allow-Methods")); got != methods {
			t.Errorf("%s: methods are %q, want %q", uri, got, methods)
		}
		if string(h.Peek("Access-Control-Max-Age")) != "7200" ||
			string(h.Peek("Access-Control-Allow-Headers")) != "Content-Type, X-Footfall-Dry-Run" {
			t.Errorf("%s: %s", uri, h.String())
		}
	}
}

func TestWhatIsNotOurHTTPIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(nil)
	ln := serve(t, s)
	const body = `{"site":"shop"}`
	const head = "POST /e HTTP/1.1\r\nHost: c.example\r\n"
	large := strings.Repeat("x", 3*BodyBytesMax)
	for _, c := range []struct {
		name, text string
		code       int
		reason     event.Reason
	}{
		{"good", head + "Content-Length: 15\r\n\r\n" + body, 204, ""},
		{"good, chunked", head + "Transfer-Encoding: chunked\r\n\r\nf\r\n" + body + "\r\n0\r\n\r\n",
			204, ""},
		{"large body", head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(large)) + large, 413,
			event.BodyTooLarge},
		{"body a little too large", head + fmt.Sprintf("Content-Length: %d\r\n\r\n", BodyBytesMax+1) +
			large[:BodyBytesMax+1], 413, event.BodyTooLarge},
		{"large chunks", head + "Transfer-Encoding: chunked\r\n\r\n30000\r\n" + large + "\r\n0\r\n\r\n",
			413, event.BodyTooLarge},
		{"large headers", head + "X: " + large[:9000] + "\r\n\r\n", 431, event.HeaderTooLarge},
		{"no HTTP", "hello\r\n\r\n", 400, event.BadRequest},
		{"no Host", "POST /e HTTP/1.1\r\nContent-Length: 15\r\n\r\n" + body, 400, event.BadRequest},
		{"odd Host", "POST /e HTTP/1.1\r\nHost: <script>\r\nContent-Length: 15\r\n\r\n" + body, 400,
			event.BadRequest},
		{"Host with user", "POST /e HTTP/1.1\r\nHost: a@b\r\nContent-Length: 15\r\n\r\n" + body, 400,
			event.BadRequest},
		{"HTTP/9.9", "POST /e HTTP/9.9\r\nHost: c\r\nContent-Length: 15\r\n\r\n" + body, 505,
			event.VersionNotSupported},
		{"length twice", head + "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n" + body +
			"\r\n0\r\n\r\n", 400, event.BadRequest},
		{"two lengths", head + "Content-Length: 15\r\nContent-Length: 15\r\n\r\n" + body, 400,
			event.BadRequest},
		{"space in a name", head + "X Y: z\r\nContent-Length: 15\r\n\r\n" + body, 400, event.BadRequest},
		{"folded line", head + "X: y\r\n z: a\r\nContent-Length: 15\r\n\r\n" + body, 400,
			event.BadRequest},
		{"odd method", "FOO!BAR /e HTTP/1.1\r\nHost: c.example\r\n\r\n", 405, event.MethodNotAllowed},
		{"CONNECT", "CONNECT c.example:443 HTTP/1.1\r\nHost: c.example\r\n\r\n", 405,
			event.MethodNotAllowed},
		{"absolute form", "POST http://evil.example/e HTTP/1.1\r\nHost: c.example\r\n" +
			"Content-Length: 15\r\n\r\n" + body, 400, event.BadRequest},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, event.BadRequest},
	} {
		before := len(kept.records)
		resp := raw(t, ln, c.text)
		if resp.StatusCode != c.code || resp.Header.Get(reasonHeader) != string(c.reason) {
			text, _ := io.ReadAll(resp.Body)
			t.Errorf("%s: %d %s, want %d %s: %s", c.name, resp.StatusCode,
				resp.Header.Get(reasonHeader), c.code, c.reason, text)
		}
		stored := len(kept.records) - before
		if stored != 1 && c.code == 204 || stored != 0 && c.code != 204 {
			t.Errorf("%s: %d records stored", c.name, stored)
		}
		if c.code != 204 && (!resp.Close || resp.Header.Get("Access-Control-Allow-Origin") != "*") &&
			c.name != "body a little too large" && c.name != "large chunks" {
			t.Errorf("%s: connection stays open or CORS headers are missing: %v", c.name, resp.Header)
		}
		if resp.Header.Get("Server") != "" {
			t.Errorf("%s: the answer names its server", c.name)
		}
	}
}

func TestARequestForAnotherHostIsMisdirected(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(func(o *Options) { o.Hosts = []string{"c.example", "[::1]"} })
	ln := serve(t, s)
	for host, code := range map[string]int{"c.example": 204, "C.Example:8080": 204, "[::1]": 204, "[::1]:80": 204,
		"other.example": 421, "c.example.evil": 421, "127.0.0.1": 421, "c.example.": 421} {
		before := len(kept.records)
		resp := raw(t, ln, "POST /e HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 15\r\n\r\n"+`{"site":"shop"}`)
		reason := map[int]string{421: "misdirected_request"}[code]
		if resp.StatusCode != code || resp.Header.Get(reasonHeader) != reason || resp.Close != (code == 421) ||
			len(kept.records)-before != map[int]int{204: 1}[code] {
			t.Errorf("%s: %d %s, want %d %s", host, resp.StatusCode, resp.Header.Get(reasonHeader), code, reason)
		}
	}
}
