package intake

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"footfall/collector/sites"
	"footfall/event"
)

func itoa(n int) string { return strconv.Itoa(n) }

// newAPIServer has the site shop with a secret, 10 events a second and a hostname.
func newAPIServer(t *testing.T) (*Server, *shelf, string) {
	t.Helper()
	secret, hash := sites.NewSecret()
	list, err := sites.Parse(fmt.Appendf(nil,
		"sites:\n  shop: {hostnames: [shop.example], rate: 10, secrets: ['%s']}\n  blog: {}\n", hash))
	if err != nil {
		t.Fatal(err)
	}
	s, kept := newTestServer(func(o *Options) { o.Sites = func() *sites.List { return list } })
	return s, kept, secret
}

type apiCase struct {
	name, body string
	headers    []string
	status     int
	append     error
	before     func(*Server)
}

func (c apiCase) request(secret string) request {
	headers := append([]string{"Authorization", "Bearer " + secret}, c.headers...)
	if len(c.headers) > 0 && c.headers[0] == "Authorization" {
		headers = c.headers
	}
	return request{method: "POST", uri: "/api/events", body: c.body, headers: headers}
}

func zipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

var ndjsonType = []string{"Content-Type", "application/x-ndjson"}

var apiCases = []apiCase{
	{name: "one event", body: `{"type":"custom","name":"signup"}`, status: 200},
	{name: "an array", body: `[{"name":"a"},{"type":"nope"}]`, status: 200},
	{name: "an envelope", body: `{"user_id":"u","events":[{},{}]}`, status: 200},
	{name: "lines", body: "{}\n{}\n", headers: ndjsonType, status: 200},
	{name: "one bad line of two", body: "{}\n{\n", headers: ndjsonType, status: 200},
	{name: "gzip", body: zipped(`{"name":"a"}`), headers: []string{"Content-Encoding", "gzip"}, status: 200},
	{name: "dry run", body: `[{},{"type":"nope"}]`, headers: []string{dryRunHeader, "1"}, status: 200},
	{name: "own site named", body: `[{"site":"shop"}]`, status: 200},
	{name: "no event is good", body: `[{"type":"nope"}]`, status: 400},
	{name: "no JSON", body: `{`, status: 400},
	{name: "nothing", body: ``, status: 400},
	{name: "no lines", body: "\n", headers: ndjsonType, status: 400},
	{name: "not gzip", body: `{}`, headers: []string{"Content-Encoding", "gzip"}, status: 400},
	{name: "a time of three years ago", body: `{"occurred_at":1600000000000}`, status: 400},
	{name: "no secret", headers: []string{"Authorization", ""}, body: `{}`, status: 401},
	{name: "a wrong secret", headers: []string{"Authorization", "Bearer ffs_x"}, body: `{}`, status: 401},
	{name: "another scheme", headers: []string{"Authorization", "Basic eDp5"}, body: `{}`, status: 401},
	{name: "another site's events", body: `{"site":"blog"}`, status: 403},
	{name: "another site's event", body: `[{"site":"blog"}]`, status: 403},
	{name: "a bomb", body: zipped(strings.Repeat(" ", 64<<20)),
		headers: []string{"Content-Encoding", "gzip"}, status: 413},
	{name: "too many events", body: "[" + strings.Repeat("{},", event.EventsMax) + "{}]", status: 413},
	{name: "brotli", body: `{}`, headers: []string{"Content-Encoding", "br"}, status: 415},
	{name: "a picture", body: `{}`, headers: []string{"Content-Type", "image/png"}, status: 415},
	{name: "too fast", body: `{}`, status: 429, before: func(s *Server) {
		s.watch.of("shop").over(now, 1000, 10)
	}},
	{name: "a full disk", body: `{}`, status: 503, append: ErrFull},
}

