package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"footfall/event"
)

func TestAMixedEnvelopeTellsWhichEventsWereRefused(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(func(o *Options) {
		o.Enrich = func(e *event.Event, _ Facts) {
			if e.Name == "huge" {
				e.Title = strings.Repeat("\x01", event.EventBytesMax)
			}
		}
	})
	resp := post(`{"site":"shop","events":[{"type":"click"},{"type":"huge"},` +
		`{"type":"click","name":"huge"},{"type":"form"},7]}`).send(s)
	want := `{"accepted":2,"refused":[{"index":1,"reason":"unknown_type"`
	if resp.StatusCode() != 200 || !strings.HasPrefix(string(resp.Body()), want) {
		t.Fatalf("got %d %s, want %s", resp.StatusCode(), resp.Body(), want)
	}
	var a answer
	if err := json.Unmarshal(resp.Body(), &a); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range a.Refused {
		got = append(got, fmt.Sprint(r.Index, " ", r.Reason))
	}
	if !slices.Equal(got, []string{"1 unknown_type", "2 event_too_large", "4 bad_event"}) {
		t.Errorf("refused %v", got)
	}
	if kept.event(t, 0).Type != "click" || kept.event(t, 1).Type != "form" || kept.calls != 1 {
		t.Errorf("stored %v in %d calls", kept.records, kept.calls)
	}
}

func TestABodyCannotBecomeMuchMoreThanItsOwnSize(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(nil)
	common := strings.Repeat("x", 15<<10)
	resp := post(`{"site":"shop","props":{"a":"` + common + `"},"events":[` +
		strings.Repeat("{},", 499) + `{}]}`).send(s)
	total := 0
	for _, r := range kept.records {
		total += len(r)
	}
	if resp.StatusCode() != 200 || total > RecordsBytesMax || total < RecordsBytesMax/2 {
		t.Errorf("status %d, %d bytes stored of 7 MiB asked for, at most %d fit",
			resp.StatusCode(), total, RecordsBytesMax)
	}
}

func TestEventsAreStampedAndTheTransportIsTheDoors(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(nil)
	id := event.NewUUID(now.Add(-time.Second))
	post(fmt.Sprintf(`{"site":"shop","sent_at":%d,"events":[{"event_id":"%s","transport":"fetch"},
		{"transport":"api"},{}]}`, now.UnixMilli(), id)).send(s)
	e := kept.event(t, 0)
	if e.EventID != id || e.Clock != "client" || !e.ReceivedAt.Equal(now) || e.Transport != "fetch" {
		t.Errorf("got %+v", e)
	}
	if e := kept.event(t, 1); e.Transport != "beacon" || e.Clock != "server" || e.EventID.IsZero() {
		t.Errorf("got %+v", e)
	}
	if n := s.count.accepted["beacon"].Get(); n != 2 {
		t.Errorf("%d accepted beacons counted, want 2", n)
	}
}

func TestTheBrowserTellsAFetchFromABeacon(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mode, fields, want string }{
		{"cors", "", "fetch"},
		{"no-cors", "", "beacon"},
		{"no-cors", `"snippet_version":"2",`, "beacon"},
		{"", `"snippet_version":"2",`, "fetch"},
		{"", "", "beacon"},
		{"", `"transport":"fetch",`, "fetch"},
	} {
		s, kept := newTestServer(nil)
		post(fmt.Sprintf(`{"site":"shop",%s"events":[{}]}`, c.fields), "Sec-Fetch-Mode", c.mode).send(s)
		if e := kept.event(t, 0); e.Transport != c.want {
			t.Errorf("%+v: got %s", c, e.Transport)
		}
	}
}

func TestADryRunStoresNothingAndShowsTheEvents(t *testing.T) {
	t.Parallel()
	s, kept := newTestServer(func(o *Options) {
		o.Enrich = func(e *event.Event, f Facts) { e.Browser = f.UserAgent }
	})
	resp := post(`{"site":"shop","events":[{"type":"click"},7]}`, dryRunHeader, "1",
		"User-Agent", "Lynx").send(s)
	var a struct {
		Accepted int
		Refused  []refused
		Events   []map[string]any
	}
	if err := json.Unmarshal(resp.Body(), &a); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode() != 200 || a.Accepted != 1 || len(a.Refused) != 1 ||
		a.Events[0]["browser"] != "Lynx" {
		t.Errorf("got %d %s", resp.StatusCode(), resp.Body())
	}
	if kept.calls != 0 || s.count.accepted["beacon"].Get() != 0 {
		t.Error("a dry run stored or counted something")
	}
}

// kept returns a copy that outlives the request.
func (f Facts) kept() Facts {
	f.UserAgent, f.AcceptLanguage = strings.Clone(f.UserAgent), strings.Clone(f.AcceptLanguage)
	return f
}

func TestFactsComeFromTheRequest(t *testing.T) {
	t.Parallel()
	var got Facts
	s, _ := newTestServer(func(o *Options) { o.Enrich = func(_ *event.Event, f Facts) { got = f.kept() } })
	r := post(`{"site":"shop"}`, "User-Agent", "Lynx", "Accept-Language", "de", "Sec-GPC", "1", "DNT", "1")
	r.peer = "::ffff:192.0.2.7"
	r.send(s)
	if want := (Facts{s.options.Sites().Get("shop"), netip.MustParseAddr("192.0.2.7"), "Lynx", "de", true, true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func BenchmarkBeacon(b *testing.B) {
	s, _ := newTestServer(func(o *Options) {
		o.Append = func(context.Context, [][]byte) error { return nil }
	})
	var ctx fasthttp.RequestCtx
	var req fasthttp.Request
	req.Header.SetMethod("POST")
	req.Header.SetRequestURI("/e")
	req.Header.SetHost("c.example")
	req.Header.SetContentType("text/plain;charset=UTF-8")
	req.Header.SetUserAgent("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
	req.SetBodyString(fmt.Sprintf(`{"site":"shop","sent_at":%d,"language":"de-DE","screen_w":1536,`+
		`"screen_h":864,"viewport_w":1280,"viewport_h":720,"session_id":"0123456789abcdef","events":[`+
		`{"event_id":"%s","type":"pageview","url":"https://shop.example/shoes?utm_source=may",`+
		`"title":"Shoes","referrer":"https://www.google.de/"}]}`, now.UnixMilli(), event.NewUUID(now)))
	ctx.Init(&req, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		s.Handler(&ctx)
		if ctx.Response.StatusCode() != 204 {
			b.Fatal(ctx.Response.String())
		}
	}
}
