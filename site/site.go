// Package site is what people look at: a small demo shop that carries the tag, and a live view
// that shows each event as it arrives out of PostgreSQL. (The Grafana board beside it is files
// only.)
//
// It promises: the pages come from files embedded in the binary and load nothing from anywhere
// but this server and the collector, held by a Content-Security-Policy without inline script or
// style; the live view is not tracked; event texts reach a page only as JSON and are shown only
// as text.
//
// When things go wrong: while PostgreSQL is away the streams stay open, say so, and go on where
// they were once it is back. A watcher that reads too slowly is dropped, never waited for; its
// browser reconnects and is shown the newest events. More events than can be shown make the
// view jump to the newest ones and say how it came to that. Nothing here touches the way of an
// event from browser to table.
//
// Does not belong here: SQL, Kafka, and anything that a visitor of a tracked site needs.
package site

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

//go:embed demo live fonts
var files embed.FS

// Options says where the collector is and how to read events.
type Options struct {
	// Collector is the collector's public base URL, such as "http://127.0.0.1:8080".
	Collector string
	// Site is the data-site of the demo pages.
	Site string
	// Recent returns the events loaded after the cursor, oldest first, at most limit, and the
	// next cursor. The cursor "" asks for the newest limit events. It is called from one
	// goroutine only and its context ends after three seconds. Nil is allowed for a server
	// that only shows pages.
	Recent func(ctx context.Context, cursor string, limit int) ([]Event, string, error)
	// Logger may be nil: then nothing is logged.
	Logger *slog.Logger
	// Metrics may be nil; a set can carry one Server.
	Metrics *metrics.Set
}

// Server serves the demo shop and the live view. It may be used by many goroutines at once.
type Server struct {
	o        Options
	log      *slog.Logger
	mux      *http.ServeMux
	hub      *hub
	shop     *shop
	counters counters

	pollEvery time.Duration
}

type counters struct {
	shown, dropped, polls, away *metrics.Counter
}

// New returns a Server. It panics when an embedded page does not parse: a bug, not a setting.
func New(o Options) *Server {
	o.Collector = strings.TrimRight(o.Collector, "/")
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		o:         o,
		log:       o.Logger,
		mux:       http.NewServeMux(),
		hub:       newHub(),
		shop:      newShop(o),
		pollEvery: pollInterval,
		counters: counters{
			shown:   o.Metrics.NewCounter("footfall_site_events_total"),
			dropped: o.Metrics.NewCounter("footfall_site_dropped_watchers_total"),
			polls:   o.Metrics.NewCounter(`footfall_site_polls_total{result="answered"}`),
			away:    o.Metrics.NewCounter(`footfall_site_polls_total{result="away"}`),
		},
	}
	o.Metrics.NewGauge("footfall_site_watchers", func() float64 { return float64(s.hub.len()) })
	s.shop.routes(s.mux)
	s.liveRoutes(s.mux)
	return s
}

// ServeHTTP answers every page, form and stream of the site.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	// What browsers do by default, said aloud: the collector sees the origin, the page's own
	// full URL travels in the event.
	h.Set("Referrer-Policy", "strict-origin-when-cross-origin")
	s.mux.ServeHTTP(w, r)
}

// Run reads new events while somebody watches and hands them to the watchers. It ends with nil
// when ctx ends; every stream is closed by then and later ones are refused with 503. It must
// be called at most once.
func (s *Server) Run(ctx context.Context) error {
	defer s.hub.close()
	if s.o.Recent == nil {
		return errors.New("read events: Options.Recent is nil")
	}
	p := poller{Server: s}
	for s.hub.waitForWatcher(ctx) {
		if wait := p.step(ctx); wait > 0 {
			sleep(ctx, wait)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// origin returns scheme and host of the collector for a Content-Security-Policy, or "" when it
// has none. Parsing it keeps a stray ";" in a setting from opening the policy.
func origin(collector string) string {
	u, err := url.Parse(collector)
	if err != nil || u.Host == "" || strings.ContainsAny(u.Host, "; ,'\"") {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
