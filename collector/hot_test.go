//go:build !race

// The race detector allocates, and its builds spoil the requests.

package collector

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/valyala/fasthttp"

	"footfall/collector/enrich"
	"footfall/collector/intake"
	"footfall/collector/sites"
	"footfall/event"
)

// hotPath is a handler with everything but the disk, and the requests it mostly gets.
func hotPath(tb testing.TB) (handle func(*fasthttp.RequestCtx), beacon, pixel *fasthttp.RequestCtx) {
	tb.Helper()
	enricher, err := enrich.New(enrich.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	s := intake.New(intake.Options{
		Sites:       sites.Named("shop").Current,
		Enrich:      func(e *event.Event, f intake.Facts) { enricher.Enrich(e, enrich.Facts(f)) },
		Append:      func(context.Context, [][]byte) error { return nil },
		AddressRate: 1e6,
		Metrics:     metrics.NewSet(),
	})
	now := time.Now()
	body := fmt.Sprintf(`{"site":"shop","sent_at":%d,"language":"de-DE","screen_w":1536,"screen_h":864,`+
		`"viewport_w":1280,"viewport_h":720,"session_id":"0123456789abcdef","snippet_version":"1.0.0",`+
		`"timezone":"Europe/Berlin","events":[{"event_id":"%s","type":"pageview",`+
		`"url":"https://shop.example/shoes/red?utm_source=may&utm_medium=email&size=42","title":"Red shoes",`+
		`"referrer":"https://www.google.de/","pageview_id":"fedcba9876543210","props":{"plan":"pro","items":3}}]}`,
		now.UnixMilli(), event.NewUUID(now))
	request := func(method, uri, body string) *fasthttp.RequestCtx {
		var req fasthttp.Request
		req.Header.SetMethod(method)
		req.Header.SetRequestURI(uri)
		req.Header.SetHost("c.example")
		req.Header.SetUserAgent("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0")
		req.Header.Set("Accept-Language", "de-DE,de;q=0.8,en;q=0.5")
		req.Header.Set("Origin", "https://shop.example")
		if body != "" {
			req.Header.SetContentType("text/plain;charset=UTF-8")
			req.SetBodyString(body)
		}
		ctx := &fasthttp.RequestCtx{}
		ctx.Init(&req, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 7), Port: 4711}, nil)
		return ctx
	}
	return s.Handler, request("POST", "/e", body), request("GET", "/p.gif?site=shop&type=pageview&"+
		"title=Red+shoes&url=https%3A%2F%2Fshop.example%2Fshoes%2Fred&referrer=https%3A%2F%2Fwww.google.de%2F&screen_w=1536", "")
}

func BenchmarkBeacon(b *testing.B) {
	handle, ctx, _ := hotPath(b)
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		handle(ctx)
		if ctx.Response.StatusCode() != 204 {
			b.Fatal(ctx.Response.String())
		}
	}
}

func BenchmarkPixel(b *testing.B) {
	handle, _, ctx := hotPath(b)
	b.ReportAllocs()
	for b.Loop() {
		ctx.Response.Reset()
		handle(ctx)
		if ctx.Response.StatusCode() != 200 {
			b.Fatal(ctx.Response.String())
		}
	}
}

// One allocation is the memory that the texts of a request share.
func TestTheHotPathAllocatesTwiceAtMost(t *testing.T) {
	handle, beacon, pixel := hotPath(t)
	for name, ctx := range map[string]*fasthttp.RequestCtx{"beacon": beacon, "pixel": pixel} {
		n := testing.AllocsPerRun(200, func() {
			ctx.Response.Reset()
			handle(ctx)
		})
		if code := ctx.Response.StatusCode(); code >= 300 || n > 2 {
			t.Errorf("a %s takes %v allocations and gets %d", name, n, code)
		}
	}
}
