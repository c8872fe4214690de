//go:build outside

package outside

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBadInputIsRefusedWithAReasonAndTheRestGoesOn throws at a running up what pages
// with bugs, scanners and attackers send.
func TestBadInputIsRefusedWithAReasonAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	u := startUp(t, filepath.Join(t.TempDir(), "data"), "--database-url", database(t))
	one := func(rest string) string { return `{"site":"demo","type":"custom"` + rest + `}` }
	many := strings.Builder{}
	for i := range 1_000_000 {
		fmt.Fprintf(&many, `,"k%d":1`, i)
	}
	for _, c := range []struct {
		name, method, path, contentType, body string
		status                                int
		reason                                string
	}{
		{"unknown site", "POST", "/e", "text/plain", `{"site":"else"}`, 403, "unknown_site"},
		{"no site", "POST", "/e", "text/plain", `{"type":"click"}`, 403, "unknown_site"},
		{"bad JSON", "POST", "/e", "text/plain", `{"site":`, 400, "bad_json"},
		{"an array", "POST", "/e", "text/plain", `[]`, 400, "bad_json"},
		{"no events", "POST", "/e", "text/plain", `{"site":"demo","events":[]}`, 400, "no_events"},
		{"wrong method", "PUT", "/e", "text/plain", one(""), 405, "method_not_allowed"},
		{"wrong path", "POST", "/nothing", "text/plain", one(""), 404, "not_found"},
		{"wrong content type", "POST", "/e", "image/png", one(""), 415, "unsupported_media_type"},
		{"too large", "POST", "/e", "text/plain", one(`,"title":"` + strings.Repeat("a", 70<<10) + `"`), 413, "body_too_large"},
		{"a million keys", "POST", "/e", "text/plain", one(many.String()), 413, "body_too_large"},
		{"too many keys", "POST", "/e", "text/plain", one(strings.Join(strings.Split(many.String(), ",")[:1000], ",")), 400, "too_many_keys"},
		{"unknown type", "POST", "/e", "text/plain", `{"site":"demo","type":"hover"}`, 400, "unknown_type"},
		{"bad id", "POST", "/e", "text/plain", one(`,"event_id":"7"`), 400, "bad_event_id"},
		{"props not an object", "POST", "/e", "text/plain", one(`,"props":[1]`), 400, "bad_field"},
		{"a number as large as a page", "POST", "/e", "text/plain", one(`,"props":{"n":1e999999}`), 400, "props_too_large"},
		{"pixel of an unknown site", "GET", "/p.gif?site=else", "", "", 403, "unknown_site"},
		{"pixel with a bad number", "GET", "/p.gif?site=demo&screen_w=wide", "", "", 400, "bad_field"},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := request(t, c.method, u.Collector+c.path, c.contentType, c.body)
			var told struct{ Reason, Detail string }
			if err := json.Unmarshal(body, &told); err != nil {
				t.Errorf("body %q: %v", body, err)
			}
			if got := resp.Header.Get("X-Footfall-Reason"); resp.StatusCode != c.status ||
				got != c.reason || told.Reason != c.reason || told.Detail == "" {
				t.Errorf("%s, header %q, body %s; want %d %s", resp.Status, got, body, c.status, c.reason)
			}
		})
	}

	// What can be mended is taken, and so are the good events beside a bad one.
	now := time.Now().UnixMilli()
	body := fmt.Sprintf(`{"site":"demo","sent_at":%d,"events":[`+
		`{"type":"custom","name":"broken UTF-8 %s and NUL \u0000","props":{"a\u0000":"\ud800"}},`+
		`{"type":"hover"},`+
		`{"type":"custom","name":"absurd clock","event_id":"ffffffff-ffff-7fff-8000-000000000001"}]}`, now, "\xff\xc0")
	resp, answer := request(t, "POST", u.Collector+"/e", "text/plain", body)
	if resp.StatusCode != 200 || !strings.Contains(string(answer), `"accepted":2`) ||
		!strings.Contains(string(answer), `"index":1`) {
		t.Errorf("mixed envelope: %s %s", resp.Status, answer)
	}
	waitForRows(t, u.DatabaseURL, 2)
	if n := query(t, u.DatabaseURL, `select count(*) from footfall.events where
		occurred_at between now() - interval '2 hours' and now()`); n != 2 {
		t.Errorf("%d of 2 rows have a sane time", n)
	}
	if n := query(t, u.DatabaseURL, "select count(*) from footfall.dead_letters"); n != 0 {
		t.Errorf("%d dead letters: bad values reached the sink", n)
	}
	_, metrics := request(t, "GET", u.Admin+"/metrics", "", "")
	if !strings.Contains(string(metrics), `footfall_refused_total{reason="unknown_site"} 3`) {
		t.Errorf("metrics do not count three unknown sites")
	}
}

// request speaks HTTP on a plain connection: a server may answer before it has read
// all of a body, which net/http's client now and then takes for a broken connection.
func request(t *testing.T, method, address, contentType, body string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	go req.Write(conn)
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}