func TestAServerSetsAddressAgentAndTime(t *testing.T) {
	t.Parallel()
	s, kept, secret := newAPIServer(t)
	var facts []Facts
	s.options.Enrich = func(_ *event.Event, f Facts) { facts = append(facts, f.kept()) }
	at := now.Add(-72 * time.Hour)
	resp := apiCase{body: fmt.Sprintf(`[{"ip":"192.0.2.9","user_agent":"Lynx","occurred_at":%d},{}]`,
		at.UnixMilli())}.request(secret).send(s)
	if resp.StatusCode() != 200 {
		t.Fatalf("%d %s", resp.StatusCode(), resp.Body())
	}
	if e := kept.event(t, 0); !e.OccurredAt.Equal(at) || e.Transport != event.TransportAPI || e.Site != "shop" || e.IP != "" {
		t.Errorf("stored %+v", e)
	}
	if facts[0].IP != netip.MustParseAddr("192.0.2.9") || facts[0].UserAgent != "Lynx" {
		t.Errorf("facts of the first are %+v", facts[0])
	}
	if facts[1].IP.IsValid() || facts[1].UserAgent != "" {
		t.Errorf("the second is enriched from the first or from the server: %+v", facts[1])
	}
}

func TestEachEventOfAServerHasItsResult(t *testing.T) {
	t.Parallel()
	s, kept, secret := newAPIServer(t)
	resp := apiCase{body: `[{"type":"nope"},{"name":"a"},{"site":"blog"},{"name":"b"}]`}.request(secret).send(s)
	var a struct {
		Accepted int
		Results  []result
	}
	if err := json.Unmarshal(resp.Body(), &a); err != nil || a.Accepted != 2 || len(a.Results) != 4 {
		t.Fatalf("%s: %v", resp.Body(), err)
	}
	if a.Results[0].Reason != event.UnknownType || a.Results[2].Reason != event.UnknownSite {
		t.Errorf("results are %+v", a.Results)
	}
	for i, at := range map[int]int{0: 1, 1: 3} {
		if got := kept.event(t, i).EventID.String(); got != a.Results[at].EventID {
			t.Errorf("event %d is told to be %s and is %s", at, a.Results[at].EventID, got)
		}
	}
}

// A large body is read only from who shows a secret.
func TestOnlyWhoHasASecretMaySendMuch(t *testing.T) {
	t.Parallel()
	s, _, secret := newAPIServer(t)
	ln := serve(t, s)
	send := func(secret string, bytes int) int {
		body := `{"title":"` + strings.Repeat("x", bytes) + `"}`
		return raw(t, ln, fmt.Sprintf("POST /api/events HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer %s\r\n"+
			"Content-Length: %d\r\n\r\n%s", secret, len(body), body)).StatusCode
	}
	if got := send(secret, APIBytesMax-100); got != 200 {
		t.Errorf("a mebibyte with the secret: %d", got)
	}
	if got := send(secret, APIBytesMax+100); got != 413 {
		t.Errorf("more than that: %d", got)
	}
	if got := send("ffs_wrong", APIBytesMax-100); got != 401 {
		t.Errorf("a mebibyte without the secret: %d", got)
	}
	if got := send("ffs_wrong", 10); got != 401 {
		t.Errorf("little without the secret: %d", got)
	}
}

func TestOriginHasToBeOneOfTheSites(t *testing.T) {
	t.Parallel()
	const page = `{"site":"shop","url":"https://shop.example/a"}`
	for _, c := range []struct {
		name, body string
		headers    []string
		status     int
	}{
		{"the site's origin", page, []string{"Origin", "https://shop.example"}, 204},
		{"its port does not matter", page, []string{"Origin", "http://SHOP.example:8080"}, 204},
		{"another origin", page, []string{"Origin", "https://evil.example"}, 403},
		{"a frame without an origin", page, []string{"Origin", "null"}, 403},
		{"an origin that is none", page, []string{"Origin", "%%"}, 403},
		{"the site's referer", page, []string{"Referer", "https://shop.example/"}, 204},
		{"another referer", page, []string{"Referer", "https://evil.example/shop.example"}, 403},
		{"origin before referer", page, []string{"Origin", "https://evil.example", "Referer", "https://shop.example/"}, 403},
		{"only the url tells", page, nil, 204},
		{"the url tells of another", `{"site":"shop","url":"https://evil.example/"}`, nil, 403},
		{"nothing tells", `{"site":"shop"}`, nil, 403},
		{"a mail", `{"site":"shop","type":"email_open"}`, nil, 204},
		{"a mail with a url of another", `{"site":"shop","type":"email_open","url":"https://evil.example/"}`, nil, 403},
		{"a site without hostnames", `{"site":"blog"}`, []string{"Origin", "https://evil.example"}, 204},
	} {
		s, _, _ := newAPIServer(t)
		s.options.Enrich = func(e *event.Event, _ Facts) { e.Hostname = hostOf(e.URL) }
		resp := post(c.body, c.headers...).send(s)
		if resp.StatusCode() != c.status {
			t.Errorf("%s: %d %s, want %d", c.name, resp.StatusCode(), resp.Body(), c.status)
		}
		if c.status == 403 && string(resp.Header.Peek(reasonHeader)) != string(event.OriginNotAllowed) {
			t.Errorf("%s: reason %s", c.name, resp.Header.Peek(reasonHeader))
		}
	}
}

func TestASiteThatWantsNoBotsGetsNone(t *testing.T) {
	t.Parallel()
	list, err := sites.Parse([]byte("sites:\n  shop: {bots: refuse}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s, kept := newTestServer(func(o *Options) {
		o.Sites = func() *sites.List { return list }
		o.Enrich = func(e *event.Event, _ Facts) { e.Bot = e.Name == "bot" }
	})
	if got := post(`{"site":"shop","name":"bot"}`).send(s); got.StatusCode() != 403 {
		t.Errorf("a bot gets %d", got.StatusCode())
	}
	if got := post(`{"site":"shop"}`).send(s); got.StatusCode() != 204 || len(kept.records) != 1 {
		t.Errorf("a person gets %d", got.StatusCode())
	}
}

func TestTheOwnerOfASiteSeesWhyEventsAreRefused(t *testing.T) {
	t.Parallel()
	s, _, _ := newAPIServer(t)
	for range refusalsKept + 10 {
		post(`{"site":"shop"}`, "Origin", "https://evil.example").send(s)
	}
	post(`{"site":"sh0p"}`).send(s)
	at := now
	s.options.Now = func() time.Time { at = at.Add(time.Second); return at }
	post(`{"site":"shop","type":"nope"}`).send(s)
	post(`{"site":"shop","url":"https://evil.example","name":"` + strings.Repeat("x", 1000) + `"}`).send(s)

	shop := s.Refusals("shop")
	if len(shop) != refusalsKept || shop[0].Reason != event.OriginNotAllowed || shop[0].Site != "shop" ||
		!strings.Contains(shop[1].Detail, "evil.example") {
		t.Errorf("%d refusals of shop, the newest %+v", len(shop), shop[0])
	}
	for _, r := range shop {
		if len(r.Detail) > detailMax {
			t.Errorf("a detail has %d bytes", len(r.Detail))
		}
	}
	if len(s.Refusals("blog")) != 0 {
		t.Error("blog has refusals of others")
	}
	found := false
	for _, r := range s.Refusals("") {
		found = found || r.Reason == event.UnknownType || strings.Contains(r.Detail, "sh0p")
	}
	if !found {
		t.Error("refusals whose site is not known are not told")
	}
	if got := s.watch.of("shop").refused.Get(); got != refusalsKept+11 {
		t.Errorf("%d refusals are counted for shop, want %d", got, refusalsKept+11)
	}
}

// The examples that README.md and footfall.yaml's documentation give are read.
func TestTheExampleOfTheReadmeIsAFileOfSites(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```yaml\n")
	example, _, _ := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("README.md has no example in YAML")
	}
	list, err := sites.Parse([]byte(example))
	if err != nil || list == nil || list.Get("shop") == nil {
		t.Errorf("%s: %v", example, err)
	}
}
